"""llama.cpp in this process: the next process reads the prompt prefix rather than compute it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.completions_server import CompletionsServerModel, Server
from urial_core.backends.completions_server.exchanges import Exchange, HttpRequest
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.demo import demo_model_file

pytestmark = pytest.mark.model

Ask = Callable[..., str]


@pytest.fixture
def warmed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """List, for each time that slots are warmed, whether it is by what is saved."""
    ways = list[bool]()
    warm = CompletionsServerModel.warm

    def noted(model: CompletionsServerModel, prefix: str, **options: Any) -> None:
        warm(model, prefix, **options)
        ways.append(options.get("is_saved", False))

    monkeypatch.setattr(CompletionsServerModel, "warm", noted)
    return ways


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask a model of its own, with a cache folder of the test's own, in a slot each."""
    file = demo_model_file()  # which is in the usual cache folder
    monkeypatch.setenv("URIAL_CACHE", str(tmp_path))

    def answered(**options: bool) -> str:
        model = LlamaCppModel(file, n_ctx=1024, n_parallel=2, **options)  # type: ignore[arg-type]
        chat = UrialChat(model, load_prompt("short"))
        parameters = GenerationParameters(max_tokens=16, temperature=0.0)
        questions = ("Name a fruit.", "Who wrote Hamlet?")
        requests = [chat.request([Message("user", question)], parameters) for question in questions]
        replies = chat.reply(requests)
        model.close()
        for reply in replies:
            assert reply.end.usage
            assert reply.end.usage.cached_tokens
            assert reply.end.usage.cached_tokens > 300
        return "\n".join(reply.text for reply in replies)

    return answered


def test_the_next_model_reads_the_prefix(ask: Ask, warmed: list[bool], tmp_path: Path) -> None:
    """Its slots are warm at once, and it answers; a damaged file is made again."""
    assert ask()
    [file] = (tmp_path / "prefixes").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ask()
    assert warmed == [False, True]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert ask()
    assert file.stat().st_size == len(whole)
    assert warmed == [False, True, True]


def test_nothing_is_kept_where_it_is_not_wanted(ask: Ask, tmp_path: Path) -> None:
    """``prefix_on_disk=False`` neither writes nor reads."""
    assert ask(prefix_on_disk=False)
    assert not (tmp_path / "prefixes").exists()


def test_prompts_do_not_push_each_other_out() -> None:
    """After a second prompt's first request, the first prompt's prefix is still cached."""
    model = LlamaCppModel(demo_model_file(), n_ctx=1024, n_parallel=4, prefix_on_disk=False)
    parameters = GenerationParameters(max_tokens=1, temperature=0.0)
    cached = list[tuple[int, int]]()
    for prompt in ("short", "instruction_only", "short", "instruction_only"):
        chat = UrialChat(model, load_prompt(prompt))
        requests = [chat.request([Message("user", f"Name a {x}.")], parameters) for x in ("a", "b")]
        for reply in chat.reply(requests):
            assert reply.end.usage
            cached.append((reply.end.usage.input_tokens or 0, reply.end.usage.cached_tokens or 0))
    model.close()
    for tokens, found in cached:
        assert tokens - found < 30


def slot_states(server: Server) -> Exchange[list[dict[str, Any]]]:
    """Ask the server what its slots do."""
    states: list[dict[str, Any]] = yield HttpRequest(None, f"{server.root}/slots")
    return states


def test_a_first_request_does_not_wait_for_other_replies() -> None:
    """A prompt's prefix goes into idle slots, and its request is answered while others go on."""
    model = LlamaCppModel(demo_model_file(), n_ctx=1024, n_parallel=4, prefix_on_disk=False)
    chat = UrialChat(model, load_prompt("short"))
    endless = GenerationParameters(max_tokens=500, stop=("never",))
    streams = [
        chat.stream(chat.plain_request(f"{number}, {number}, {number},", endless))
        for number in range(3)
    ]
    for stream in streams:
        next(stream)
    other = UrialChat(model, load_prompt("instruction_only"))
    parameters = GenerationParameters(max_tokens=1)
    assert other.reply([other.request([Message("user", "Hi!")], parameters)])
    states = model._loaded().run(slot_states)
    assert [state["is_processing"] for state in states].count(True) == 3
    for stream in streams:
        stream.close()
    model.close()
