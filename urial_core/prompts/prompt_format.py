"""PromptFormat: how a turn is written, and what delimits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from urial_core.errors import PromptError

__all__ = ["LINE_BREAKS", "LONGEST_FENCE", "PromptFormat", "TurnKind"]

TurnKind = Literal["system", "user", "assistant", "tool", "tools", "call"]
"""What a turn holds: one role's text, the list of tools, or calls of them."""

LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""Characters after which a new line starts, as ``str.splitlines`` has it."""
LONGEST_FENCE = 64
"""A longer run of fence characters, or of a fence and the blanks after it, is no fence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFormat:
    r"""How turns are written: ``separator + header + turn_end + text + turn_end``.

    ``turn_end`` is the fence on a line of its own, or ``text_separator`` where there is no fence.
    The prompt ends with an open answer turn, and the model's text is the reply up to the delimiter:
    the fence, or the next line that holds a header and nothing else.

    Attributes:
        query_header: Header of the user's turns.
        answer_header: Header of the assistant's turns.
        system_header: Header of an application's own rules.
        tool_header: Header of a tool's result.
        tools_header: Header of the list of tools.
        call_header: Header of the assistant's tool calls.
        fence: Three or more backticks or tildes, or empty for none. With four or more, code blocks
            inside an answer never look like its end.
        separator: Written before each header.
        text_separator: Written between header and text, and after the text, without a fence.
        strip_newlines: Whether newlines around a text are left out.
    """

    query_header: str = "# Query:"
    answer_header: str = "# Answer:"
    system_header: str = "# System:"
    tool_header: str = "# Tool result:"
    tools_header: str = "# Tools:"
    call_header: str = "# Tool call:"
    fence: str = "````"
    separator: str = "\n"
    text_separator: str = "\n"
    strip_newlines: bool = False

    def __post_init__(self) -> None:
        for header in self.headers:
            if not header or header != header.strip() or len(header.splitlines()) != 1:
                raise PromptError(
                    f"The header {header!r} must be one line of text without spaces around it."
                )
            if header[0] == "\\":
                raise PromptError(f"The header {header!r} must not begin with a backslash.")
        if len(set(self.headers)) != len(self.headers):
            raise PromptError(f"The headers {self.headers} must differ from one another.")
        if any(a != b and b.startswith(a) for a in self.headers for b in self.headers):
            raise PromptError(f"None of the headers {self.headers} may begin with another.")
        if self.fence and (
            not 3 <= len(self.fence) <= LONGEST_FENCE
            or self.fence.strip(self.fence[0]) != ""
            or (self.fence[0] not in "`~")
        ):
            raise PromptError(
                f"The fence {self.fence!r} must be empty or three or more of one of ` and ~, "
                f"at most {LONGEST_FENCE}."
            )
        if self.separator[-1:] != "\n" or self.text_separator[-1:] != "\n":
            raise PromptError("`separator` and `text_separator` must end with a newline.")

    @property
    def headers(self) -> tuple[str, ...]:
        """All headers; a line that holds one of them alone begins a turn."""
        return tuple(self._headers.values())

    @property
    def turn_end(self) -> str:
        """What follows a turn's text; the same stands between its header and the text."""
        return f"\n{self.fence}\n" if self.fence else self.text_separator

    @property
    def fence_ends_turn(self) -> bool:
        """Whether the fence alone ends a turn (a code block's own has three characters)."""
        return len(self.fence) > 3

    @property
    def stop(self) -> tuple[str, ...]:
        """The few stop sequences for an engine; the reply decoder makes the exact cut."""
        query, answer = f"\n{self.query_header}\n", f"\n{self.answer_header}\n"
        return (f"\n{self.fence}", query) if self.fence_ends_turn else (query, answer)

    @property
    def stop_after_header(self) -> tuple[str, ...]:
        """The stop sequences where the model writes the turn's header itself."""
        query, result = f"\n{self.query_header}\n", f"\n{self.tool_header}\n"
        return (self.turn_end + self.separator, query) if self.fence_ends_turn else (query, result)

    def header(self, kind: TurnKind) -> str:
        """Return the header of a kind of turn."""
        return self._headers[kind]

    def open_turn(self, kind: TurnKind) -> str:
        """Return a turn's beginning, up to where its text starts."""
        return f"{self.separator}{self.header(kind)}{self.turn_end}"

    def turn(self, kind: TurnKind, text: str) -> str:
        """Return a whole turn. The text must be escaped (``urial_core.prompts.escaping``)."""
        body = text.strip("\n") if self.strip_newlines else text
        return f"{self.open_turn(kind)}{body}{self.turn_end}"

    @property
    def _headers(self) -> dict[TurnKind, str]:
        return {
            "user": self.query_header,
            "assistant": self.answer_header,
            "system": self.system_header,
            "tool": self.tool_header,
            "tools": self.tools_header,
            "call": self.call_header,
        }
