"""Slash commands: lines that are for the program, not for the model."""

from __future__ import annotations

import re
from dataclasses import dataclass

from urial_core.cli.session import ChatSession
from urial_core.prompts.loading import load_prompt

__all__ = ["SLASH_COMMANDS", "Leave", "ListPrompts", "Say", "SlashResult", "run_slash_command"]

SLASH_COMMANDS = {
    "/reset": "begin a new conversation",
    "/prompt": "list the prompts; /prompt NAME switches, and the conversation goes on",
    "/show": "show the exact page the model was given last",
    "/help": "show this",
    "/quit": "leave; so does Ctrl-D",
}
"""Each command and what it does."""

_COMMAND = re.compile(r"(/\w*)(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Say:
    """Something to tell the user.

    Attributes:
        text: What to tell.
        verbatim: Whether it is the model's page, to be shown as it is.
    """

    text: str
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class ListPrompts:
    """Show the prompts, with the one in use marked."""

    current: str


@dataclass(frozen=True, slots=True)
class Leave:
    """End the program."""


SlashResult = Say | ListPrompts | Leave


def run_slash_command(line: str, session: ChatSession) -> SlashResult | None:
    """Do what a line says if it is a command, such as ``/reset``.

    Returns:
        What to show, or None if the line is for the model: it does not begin with a slash and a
        word (``/etc/hosts`` is none).

    Raises:
        UrialError: The prompt asked for does not exist, or the page does not fit.
    """
    found = _COMMAND.fullmatch(line.rstrip())
    if not found:
        return None
    name, argument = found[1], (found[2] or "").strip()
    if argument and name in SLASH_COMMANDS and name != "/prompt":
        return Say(f"{name} takes nothing after it; nothing was done.")
    match name:
        case "/reset":
            session.reset()
            return Say("A new conversation begins.")
        case "/prompt" if not argument:
            return ListPrompts(session.prompt.name)
        case "/prompt":
            session.prompt = load_prompt(argument)
            return Say(f"The prompt is now {session.prompt.name!r}; the conversation goes on.")
        case "/show":
            return Say(session.page(), verbatim=True)
        case "/help":
            width = max(map(len, SLASH_COMMANDS))
            rows = [f"{name:{width}}  {does}" for name, does in SLASH_COMMANDS.items()]
            return Say("\n".join([*rows, "A line that begins with a space is never a command."]))
        case "/quit":
            return Leave()
    return Say(f"There is no command {name}; the commands are {', '.join(SLASH_COMMANDS)}.")
