"""``urial chat`` in a pipe: the bytes on stdout, and nothing else there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import Result

from urial_core import GenerationError
from urial_core.cli.model_choice import ModelChoice
from urial_core.testing import FakeModel

RunUrial = Callable[..., Result]


def test_each_line_is_a_turn(run_urial: RunUrial) -> None:
    """Lines are turns of one conversation, blank ones are none; a blank line parts the answers."""
    model = FakeModel(["One", " and a half.\n"], "Two.\n\n[bold]More.")
    result = run_urial("chat", "--demo", stdin="First?\n\n  \r\nSecond?", model=model)
    assert result.stdout_bytes == b"One and a half.\n\nTwo.\n\n[bold]More.\n"
    assert (result.stderr, result.exit_code) == ("", 0)
    assert "One and a half." in model.requests[1].prompt


def test_no_questions_no_output(run_urial: RunUrial) -> None:
    """Nothing asked, nothing said."""
    result = run_urial("chat", "--demo", stdin="\n")
    assert (result.stdout_bytes, result.stderr, result.exit_code) == (b"", "", 0)


def test_slash_commands_speak_on_stderr(run_urial: RunUrial) -> None:
    """Slash commands work in a pipe; what they say is no answer, so stdout stays clean."""
    model = FakeModel("One.", "Two.")
    stdin = "First?\n/reset\n/foo\n/prompt\n/show\nSecond?\n/quit\nThird?\n"
    result = run_urial("chat", "--demo", "--prompt", "short", stdin=stdin, model=model)
    assert result.stdout == "One.\n\nTwo.\n"
    assert "/foo" in result.stderr
    assert "instruction_only\ten\t0\t" in result.stderr
    assert len(model.requests) == 2
    assert "First?" not in model.requests[1].prompt


def test_verbose_tells_on_stderr(run_urial: RunUrial) -> None:
    """``--verbose`` tells model, prompt, notice and each answer's summary, on stderr alone."""
    result = run_urial("chat", "--demo", "--verbose", stdin="Hi\n", answers=["Hello!"])
    assert result.stdout == "Hello!\n"
    for part in ("scripted · no format", "default", "A notice.", "first token", "stop"):
        assert part in result.stderr


def test_text_that_is_no_utf8(run_urial: RunUrial) -> None:
    """Bytes that are no text are replaced, not tripped over."""
    model = FakeModel("Fine.")
    result = run_urial("chat", "--demo", stdin=b"caf\xe9?\n", model=model)
    assert (result.stdout, result.exit_code) == ("Fine.\n", 0)
    assert "caf\ufffd?" in model.requests[0].prompt


def test_failure_is_one_line(run_urial: RunUrial) -> None:
    """A failing model ends the program with one line on stderr and exit code 1."""
    answers = ["Fine.", [GenerationError("The model\nbroke.")]]
    result = run_urial("chat", "--demo", stdin="One?\nTwo?\n", answers=answers)
    assert (result.stderr, result.exit_code) == ("urial: The model broke.\n", 1)
    assert result.stdout.startswith("Fine.\n")


def test_options_reach_the_request(run_urial: RunUrial, choices: list[ModelChoice]) -> None:
    """Every option arrives where it belongs."""
    model = FakeModel("Fine.")
    options = (
        "--model m --prompt short --system Rules --max-tokens 7 --temperature 0.5 --seed 3"
        " --dtype float32 --device-map cpu --overflow error --trust-remote-code"
    )
    run_urial("chat", *options.split(), stdin="Hi\n", model=model)
    assert choices == [
        ModelChoice(model="m", dtype="float32", device_map="cpu", trust_remote_code=True)
    ]
    parameters = model.requests[0].parameters
    assert (parameters.max_tokens, parameters.temperature, parameters.seed) == (7, 0.5, 3)
    assert "Rules" in model.requests[0].prompt


@pytest.mark.parametrize(
    ("arguments", "environment", "chosen"),
    [
        (["--model", "here"], {"URIAL_MODEL": "there"}, "here"),
        ([], {"URIAL_MODEL": "there"}, "there"),
        (["--demo"], {"URIAL_MODEL": "there"}, None),
    ],
)
def test_which_model(
    arguments: list[str],
    environment: dict[str, str],
    chosen: str | None,
    run_urial: RunUrial,
    choices: list[ModelChoice],
) -> None:
    """What the command line says goes before the environment."""
    assert run_urial("chat", *arguments, environment=environment).exit_code == 0
    assert [choice.model for choice in choices] == [chosen]
