"""Request: everything an engine needs to know to write one reply."""

from __future__ import annotations

from dataclasses import dataclass

from urial_core.decoding.reply_decoder import ReplyDecoder
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.structured.constraints import Constraint, JsonSchema
from urial_core.tools import ToolUse

__all__ = ["Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One page to be continued.

    Attributes:
        prompt: The page, ending in an open answer section.
        constant: How many of the page's characters, from its start, are the same in every request
            of this prompt: an engine computes them once.
        stop: Strings at which an engine may stop: the format's few, then the user's.
        parameters: How to sample; ``max_tokens`` is always set.
        format: How the page is written.
        prefill: What the page already holds of the reply.
        constraint: The form that what is written now must have. An engine that cannot hold to it
            ignores it (``urial_core.structured.constraints.constrains`` tells).
        tools: What the reply may call; None for no tools.
        output: The form that a reply in text must have.
        content_free_prompts: Pages with the same tools and a query that says nothing, to find a model's
            leaning between answers and calls.
        plain: Whether this is no page, but plain text whose continuation is given as it is written;
            the format means nothing then.
        truncated: Messages left out because the window is too small.
    """

    prompt: str
    constant: int
    stop: tuple[str, ...]
    parameters: GenerationParameters
    format: PromptFormat
    prefill: str = ""
    constraint: Constraint | None = None
    tools: ToolUse | None = None
    output: JsonSchema | None = None
    content_free_prompts: tuple[str, ...] = ()
    plain: bool = False
    truncated: tuple[Message, ...] = ()

    @property
    def max_tokens(self) -> int:
        """The reply's length limit, in tokens."""
        assert self.parameters.max_tokens is not None  # noqa: S101 - `compose` sets it
        return self.parameters.max_tokens

    def reader(self, *, may_echo: bool = False) -> ReplyDecoder:
        """A fresh reader for the completion as the engine writes it.

        An engine that sees every token may run it too, to stop exactly where the reply ends.

        Args:
            may_echo: Whether the completion may begin with a copy of the prompt, to be truncated.
        """
        return ReplyDecoder(
            None if self.plain else self.format,
            stop=self.parameters.stop,
            prompt=self.prompt if may_echo else "",
            prefill=self.prefill,
        )
