"""Slash commands: which lines they are, and what they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from urial_core import Message, UnknownPromptError, load_prompt
from urial_core.cli.session import ChatSession
from urial_core.cli.slash_commands import (
    SLASH_COMMANDS,
    Leave,
    ListPrompts,
    Say,
    run_slash_command,
)
from urial_core.testing import FakeModel


@pytest.fixture
def session() -> ChatSession:
    """A conversation of one turn."""
    session = ChatSession(FakeModel("One."), load_prompt("short"))
    list(session.ask("First?"))
    return session


@pytest.mark.parametrize("line", ["Hi", " /reset", "/etc/hosts, what is it?", "1/2", "//", "/a-b"])
def test_lines_for_the_model(line: str, session: ChatSession) -> None:
    """Only a slash and a word at the very beginning make a command."""
    assert run_slash_command(line, session) is None


def test_reset(session: ChatSession) -> None:
    """``/reset`` begins a new conversation."""
    assert isinstance(run_slash_command("/reset", session), Say)
    assert session.messages == []


def test_prompt_lists_and_switches(session: ChatSession, tmp_path: Path) -> None:
    """``/prompt`` lists; with a name or a file it switches, and the conversation goes on."""
    assert run_slash_command("/prompt ", session) == ListPrompts("short")
    said = run_slash_command("/prompt  ja ", session)
    assert isinstance(said, Say)
    assert "'ja'" in said.text
    assert "goes on" in said.text
    assert session.prompt == load_prompt("ja")
    assert session.messages[0] == Message("user", "First?")
    with pytest.raises(UnknownPromptError):
        run_slash_command(f"/prompt {tmp_path / 'none.toml'}", session)
    assert session.prompt == load_prompt("ja")


def test_show(session: ChatSession) -> None:
    """``/show`` gives the page as it was sent."""
    model = session.model
    assert isinstance(model, FakeModel)
    assert run_slash_command("/show", session) == Say(model.requests[-1].prompt, verbatim=True)


def test_help_names_every_command(session: ChatSession) -> None:
    """``/help`` names every command."""
    said = run_slash_command("/help", session)
    assert isinstance(said, Say)
    assert all(name in said.text for name in SLASH_COMMANDS)


def test_quit(session: ChatSession) -> None:
    """``/quit`` leaves."""
    assert run_slash_command("/quit", session) == Leave()


@pytest.mark.parametrize("line", ["/", "/foo", "/foo bar", "/reset now"])
def test_mistakes_get_a_hint(line: str, session: ChatSession) -> None:
    """A command that is unknown, or told too much, does nothing and is told so."""
    said = run_slash_command(line, session)
    assert isinstance(said, Say)
    assert line.split(maxsplit=1)[0] in said.text
    assert len(session.messages) == 2
