"""``urial chat`` in a pipe: stdout holds the bytes of the answers and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from urial_core import CompletionChunk, GenerationError, TokenLogprob
from urial_core.cli import chat_command
from urial_core.testing import FakeModel

RunUrial = Callable[..., Result]


def test_each_line_is_a_turn(run_urial: RunUrial) -> None:
    """Answer each line as a turn, skip blank ones, and separate answers by a blank line."""
    model = FakeModel(["One", " and a half.\n"], "Two.\n\n[bold]More.")
    result = run_urial("chat", "--demo", stdin="First?\n\n  \r\nSecond?", model=model)
    assert result.stdout_bytes == b"One and a half.\n\nTwo.\n\n[bold]More.\n"
    assert (result.stderr, result.exit_code) == ("", 0)
    assert "One and a half." in model.requests[1].prompt


def test_no_questions_no_output(run_urial: RunUrial) -> None:
    """Write nothing if nothing is asked."""
    result = run_urial("chat", "--demo", stdin="\n")
    assert (result.stdout_bytes, result.stderr, result.exit_code) == (b"", "", 0)


def test_slash_commands_write_to_stderr(run_urial: RunUrial) -> None:
    """Run slash commands in a pipe; their output goes to stderr, so stdout holds answers only."""
    model = FakeModel("One.", "Two.")
    stdin = "First?\n/reset\n/foo\n/prompt\n/show\nSecond?\n/quit\nThird?\n"
    result = run_urial("chat", "--demo", "--prompt", "short", stdin=stdin, model=model)
    assert result.stdout == "One.\n\nTwo.\n"
    assert "/foo" in result.stderr
    assert "instruction_only\ten\t0\t" in result.stderr
    assert len(model.requests) == 2
    assert "First?" not in model.requests[1].prompt


def test_verbose_reports_on_stderr(run_urial: RunUrial) -> None:
    """``--verbose`` reports model, prompt, notice and each answer's summary on stderr alone."""
    result = run_urial("chat", "--demo", "--verbose", stdin="Hi\n", answers=["Hello!"])
    assert result.stdout == "Hello!\n"
    for part in ("fake · no dtype", "default", "Gemma Terms", "first token", "stop"):
        assert part in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"caf\xe9?\n", "caf\xe9?"),
        (b"\x93Hi\x94\n", "\N{LEFT DOUBLE QUOTATION MARK}Hi"),
        (b"\xef\xbb\xbfcaf\xc3\xa9?\r\n", "\ncaf\xe9?"),
        (b"a\x81\xff?\n", "a\ufffd\xff?"),
        ("caf\xe9?\r\n".encode("utf-16"), "\ncaf\xe9?\n"),
        (b"\xfe\xff" + "\u4e0a\u010a?\n".encode("utf-16-be"), "\n\u4e0a\u010a?\n"),
    ],
)
def test_any_encoding_is_read(run_urial: RunUrial, sent: bytes, read: str) -> None:
    """A byte order mark tells UTF-16. Another line that is not UTF-8 is read as cp1252."""
    model = FakeModel("Fine.")
    result = run_urial("chat", "--demo", stdin=sent, model=model)
    assert (result.stdout, result.exit_code) == ("Fine.\n", 0)
    assert read in model.requests[0].prompt


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_only_line_feeds_end_a_question(run_urial: RunUrial, encoding: str) -> None:
    """Other separators of Unicode are part of a question, in each encoding."""
    model = FakeModel("Fine.", "Good.")
    sent = "One\u2028two\x85three\x0cfour?\r\nFive?\r\n".encode(encoding)
    result = run_urial("chat", "--demo", stdin=sent, model=model)
    assert (result.stdout, result.exit_code) == ("Fine.\n\nGood.\n", 0)


def test_utf_16_without_a_mark_is_refused(run_urial: RunUrial) -> None:
    """Text with NUL characters is no question: it is an error in one line, and nothing is asked."""
    model = FakeModel("Fine.")
    result = run_urial("chat", "--demo", stdin="Hi?\n".encode("utf-16-le"), model=model)
    assert (result.exit_code, result.stdout, model.requests) == (1, "", [])
    assert result.stderr == (
        "urial: A question holds NUL characters, as text in UTF-16 does: send UTF-8.\n"
    )


def test_the_window_is_an_option(run_urial: RunUrial) -> None:
    """``--context-window`` limits prompt and answer; the error names the field that does."""
    arguments = ("chat", "--demo", "--overflow", "error", "--context-window", "70")
    result = run_urial(*arguments, stdin="Hi\n", model=FakeModel("One."))
    assert result.exit_code == 1
    assert "context window is 70 (its own, or what context_window= sets" in result.stderr


def test_failure_is_one_line(run_urial: RunUrial) -> None:
    """Exit with 1 and one line on stderr if the model fails."""
    answers = ["Fine.", [GenerationError("The model\nbroke.")]]
    result = run_urial("chat", "--demo", stdin="One?\nTwo?\n", answers=answers)
    assert (result.stderr, result.exit_code) == ("urial: The model broke.\n", 1)
    assert result.stdout.startswith("Fine.\n")


def test_options_reach_the_request(run_urial: RunUrial, loaded: list[Any]) -> None:
    """Pass every option to the model or the request."""
    model = FakeModel("Fine.")
    arguments = (
        "--model m --prompt short --system Rules --max-tokens 7 --temperature 0.5 --seed 3"
        " --dry-multiplier 0.8"
        " --dtype float32 --device-map cpu --overflow error --trust-remote-code"
        " --backend transformers"
    )
    run_urial("chat", *arguments.split(), stdin="Hi\n", model=model)
    options = {"dtype": "float32", "device_map": "cpu", "trust_remote_code": True}
    assert loaded == [("m", {"backend": "transformers", **options, "n_parallel": 1})]
    parameters = model.requests[0].parameters
    assert (parameters.max_tokens, parameters.temperature, parameters.seed) == (7, 0.5, 3)
    assert parameters.dry_multiplier == 0.8


def test_a_decoding_strategy_is_used(run_urial: RunUrial) -> None:
    """With ``--decoding``, answers are the best of several samples."""
    answers = [
        [CompletionChunk(text, "stop", logprobs=(TokenLogprob(text, value),))]
        for text, value in (("one", -2.0), ("two", -1.0), ("three", -3.0), ("four", -4.0))
    ]
    model = FakeModel(*answers)
    result = run_urial("chat", "--model", "m", "--decoding", "best_of_n", stdin="Hi", model=model)
    assert result.stdout == "two\n"
    assert len(model.requests) == 8


def test_a_strategy_for_which_the_backend_matters(run_urial: RunUrial, loaded: list[Any]) -> None:
    """What needs every token's probability runs on transformers; what cannot is refused early."""
    power = ("chat", "--decoding", "power")
    llama_cpp = ("--model", "m.gguf", "--backend", "llama.cpp")
    server = ("--model", "http://x/v1#m", "--backend", "transformers")
    for options, rest in (
        (llama_cpp, ": run the model with --backend transformers.\n"),
        (server, ", which a server does not report: as --model, give a hub id or a folder, which "),
    ):
        refused = run_urial(*power, *options, stdin="Hi")
        assert (refused.exit_code, loaded) == (1, [])
        start = f"urial: This --decoding needs the probability of every token{rest}"
        assert refused.stderr.startswith(start)
    run_urial(*power, "--model", "m.gguf")
    assert loaded == [("m.gguf", {"backend": "transformers"})]


def test_a_server_is_a_model(
    run_urial: RunUrial, loaded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--model`` takes a server's URL; options of a model in this process are refused with it."""
    url = "http://127.0.0.1:8000/v1#m"
    assert run_urial("chat", "--model", url, "--dtype", "float32").stderr == (
        "urial: dtype: it applies only to a model in this process, not to one on a server.\n"
    )
    model = FakeModel("Fine.")
    monkeypatch.setattr(chat_command, "server_model", lambda url, _: (model, f"m · {url}"))
    result = run_urial("chat", "--model", url, "--context-window", "2000", stdin="Hi")
    assert (result.stdout, result.exit_code, loaded) == ("Fine.\n", 0, [])


def test_a_chat_model_nudges(run_urial: RunUrial, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``--nudge-with``, a chat model by its name writes where the base model is unsure."""
    asked = list[str]()

    def named(name: str) -> object:
        asked.append(name)
        return lambda *_: "Surely"

    monkeypatch.setattr(chat_command, "chat_model_named", named)
    unsure, sure = (TokenLogprob(text, value) for text, value in (("Well", -3.0), (" so.", -0.1)))
    model = FakeModel(
        [CompletionChunk("Well", "stop", logprobs=(unsure,))],
        [CompletionChunk(" so.", "stop", logprobs=(sure,))],
    )
    options = ("--decoding", "nudge", "--nudge-with", "openai:small")
    result = run_urial("chat", "--model", "m", *options, stdin="Hi", model=model)
    assert (result.stdout, asked) == ("Surely so.\n", ["openai:small"])


@pytest.mark.parametrize(
    ("arguments", "environment", "model_id"),
    [
        (["--model", "here"], {"URIAL_MODEL": "there"}, "here"),
        ([], {"URIAL_MODEL": "there"}, "there"),
        (["--demo"], {"URIAL_MODEL": "there"}, None),
    ],
)
def test_which_model(
    arguments: list[str],
    environment: dict[str, str],
    model_id: str | None,
    run_urial: RunUrial,
    loaded: list[Any],
) -> None:
    """Options take precedence over the environment."""
    assert run_urial("chat", *arguments, environment=environment).exit_code == 0
    assert [identifier for identifier, _ in loaded] == [model_id]
