"""Chat at a terminal: questions are typed, and answers drawn while they are streamed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import NestedCompleter
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from rich.console import Console
from rich.text import Text

from urial_core.cache_folder import cache_folder
from urial_core.cli.rendering import MarkdownStream, one_line, preset_table, visible
from urial_core.cli.session import SLASH_COMMANDS, AnswerEnd, ChatSession
from urial_core.errors import UrialError
from urial_core.prompts.loading import preset_names

__all__ = ["chat_at_terminal", "no_keyboard_echo", "question_reader"]


def question_reader() -> Callable[[], str]:
    """Return a function that reads one line from the keyboard, with history and completion."""
    completer = NestedCompleter.from_nested_dict(
        dict.fromkeys(SLASH_COMMANDS) | {"/prompt": set(preset_names())}
    )
    keyboard = PromptSession[str](
        HTML("<b><ansicyan>&gt; </ansicyan></b>"),
        history=_history(),
        completer=completer,
        complete_while_typing=False,
    )
    return keyboard.prompt


def _history() -> History:
    path = cache_folder() / "history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # questions are private
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


@contextmanager
def no_keyboard_echo() -> Generator[None]:
    """Do not show what is typed while something is drawn; the next prompt reads it.

    Does nothing where stdin is no terminal, and on Windows, which echoes only while reading.
    """
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def chat_at_terminal(session: ChatSession, console: Console, read: Callable[[], str]) -> None:
    """Answer questions until the user quits.

    Args:
        session: The conversation.
        console: The terminal.
        read: Reads a question; EOFError ends the chat, KeyboardInterrupt does not.
    """
    while True:
        try:
            line = read()
        except EOFError:
            return
        except KeyboardInterrupt:
            _note(console, "/quit or Ctrl-D quits.")
            continue
        if not line.strip():
            continue
        try:
            result = session.run_command(line)
            if result is None:
                _answer(session, line, console)
            elif result.kind == "quit":
                return
            elif result.kind == "prompt":
                console.print(Text(visible(result.text)), soft_wrap=True)
            elif result.kind == "presets":
                console.print(preset_table(session.chat.prompt.name))
                console.print()
            else:
                _note(console, result.text)
        except UrialError as error:
            console.print(Text(visible(one_line(error)), style="red"))


def _answer(session: ChatSession, question: str, console: Console) -> None:
    note = "Stopped before the answer began; the question was removed from the conversation."
    console.print()
    try:
        with (
            no_keyboard_echo(),
            MarkdownStream(console) as answer,
            closing(session.ask(question)) as events,
        ):
            for event in events:
                if isinstance(event, AnswerEnd):
                    note = event.summary()
                else:
                    note = "Stopped; the answer so far stays in the conversation."
                    answer.add(event.text)
    except KeyboardInterrupt:
        pass
    finally:
        console.print()
    _note(console, note)


def _note(console: Console, text: str) -> None:
    console.print(Text(visible(text), style="dim"))
    console.print()
