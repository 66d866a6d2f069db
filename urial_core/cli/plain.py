"""The piped view: a question on each line of stdin, nothing but the answers on stdout."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TextIO

from urial_core.cli.answer_end import AnswerEnd
from urial_core.cli.prompt_list import prompt_lines
from urial_core.cli.session import ChatSession
from urial_core.cli.slash_commands import Leave, ListPrompts, Say, run_slash_command

__all__ = ["chat_in_pipe", "forgiving"]


def forgiving(stream: TextIO) -> TextIO:
    """Let a standard stream replace what its encoding cannot express, rather than fail."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return stream


def chat_in_pipe(
    session: ChatSession,
    lines: Iterable[str] | None = None,
    output: TextIO | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Answer each line that is not blank, as one conversation, with a blank line between answers.

    What slash commands say goes to stderr.

    Args:
        session: The conversation.
        lines: The questions. Default: stdin.
        output: Where the answers go, as they are written. Default: stdout.
        tell: Told how each answer went. Default: nobody is.

    Raises:
        UrialError: An answer failed; the rest is not asked.
    """
    output = output or forgiving(sys.stdout)
    answered = False
    for line in lines or forgiving(sys.stdin):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        match run_slash_command(text, session):
            case None:
                if answered:
                    output.write("\n")
                _answer(session, text, output, tell)
                answered = True
            case Leave():
                return
            case Say(said):
                sys.stderr.write(f"{said}\n")
            case ListPrompts():
                sys.stderr.write("".join(f"{line}\n" for line in prompt_lines()))


def _answer(session: ChatSession, text: str, output: TextIO, tell: Callable[[str], None]) -> None:
    with closing(session.ask(text)) as events:
        for event in events:
            if isinstance(event, AnswerEnd):
                output.write("\n")
                output.flush()
                tell(event.summary())
            else:
                output.write(event.text)
                output.flush()
