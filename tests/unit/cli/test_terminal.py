"""Chat at a terminal: what the screen shows."""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path

import pytest
from rich.console import Console

from urial_core import (
    CompletionChunk,
    CompletionRequest,
    GenerationError,
    Message,
    UrialChat,
    load_prompt,
    preset_names,
)
from urial_core.cli.rendering import MarkdownStream, visible
from urial_core.cli.session import ChatSession
from urial_core.cli.terminal import chat_at_terminal, question_reader
from urial_core.testing import FakeModel


class InterruptedModel(FakeModel):
    """A fake model that is interrupted by Ctrl-C after its first pieces."""

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Yield the given pieces; raise KeyboardInterrupt after an empty one."""
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
    session = ChatSession(UrialChat(model, load_prompt("short"), "truncate"))
    chat_at_terminal(session, console, read)
    return screen.getvalue(), session


def test_answer_and_summary() -> None:
    """Render an answer as Markdown, and its summary below."""
    shown, _ = talk(FakeModel("It is **so**."), "Is it?", "  ")
    assert "It is so." in shown
    assert "first token" in shown
    assert "stop" in shown


@pytest.mark.parametrize(
    "text",
    [
        "Put the title into <title> inside <head>.",
        "Use List<String> and Map<String, Integer>.",
        "<p>A whole paragraph</p>",
        "<!-- a comment -->",
        "<script>\nalert(1)\n</script>",
        "Press <kbd>Ctrl</kbd>.",
        "Roses are red,\nViolets are blue,\nSugar is sweet.",
    ],
)
def test_all_text_of_an_answer_is_shown(text: str) -> None:
    """HTML tags are shown as text, and a line break stays one: Markdown's own signs alone go."""
    screen = io.StringIO()
    with MarkdownStream(Console(file=screen, width=80)) as answer:
        answer.add(text)
    assert [line.rstrip() for line in screen.getvalue().splitlines()] == text.split("\n")


def test_interrupted_answer_stays() -> None:
    """Stop only the answer at Ctrl-C: its text so far stays, and the chat continues."""
    model = InterruptedModel(["One two three four five six seven eight ", "", "x"], "Fine.")
    shown, session = talk(model, "Count.", "Go on.")
    assert "Stopped; the answer so far stays" in shown
    assert "Fine." in shown
    assert session.messages[0] == Message("user", "Count.")
    assert session.messages[1].text.startswith("One two")
    assert "One two" in model.requests[1].prompt


def test_interrupted_before_any_text() -> None:
    """Remove the question at Ctrl-C before the answer begins, and say so."""
    shown, session = talk(InterruptedModel(["", "x"]), "Count.")
    assert "the question was removed" in shown
    assert session.messages == []


def test_interrupt_while_typing() -> None:
    """Show how to quit at Ctrl-C while typing, and go on."""
    shown, _ = talk(FakeModel("Fine."), KeyboardInterrupt(), "Hi")
    assert "/quit or Ctrl-D quits." in shown
    assert "Fine." in shown


def test_errors_do_not_end_the_chat() -> None:
    """Show an error in one line, and continue the conversation."""
    model = FakeModel([GenerationError("It\nbroke [bold].")], "Fine.")
    shown, _ = talk(model, "One?", "/prompt nope", "Two?")
    assert "It broke [bold]." in shown
    assert "There is no prompt file nope" in shown
    assert "Fine." in shown


def test_show_is_verbatim() -> None:
    """``/show`` prints the prompt verbatim, markup and long lines included."""
    model = FakeModel("Yes.")
    shown, _ = talk(model, "[red]x[/red] :smile: " + "long " * 50, "/show", width=40)
    assert model.requests[0].prompt in shown


def test_quit_and_prompt_table() -> None:
    """``/prompt`` shows a table that marks the prompt in use; ``/quit`` ends the chat."""
    shown, _ = talk(FakeModel("Unseen."), "/prompt", "/quit", "Hi")
    assert "in use" in shown
    assert "instruction_only" in shown
    assert "Unseen." not in shown


def test_the_prompt_table_in_a_narrow_terminal() -> None:
    """Names are whole and descriptions there, however narrow the terminal is."""
    shown, _ = talk(FakeModel(), "/prompt", width=30)
    words = shown.split()
    for name in preset_names():
        assert name in words
        assert set(load_prompt(name).description.split()[:3]) <= set(words)


@pytest.mark.parametrize("terminal", [False, True])
def test_long_answers_are_printed_once(terminal: bool) -> None:
    """Redraw no line of a long answer that has scrolled off the screen."""
    screen = io.StringIO()
    console = Console(file=screen, width=60, height=10, force_terminal=terminal)
    lines = [f"line{number:02}x" for number in range(60)]
    with MarkdownStream(console) as answer:
        for line in lines:
            answer._next_drawing = 0.0
            answer.add(f"{line}\n\n")
    shown = screen.getvalue()
    last = [shown.rindex(line) for line in lines]
    assert last == sorted(last)
    drawings = [shown.count(line) for line in lines]
    assert max(drawings) <= (10 if terminal else 1)  # redrawn only while on screen


def test_control_characters_are_made_visible() -> None:
    """Keep escape sequences in a model's text from the terminal; newlines and tabs pass."""
    assert visible("a\x1b[31mb\x07\x7f\x9b\n\tc") == "a␛[31mb␇␡\ufffd\n\tc"
    assert "\x1b[31m" not in talk(FakeModel("a \x1b[31m b"), "Hi", "/show")[0]


def test_history_is_private(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save questions in the cache folder for their owner alone; without a folder, save none."""
    question_reader()
    assert (cache / "history").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("URIAL_CACHE", str(cache / "history" / "below-a-file"))
    question_reader()
