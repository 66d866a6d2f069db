"""Prompt: the constant text that makes a base model an assistant, by in-context learning."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from urial_core.errors import PromptError
from urial_core.prompts.escaping import check_needs_no_escaping
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.tool_examples import ToolExamples, default_tool_examples

__all__ = ["Example", "Prompt"]


@dataclass(frozen=True, slots=True)
class Example:
    """One few-shot example: a question, and an answer in the style wanted."""

    query: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Instruction, few-shot examples and format, as one value (Lin et al. 2024, section 3).

    Attributes:
        name: Its name.
        instruction: What the assistant is and how it answers; empty for none.
        examples: Constant question-and-answer pairs, in order; they teach style, not facts.
        format: How turns are written.
        description: One line on what it is for.
        language: Its language, as a BCP 47 tag.
        verbatim: The prefix's exact text, for prompts whose bytes must be kept; otherwise it is
            written from instruction and examples.
        tool_examples: How tools are called, for requests with tools. Default: this project's.
    """

    name: str
    instruction: str
    examples: tuple[Example, ...] = ()
    format: PromptFormat = field(default_factory=PromptFormat)
    description: str = ""
    language: str = "en"
    verbatim: str | None = None
    tool_examples: ToolExamples = field(default_factory=default_tool_examples)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise PromptError("A prompt needs a name.")
        if self.verbatim is not None:
            return
        if self.instruction and not self.instruction.strip():
            raise PromptError(f"Prompt {self.name!r} has a blank instruction: give '' for none.")
        for number, example in enumerate(self.examples, 1):
            for part, text in (("query", example.query), ("answer", example.answer)):
                name = f"Example {number} of prompt {self.name!r}"
                if not text.strip():
                    raise PromptError(f"{name}: empty {part}.")
                check_needs_no_escaping(text, self.format, f"{name}: its {part}")

    @cached_property
    def prefix(self) -> str:
        """The constant start of every prompt, which engines keep in their prefix cache."""
        if self.verbatim is not None:
            return self.verbatim
        turns = [
            self.format.turn("user", example.query) + self.format.turn("assistant", example.answer)
            for example in self.examples
        ]
        instruction = f"# Instruction\n\n{self.instruction}\n" if self.instruction else ""
        return instruction + "".join(turns)

    @cached_property
    def prefix_with_tools(self) -> str:
        """The constant start of every prompt with tools; it begins with ``prefix``."""
        return self.prefix + self.tool_examples.written(self.format)

    @cached_property
    def digest(self) -> str:
        """A hash of both prefixes and the format: equal digests give equal replies."""
        return hashlib.sha256(repr((self.prefix_with_tools, self.format)).encode()).hexdigest()
