"""A conversation with a model, its questions and its slash commands, apart from how it is shown."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Literal

from urial_core.chat import UrialChat
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.loading import load_prompt, preset_or_file
from urial_core.replies import ReplyEnd, TextDelta

__all__ = ["SLASH_COMMANDS", "AnswerEnd", "ChatSession", "CommandResult"]

SLASH_COMMANDS = {
    "/reset": "start a new conversation",
    "/prompt": "list the prompts; /prompt NAME switches, and the conversation continues",
    "/show": "show the exact prompt the model was given last",
    "/help": "show this help",
    "/quit": "quit; so does Ctrl-D",
}
"""Each slash command and what it does."""

_END_REASONS = {"delimiter": "stop", "end_of_text": "stop", "length": "length limit"}
"""How the common end reasons are shown; another is shown as "stop" with its name."""

_COMMAND = re.compile(r"(/\w*)(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The last event of an answer.

    Attributes:
        reply: Why the reply ended, and its token counts.
        first_token_seconds: From the question to the first piece of the answer.
        seconds: From the question to the end.
        truncated: How many of the oldest messages were removed to fit the context window.
    """

    reply: ReplyEnd
    first_token_seconds: float
    seconds: float
    truncated: int = 0

    def summary(self) -> str:
        """Return one line: tokens, waiting time, speed after the first token, and end reason."""
        parts = list[str]()
        written = 0
        if usage := self.reply.usage:
            cached = f", {usage.cached_tokens} cached" if usage.cached_tokens else ""
            parts.append(f"{usage.input_tokens - (usage.cached_tokens or 0)} tokens in{cached}")
            parts.append(f"{usage.output_tokens} out")
            written = usage.output_tokens - 1
        parts.append(f"first token {self.first_token_seconds:.2f} s")
        time = self.seconds - self.first_token_seconds
        if written > 0 and time > 0.01:
            parts.append(f"{written / time:.0f} tokens/s")
        parts.append(_END_REASONS.get(self.reply.reason, f"stop: {self.reply.reason}"))
        if self.truncated:
            parts.append(f"{self.truncated} messages truncated")
        return " · ".join(parts)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a slash command asks the view to do.

    Attributes:
        text: The text to show.
        kind: Show the text as a note, show it verbatim ("prompt"), list the presets, or quit.
    """

    text: str
    kind: Literal["note", "prompt", "presets", "quit"] = "note"


@dataclass
class ChatSession:
    """A conversation of several turns.

    Attributes:
        chat: The model, the prompt and what to do when the conversation exceeds the window.
        parameters: How replies are sampled.
        system: The system message; empty for none.
        messages: The questions and their answers, oldest first.
    """

    chat: UrialChat
    parameters: GenerationParameters = field(default_factory=GenerationParameters)
    system: str = ""
    messages: list[Message] = field(default_factory=list)

    def warm_up(self) -> None:
        """Have the model cache the prompt prefix, so that the first question need not wait.

        Raises:
            UrialError: The model failed.
        """
        one_token = GenerationParameters(max_tokens=1)
        self.chat.model.complete([self.chat.request([Message("user", "Hello")], one_token)])

    def ask(self, question: str) -> Generator[TextDelta | AnswerEnd]:
        """Ask a question; yield the answer as it is streamed, then its end.

        Closing the generator stops the model. The answer so far stays in the conversation; a
        question without any answer does not.

        Raises:
            UrialError: The conversation does not fit, or the model failed.
        """
        pieces = list[str]()
        started = perf_counter()
        waited = 0.0
        self.messages.append(Message("user", question))
        try:
            request = self.chat.request(self._with_system(self.messages), self.parameters)
            with closing(self.chat.stream(request)) as events:
                for event in events:
                    seconds = perf_counter() - started
                    waited = waited if pieces else seconds
                    if isinstance(event, TextDelta):
                        pieces.append(event.text)
                        yield event
                    elif isinstance(event, ReplyEnd):
                        yield AnswerEnd(event, waited, seconds, len(request.truncated))
        finally:
            if pieces:
                self.messages.append(Message("assistant", "".join(pieces)))
            else:
                self.messages.pop()

    def last_prompt(self) -> str:
        """Return the prompt of the last question, as the URIAL prompt in use writes it.

        Before the first question, return what every prompt of this conversation starts with.

        Raises:
            UrialError: The conversation does not fit.
        """
        if self.messages:
            asked = self._with_system(self.messages[:-1])
            return self.chat.request(asked, self.parameters).prompt
        prompt = self.chat.prompt
        return prompt.prefix + (prompt.format.turn("system", self.system) if self.system else "")

    def run_command(self, line: str) -> CommandResult | None:
        """Run a line as a slash command, such as ``/reset``.

        Returns:
            What to show, or None if the line is for the model: a command is a slash and a word at
            the very start, so ``/etc/hosts`` is for the model.

        Raises:
            UrialError: The prompt asked for does not exist, or the conversation does not fit.
        """
        found = _COMMAND.fullmatch(line.rstrip())
        if not found:
            return None
        name, argument = found[1], (found[2] or "").strip()
        if argument and name in SLASH_COMMANDS and name != "/prompt":
            return CommandResult(f"{name} takes no argument; nothing was done.")
        match name:
            case "/reset":
                self.messages.clear()
                return CommandResult("A new conversation starts.")
            case "/prompt" if not argument:
                return CommandResult("", "presets")
            case "/prompt":
                self.chat = replace(self.chat, prompt=load_prompt(preset_or_file(argument)))
                text = f"The prompt is now {self.chat.prompt.name!r}; the conversation continues."
                return CommandResult(text)
            case "/show":
                return CommandResult(self.last_prompt(), "prompt")
            case "/help":
                rows = [f"{name:9}{does}" for name, does in SLASH_COMMANDS.items()]
                rows.append("A line that begins with a space is never a command.")
                return CommandResult("\n".join(rows))
            case "/quit":
                return CommandResult("", "quit")
        return CommandResult(f"Unknown command {name}: use one of {', '.join(SLASH_COMMANDS)}.")

    def _with_system(self, messages: list[Message]) -> list[Message]:
        return [*([Message("system", self.system)] if self.system else []), *messages]
