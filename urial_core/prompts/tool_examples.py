"""Tool lesson: the constant examples that show a base model how tools are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from urial_core.errors import PromptError
from urial_core.messages import Message
from urial_core.prompts.escaping import escape
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.turns import group_turns, write_tools, write_turns
from urial_core.tools import Tool

__all__ = ["ToolExamples"]


@dataclass(frozen=True, slots=True)
class ToolExamples:
    """What stands on the page before an application's own tools.

    Attributes:
        instruction: When tools are called and how.
        tools: The examples' tools.
        examples: Short conversations: with calls and their results, and without.
        neutral: Queries that say nothing. By how much a model would rather call for these is taken
            off before a call is weighed against an answer, where the model can score both; so a
            leaning that comes from the tools or the lesson itself does not count.
        call_offset: Added to a call's log-probability before it is weighed against an answer's,
            where the model can score both: what measurement shows to separate them best.
    """

    instruction: str
    tools: tuple[Tool, ...]
    examples: tuple[tuple[Message, ...], ...]
    neutral: tuple[str, ...] = ()
    call_offset: float = 0.0

    def written(self, prompt_format: PromptFormat) -> str:
        """It as it stands on the page.

        Raises:
            PromptError: One of its texts would break the page.
        """
        self._check(prompt_format)
        return (
            (prompt_format.turn("system", self.instruction) if self.instruction else "")
            + write_tools(self.tools, prompt_format)
            + "".join(write_turns(example, prompt_format) for example in self.examples)
        )

    def _check(self, prompt_format: PromptFormat) -> None:
        texts: Sequence[str] = [
            self.instruction,
            *(tool.line for tool in self.tools),
            *(section.text for example in self.examples for section in group_turns(example)),
        ]
        for text in texts:
            if escape(text, prompt_format) != text:
                raise PromptError(
                    f"A tool example holds a line that looks like one of the page's headers "
                    f"{prompt_format.headers} or its fence {prompt_format.fence!r}: {text!r}. Reword it or choose "
                    "another format."
                )
