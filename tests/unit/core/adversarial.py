"""Adversarial texts for property tests, and the prompt formats to try them with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st

from urial_core import PromptFormat
from urial_core.prompts.prompt_format import LINE_BREAKS

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPT_FORMATS = {
    "none": PromptFormat(fence=""),
    "3 backticks": PromptFormat(fence="```"),
    "4 backticks": PromptFormat(fence="````"),
    "3 tildes": PromptFormat(fence="~~~"),
    "4 tildes": PromptFormat(fence="~~~~"),
    "spacious": PromptFormat(
        query_header="# User:",
        answer_header="# Assistant:",
        fence="",
        text_separator="\n\n",
        separator="\n",
    ),
    "tight": PromptFormat(
        query_header="# User:",
        answer_header="# Assistant:",
        fence="",
        separator="\n\n",
        strip_newlines=True,
    ),
    "bare labels": PromptFormat(
        query_header="User:",
        answer_header="Assistant:",
        system_header="System:",
        tool_header="Tool result:",
        tools_header="Tools:",
        call_header="Tool call:",
        fence="```",
    ),
}

BREAKS = [*LINE_BREAKS, "\r\n"]
HEADERS = sorted(
    {header for prompt_format in PROMPT_FORMATS.values() for header in prompt_format.headers}
)
_FENCES = [mark * size for mark in "`~" for size in (1, 2, 3, 4, 5, 64, 70)]
_NEAR_MISSES = [
    "# Query",
    "# Quer",
    "#",
    "# Answers:",
    "# Query the table",
    "## Query:",
    "# query:",
    "Us",
]
_LOOKALIKES = [
    "#\u2581Query:",
    "\uff03 Answer:",
    "# \uff35ser:",
    "\uff35ser:",
    "# Sy\ufb06em:",
    "# Tool  result:",
    "#\t\u3000Tools:",
    "# Qu\u200bery:",
    "#Query:",
    "\u1fef" * 3,
    "\u1fef" * 4,
    "``\uff40",
    "``\uff40`",
    "\uff5e" * 3,
    "``\u200b`",
    "```\u200b",
    "\uff3c````",
    "\uff3c# Query:",
]
_BLANKS = ["", "", "", " ", "\t", "  ", "    ", " " * 7, " " * 8, " " * 70, "\u2581", "\u200b"]
_WORDS = [
    "x",
    "word ",
    "python",
    "`",
    "a`b",
    "é",
    "日本",
    "\N{GRINNING FACE}",
    "\u3000",
    "\xa0",
    "\0",
]

prompt_formats = st.sampled_from(list(PROMPT_FORMATS.values()))
_breaks = st.sampled_from(["\n"] * 12 + BREAKS)
_lines = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(_BLANKS),
    st.sampled_from(["", "", "", "\\", "\\\\", "\\\\\\"]),
    st.sampled_from(HEADERS + _FENCES * 2 + _NEAR_MISSES + _WORDS + _LOOKALIKES),
    st.sampled_from(_BLANKS),
    st.sampled_from(["", "", "", "python", "`", "text", "\\"]),
    _breaks,
)
_NOT_WORDS = HEADERS + _FENCES + _NEAR_MISSES + _LOOKALIKES + _BLANKS
_atoms = st.sampled_from(_NOT_WORDS + _WORDS + BREAKS + ["\n"] * 12 + ["\\"] * 4)
texts = st.one_of(
    st.lists(_lines, max_size=12).map("".join),
    st.lists(_lines, max_size=8).map(lambda lines: "".join(lines)[:-1]),
    st.lists(st.one_of(_atoms, _atoms, _atoms, st.text(max_size=4)), max_size=24).map("".join),
)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=6)

many = settings(max_examples=2 * settings().max_examples)
"""Decorates a property of adversarial texts, which gets twice the profile's examples."""


def cut(text: str, lengths: Sequence[int]) -> list[str]:
    """Cut the text into pieces of these lengths, repeating the lengths as needed."""
    pieces, at, count = [], 0, 0
    while at < len(text):
        pieces.append(text[at : at + lengths[count % len(lengths)]])
        at += lengths[count % len(lengths)]
        count += 1
    return pieces
