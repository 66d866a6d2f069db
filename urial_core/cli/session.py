"""ChatSession: one conversation with a model, without any view of it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from time import perf_counter

from urial_core.chat import UrialChat
from urial_core.cli.answer_end import AnswerEnd
from urial_core.completion import CompletionModel
from urial_core.composing import Overflow
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.prompt import Prompt
from urial_core.replies import ReplyEnd, TextDelta

__all__ = ["ChatSession"]


@dataclass
class ChatSession:
    """A conversation that goes on.

    Attributes:
        model: The model that answers.
        prompt: The prompt in use; assign another to switch, the conversation stays.
        parameters: How replies are sampled.
        overflow: What to do when the conversation outgrows the model's window.
        system: Rules for the whole conversation; empty for none.
        messages: What was said so far.
    """

    model: CompletionModel
    prompt: Prompt
    parameters: GenerationParameters = field(default_factory=GenerationParameters)
    overflow: Overflow = "truncate"
    system: str = ""
    messages: list[Message] = field(default_factory=list)

    def warm_up(self) -> None:
        """Have the model read the constant page now, so that the first question need not wait.

        Raises:
            UrialError: The model failed.
        """
        chat = UrialChat(self.model, self.prompt, self.overflow)
        self.model.complete(
            [chat.request([Message("user", "Hello")], GenerationParameters(max_tokens=1))]
        )

    def ask(self, text: str) -> Generator[TextDelta | AnswerEnd]:
        """Say something; yield the answer as it is written, then how it went.

        Closing the generator stops the model. What was said until then stays in the conversation;
        a question that got no answer at all does not.

        Raises:
            UrialError: The conversation does not fit, or the model failed.
        """
        said = list[str]()
        started = first = perf_counter()
        self.messages.append(Message("user", text))
        try:
            chat = UrialChat(self.model, self.prompt, self.overflow)
            request = chat.request(self._all_messages(self.messages), self.parameters)
            with closing(chat.stream(request)) as events:
                for event in events:
                    if isinstance(event, ReplyEnd):
                        now = perf_counter()
                        yield AnswerEnd(
                            reply=event,
                            first_token_seconds=(first if said else now) - started,
                            seconds=now - started,
                            truncated=len(request.truncated),
                        )
                    elif isinstance(event, TextDelta):
                        first = first if said else perf_counter()
                        said.append(event.text)
                        yield event
        finally:
            if said:
                self.messages.append(Message("assistant", "".join(said)))
            else:
                self.messages.pop()

    def page(self) -> str:
        """The page the model was given for the last question, as the prompt in use writes it.

        Before the first question: what every page begins with.

        Raises:
            UrialError: The conversation does not fit.
        """
        asked = [index for index, message in enumerate(self.messages) if message.role == "user"]
        if not asked:
            system = self.prompt.format.turn("system", self.system) if self.system else ""
            return self.prompt.prefix + system
        messages = self._all_messages(self.messages[: asked[-1] + 1])
        chat = UrialChat(self.model, self.prompt, self.overflow)
        return chat.request(messages, self.parameters).prompt

    def reset(self) -> None:
        """Begin a new conversation; prompt and rules stay."""
        self.messages.clear()

    def _all_messages(self, messages: list[Message]) -> list[Message]:
        return [*([Message("system", self.system)] if self.system else []), *messages]
