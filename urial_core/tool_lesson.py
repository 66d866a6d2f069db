"""Tool lesson: the constant examples that show a base model how tools are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from urial_core.errors import PromptError
from urial_core.frame import Frame
from urial_core.messages import Message
from urial_core.neutralise import neutralise
from urial_core.sections import sections_of, sections_text, tools_section
from urial_core.tools import Tool

__all__ = ["ToolLesson"]


@dataclass(frozen=True, slots=True)
class ToolLesson:
    """What stands on the page before an application's own tools.

    Attributes:
        instruction: When tools are called and how.
        tools: The examples' tools.
        examples: Short conversations: with calls and their results, and without.
        call_offset: Added to a call's log-probability before it is weighed against an answer's,
            where the model can score both: what measurement shows to separate them best.
    """

    instruction: str
    tools: tuple[Tool, ...]
    examples: tuple[tuple[Message, ...], ...]
    call_offset: float = 0.0

    def written(self, frame: Frame) -> str:
        """It as it stands on the page.

        Raises:
            PromptError: One of its texts would break the page.
        """
        self._check(frame)
        return (
            (frame.section("system", self.instruction) if self.instruction else "")
            + tools_section(self.tools, frame)
            + "".join(sections_text(example, frame) for example in self.examples)
        )

    def _check(self, frame: Frame) -> None:
        texts: Sequence[str] = [
            self.instruction,
            *(tool.line for tool in self.tools),
            *(section.text for example in self.examples for section in sections_of(example)),
        ]
        for text in texts:
            if neutralise(text, frame) != text:
                raise PromptError(
                    f"A tool example holds a line that looks like one of the page's headers "
                    f"{frame.headers} or its fence {frame.fence!r}: {text!r}. Reword it or choose "
                    "another frame."
                )
