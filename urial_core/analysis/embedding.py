"""Embedding: texts as vectors, by any embedding model of LangChain, LlamaIndex or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urial_core.described import described
from urial_core.errors import MissingDependencyError, ModelLoadError, UnsupportedModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedding", "check_embedding_folder"]


class Embedding:
    """An embedding model, as this package uses it: vectors have length one."""

    def __init__(self, model: object) -> None:
        """Wrap an embedding model.

        Args:
            model: LangChain's ``Embeddings``, LlamaIndex's ``BaseEmbedding``, or the ``Path`` of a
                sentence-transformers model's folder.

        Raises:
            UnsupportedModelError: It is something else.
            MissingDependencyError: A package that a folder needs is not installed.
            ModelLoadError: There is no such folder, or no model in it.
        """
        MissingDependencyError.check("Embeddings", "analysis", "numpy")
        own = _Folder(model) if isinstance(model, Path) else model
        self._documents: Any = _method(own, "embed_documents", "get_text_embedding_batch")
        self._query: Any = _method(own, "embed_query", "get_query_embedding")
        self.settings = {"folder": model.name} if isinstance(model, Path) else described(model)

    def documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of texts, a row each."""
        return _normalized(self._documents(list(texts)))

    def queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of questions, a row each; some models embed them differently."""
        return _normalized([self._query(text) for text in texts])


def check_embedding_folder(folder: Path) -> None:
    """Raise if there is no such folder; no model is loaded.

    Args:
        folder: Where a sentence-transformers model should be.

    Raises:
        ModelLoadError: There is no such folder.
    """
    if not folder.is_dir():
        raise ModelLoadError(f"There is no folder {folder} with an embedding model.")


class _Folder:
    """A sentence-transformers model of a local folder, in LangChain's terms."""

    def __init__(self, folder: Path) -> None:
        check_embedding_folder(folder)
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingDependencyError(
                "An embedding model in a folder needs sentence-transformers: "
                "pip install sentence-transformers"
            ) from error
        try:
            self._model = SentenceTransformer(str(folder), local_files_only=True)
        except Exception as error:  # of many kinds
            raise ModelLoadError(
                f"Could not load a sentence-transformers model from {folder}: {error}"
            ) from error

    def embed_documents(self, texts: list[str]) -> Any:
        return self._model.encode(texts, show_progress_bar=False)

    def embed_query(self, text: str) -> Any:
        return self.embed_documents([text])[0]


def _method(model: object, *names: str) -> Any:
    found = [getattr(model, name) for name in names if callable(getattr(model, name, None))]
    if not found:
        raise UnsupportedModelError(
            f"{type(model).__name__} is no embedding model: pass LangChain's Embeddings, "
            "LlamaIndex's BaseEmbedding, or the Path of a sentence-transformers folder."
        )
    return found[0]


def _normalized(vectors: object) -> NDArray[np.float32]:
    import numpy as np

    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    unit: NDArray[np.float32] = (rows / lengths).astype(np.float32)
    return unit
