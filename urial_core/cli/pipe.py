"""Chat in a pipe: each line of stdin is a question, and stdout gets the answers alone."""

from __future__ import annotations

import io
import sys
from contextlib import closing

from rich.console import Console
from rich.text import Text

from urial_core.cli.rendering import preset_list
from urial_core.cli.session import AnswerEnd, ChatSession

__all__ = ["chat_in_pipe"]


def chat_in_pipe(session: ChatSession, console: Console) -> None:
    """Answer each line that is not blank, as one conversation, with a blank line between answers.

    The output of slash commands goes to stderr.

    Args:
        session: The conversation.
        console: Where a summary of each answer goes.

    Raises:
        UrialError: An answer failed; the remaining questions are not asked.
    """
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the encoding cannot express is no error
    answered = False
    for line in sys.stdin:
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        result = session.run_command(text)
        if result is None:
            if answered:
                sys.stdout.write("\n")
            _answer(session, text, console)
            answered = True
        elif result.kind == "quit":
            return
        else:
            sys.stderr.write(f"{preset_list() if result.kind == 'presets' else result.text}\n")


def _answer(session: ChatSession, question: str, console: Console) -> None:
    with closing(session.ask(question)) as events:
        for event in events:
            sys.stdout.write("\n" if isinstance(event, AnswerEnd) else event.text)
            sys.stdout.flush()
            if isinstance(event, AnswerEnd):
                console.print(Text(event.summary(), style="dim"))
