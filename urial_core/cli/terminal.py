"""The interactive view: questions typed at a terminal, answers drawn as they are written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import NestedCompleter
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from rich.console import Console
from rich.text import Text

from urial_core.cache_folder import cache_folder
from urial_core.cli.answer_end import AnswerEnd
from urial_core.cli.control_characters import visible
from urial_core.cli.failures import one_line
from urial_core.cli.growing_markdown import GrowingMarkdown
from urial_core.cli.keyboard_echo import no_keyboard_echo
from urial_core.cli.prompt_list import prompt_table
from urial_core.cli.session import ChatSession
from urial_core.cli.slash_commands import (
    SLASH_COMMANDS,
    Leave,
    ListPrompts,
    Say,
    SlashResult,
    run_slash_command,
)
from urial_core.errors import UrialError
from urial_core.prompts.loading import preset_names

__all__ = ["chat_at_terminal", "question_reader"]


def question_reader() -> Callable[[], str]:
    """A function that reads one line from the keyboard, with history and completion."""
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


def chat_at_terminal(session: ChatSession, console: Console, read: Callable[[], str]) -> None:
    """Answer questions until the user leaves.

    Args:
        session: The conversation.
        console: The terminal.
        read: Reads a question; EOFError ends the program, KeyboardInterrupt does not.
    """
    while True:
        try:
            line = read()
        except EOFError:
            return
        except KeyboardInterrupt:
            _note(console, "/quit or Ctrl-D leaves.")
            continue
        if not line.strip():
            continue
        try:
            result = run_slash_command(line, session)
            if result is None:
                _answer(session, line, console)
            elif isinstance(result, Leave):
                return
            else:
                _show(result, console)
        except UrialError as error:
            console.print(Text(visible(one_line(error)), style="red"))


def _answer(session: ChatSession, text: str, console: Console) -> None:
    note = "Stopped before the answer began; the question is taken back."
    console.print()
    try:
        with (
            no_keyboard_echo(),
            GrowingMarkdown(console) as answer,
            closing(session.ask(text)) as events,
        ):
            for event in events:
                if isinstance(event, AnswerEnd):
                    note = event.summary()
                else:
                    note = "Stopped; what was said so far stays in the conversation."
                    answer.add(event.text)
    except KeyboardInterrupt:
        pass
    finally:
        console.print()
    _note(console, note)


def _show(result: SlashResult, console: Console) -> None:
    match result:
        case Say(text, verbatim=True):
            console.print(Text(visible(text)), soft_wrap=True)
        case Say(text):
            _note(console, text)
        case ListPrompts(current):
            console.print(prompt_table(current))
            console.print()


def _note(console: Console, text: str) -> None:
    console.print(Text(visible(text), style="dim"))
    console.print()


def _history() -> History:
    path = cache_folder() / "history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # questions are nobody else's business
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)
