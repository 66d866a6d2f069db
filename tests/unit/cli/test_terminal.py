"""The interactive view: what a terminal shows."""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path

import pytest
from rich.console import Console

from urial_core import CompletionChunk, CompletionRequest, GenerationError, Message, load_prompt
from urial_core.cli.control_characters import visible
from urial_core.cli.growing_markdown import GrowingMarkdown
from urial_core.cli.session import ChatSession
from urial_core.cli.terminal import chat_at_terminal, question_reader
from urial_core.testing import FakeModel


class InterruptedModel(FakeModel):
    """Ctrl-C comes after its first pieces."""

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Replay the script, then be interrupted."""
        for chunk in super().stream(request):
            yield chunk
            if not chunk.text:
                raise KeyboardInterrupt


def talk(
    model: FakeModel, *lines: str | BaseException, width: int = 100
) -> tuple[str, ChatSession]:
    """Type lines; return what the screen has shown, and the session."""
    typed = iter([*lines, EOFError()])

    def read() -> str:
        line = next(typed)
        if isinstance(line, BaseException):
            raise line
        return line

    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=False)
    session = ChatSession(model, load_prompt("short"))
    chat_at_terminal(session, console, read)
    return screen.getvalue(), session


def test_answer_and_summary() -> None:
    """An answer is rendered as Markdown, and a line tells how it went."""
    shown, _ = talk(FakeModel("It is **so**."), "Is it?", "  ")
    assert "It is so." in shown
    assert "first token" in shown
    assert "stop" in shown


def test_interrupted_answer_stays() -> None:
    """Ctrl-C in mid-answer stops the answer alone: what was said stays, and one can go on."""
    model = InterruptedModel(["One two three four five six seven eight ", "", "x"], "Fine.")
    shown, session = talk(model, "Count.", "Go on.")
    assert "Stopped; what was said so far stays" in shown
    assert "Fine." in shown
    assert session.messages[0] == Message("user", "Count.")
    assert session.messages[1].text.startswith("One two")
    assert "One two" in model.requests[1].prompt


def test_interrupted_before_any_text() -> None:
    """Ctrl-C before the answer begins takes the question back, and says so."""
    shown, session = talk(InterruptedModel(["", "x"]), "Count.")
    assert "taken back" in shown
    assert session.messages == []


def test_interrupt_while_typing() -> None:
    """Ctrl-C at the prompt does not leave; it says how to."""
    shown, _ = talk(FakeModel("Fine."), KeyboardInterrupt(), "Hi")
    assert "/quit or Ctrl-D leaves." in shown
    assert "Fine." in shown


def test_failures_do_not_end_the_program() -> None:
    """An error is shown in a line, and the conversation goes on."""
    model = FakeModel([GenerationError("It\nbroke [bold].")], "Fine.")
    shown, _ = talk(model, "One?", "/prompt nope", "Two?")
    assert "It broke [bold]." in shown
    assert "No prompt 'nope'" in shown
    assert "Fine." in shown


def test_show_is_verbatim() -> None:
    """``/show`` prints the page as it is: markup, long lines and all."""
    model = FakeModel("Yes.")
    shown, _ = talk(model, "[red]x[/red] :smile: " + "long " * 50, "/show", width=40)
    assert model.requests[0].prompt in shown


def test_quit_and_prompt_table() -> None:
    """``/prompt`` shows a table that marks the prompt in use; ``/quit`` reads no further."""
    shown, _ = talk(FakeModel("Unseen."), "/prompt", "/quit", "Hi")
    assert "in use" in shown
    assert "instruction_only" in shown
    assert "Unseen." not in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_long_answers_are_printed_once(terminal: bool) -> None:
    """Of an answer longer than the screen, what has scrolled off is never drawn again."""
    screen = io.StringIO()
    console = Console(file=screen, width=60, height=10, force_terminal=terminal)
    lines = [f"line{number:02}x" for number in range(60)]
    with GrowingMarkdown(console) as answer:
        for line in lines:
            answer._due = 0.0
            answer.add(f"{line}\n\n")
    shown = screen.getvalue()
    last = [shown.rindex(line) for line in lines]
    assert last == sorted(last)
    drawings = [shown.count(line) for line in lines]
    assert max(drawings) <= (10 if terminal else 1)  # drawn anew while on screen only


def test_control_characters_are_made_visible() -> None:
    """Escape sequences in a model's text never reach the terminal; newlines and tabs do."""
    assert visible("a\x1b[31mb\x07\x7f\x9b\n\tc") == "a␛[31mb␇␡\ufffd\n\tc"
    assert "\x1b[31m" not in talk(FakeModel("a \x1b[31m b"), "Hi", "/show")[0]


def test_history_is_private(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions are kept in the cache folder, for their owner alone; without one, not at all."""
    question_reader()
    assert (cache / "history").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("URIAL_CACHE", str(cache / "history" / "below-a-file"))
    question_reader()
