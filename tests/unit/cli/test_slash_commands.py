"""Slash commands: which lines are commands, and what each does."""

from __future__ import annotations

from pathlib import Path

import pytest

from urial_core import Message, UnknownPromptError, UrialChat, load_prompt
from urial_core.cli.session import SLASH_COMMANDS, ChatSession, CommandResult
from urial_core.testing import FakeModel


@pytest.fixture
def session() -> ChatSession:
    """Return a conversation of one turn."""
    session = ChatSession(UrialChat(FakeModel("One."), load_prompt("short")))
    list(session.ask("First?"))
    return session


def note(line: str, session: ChatSession) -> str:
    """Run a command and return the note that it shows."""
    result = session.run_command(line)
    assert result
    assert result.kind == "note"
    return result.text


@pytest.mark.parametrize("line", ["Hi", " /reset", "/etc/hosts, what is it?", "1/2", "//", "/a-b"])
def test_lines_for_the_model(line: str, session: ChatSession) -> None:
    """Only a slash and a word at the very start are a command."""
    assert session.run_command(line) is None


def test_reset(session: ChatSession) -> None:
    """``/reset`` starts a new conversation."""
    assert note("/reset", session)
    assert session.messages == []


def test_prompt_lists_and_switches(session: ChatSession, tmp_path: Path) -> None:
    """``/prompt`` lists; with a name or a file it switches, and the conversation continues."""
    assert session.run_command("/prompt ") == CommandResult("", "presets")
    shown = note("/prompt  ja ", session)
    assert "'ja'" in shown
    assert "continues" in shown
    assert session.chat.prompt == load_prompt("ja")
    assert session.messages[0] == Message("user", "First?")
    with pytest.raises(UnknownPromptError):
        session.run_command(f"/prompt {tmp_path / 'none.toml'}")
    assert session.chat.prompt == load_prompt("ja")


def test_show(session: ChatSession) -> None:
    """``/show`` returns the prompt as it was sent."""
    model = session.chat.model
    assert isinstance(model, FakeModel)
    assert session.run_command("/show") == CommandResult(model.requests[-1].prompt, "prompt")


def test_help_names_every_command(session: ChatSession) -> None:
    """``/help`` names every command."""
    shown = note("/help", session)
    assert all(name in shown for name in SLASH_COMMANDS)


def test_quit(session: ChatSession) -> None:
    """``/quit`` ends the chat."""
    assert session.run_command("/quit") == CommandResult("", "quit")


@pytest.mark.parametrize("line", ["/", "/foo", "/foo bar", "/reset now"])
def test_invalid_commands(line: str, session: ChatSession) -> None:
    """Name a command that is unknown or has an unexpected argument, and change nothing."""
    assert line.split(maxsplit=1)[0] in note(line, session)
    assert len(session.messages) == 2
