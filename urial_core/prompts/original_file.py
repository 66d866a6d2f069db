"""Read a prompt file of the original URIAL repository (``urial_prompts/*.txt``).

Such a file is one text: instruction and examples already written out. Its bytes are kept, since
they are what the paper measured. Labels, fences and spacing are read from the text itself; the
file's name is no reliable source for them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from itertools import pairwise
from textwrap import shorten

from urial_core.errors import PromptError
from urial_core.prompts.prompt import Example, Prompt
from urial_core.prompts.prompt_format import PromptFormat

__all__ = ["PromptWarning", "parse_original"]

_HEADER = re.compile(r"^(?P<mark># )?(?P<label>Query|Answer|User|Assistant):[ \t]*$", re.MULTILINE)
_OTHER_HEADERS = tuple(
    re.compile(
        rf"^[^\w\n]*(?:<\|\w+\|>(?:{labels})\b|(?:{labels})[*` ]{{0,2}}:).*",
        re.IGNORECASE | re.MULTILINE,
    )
    for labels in ("query|question|q|user|human", "answer|response|a|assistant|ai")
)
"""Lines that begin a query and an answer in formats that are not read here."""
_QUERIES = ("Query", "User")


class PromptWarning(UserWarning):
    """A prompt file works but holds something its author probably did not mean."""


def parse_original(text: str, name: str) -> Prompt:
    """Parse an original prompt file's text.

    Defects of the data (examples out of order, a missing final newline, turns under headers of
    other formats) are warned about.

    Args:
        text: The file's text, whole.
        name: What to call the prompt.

    Raises:
        PromptError: The text is empty.
    """
    text = text.replace("\r\n", "\n")  # a Windows checkout
    if not text.strip():
        raise PromptError(f"Prompt file {name!r} is empty.")
    headers = list(_HEADER.finditer(text))
    prompt_format = _format_of(text, headers)
    ends = [*(header.start() for header in headers), len(text)][1:]
    turns = [
        (header["label"] in _QUERIES, _unfenced(text[header.end() : end], prompt_format))
        for header, end in zip(headers, ends, strict=True)
    ]
    for defect in _defects(text, prompt_format, turns):
        warnings.warn(f"Prompt file {name!r}: {defect}", PromptWarning, stacklevel=3)
    return Prompt(
        name=name,
        description="A prompt of the original URIAL repository.",
        instruction=text[: headers[0].start()].strip() if headers else text.strip(),
        examples=tuple(
            Example(query, answer)
            for (first_asks, query), (second_asks, answer) in pairwise(turns)
            if first_asks and not second_asks
        ),
        format=prompt_format,
        verbatim=text,
    )


def _format_of(text: str, headers: list[re.Match[str]]) -> PromptFormat:
    if headers:
        labels = {header["label"] for header in headers}
        mark = headers[0]["mark"] or ""
    else:  # no examples: the instruction names the labels
        labels = {"User"} if re.search(r"\bUser:", text) else {"Query"}
        mark = "# "
    query, answer = ("User", "Assistant") if "User" in labels else ("Query", "Answer")
    first_answer = next((h for h in headers if h["label"] not in _QUERIES), None)
    body = text[first_answer.end() :] if first_answer else "\n```"
    fenced = body.lstrip().startswith("```")
    spacious = body.startswith("\n\n")
    return PromptFormat(
        query_header=f"{mark}{query}:",
        answer_header=f"{mark}{answer}:",
        system_header=f"{mark}System:",
        tool_header=f"{mark}Tool result:",
        tools_header=f"{mark}Tools:",
        call_header=f"{mark}Tool call:",
        fence="```" if fenced else "",
        separator="\n" if fenced or spacious else "\n\n",
        text_separator="\n\n" if spacious else "\n",
        strip_newlines=not fenced and not spacious,
    )


def _unfenced(turn: str, prompt_format: PromptFormat) -> str:
    text = turn.strip()
    return text.removeprefix("```").removesuffix("```").strip() if prompt_format.fence else text


def _defects(
    text: str, prompt_format: PromptFormat, turns: list[tuple[bool, str]]
) -> Iterator[str]:
    for number, (asks, _) in enumerate(turns):
        if asks != (number % 2 == 0):
            found, wanted = ("a query", "an answer") if asks else ("an answer", "a query")
            yield (
                f"turn {number + 1} is {found} where {wanted} was expected; an example is out of "
                "place."
            )
            break
    others = [header.search(text) for header in _OTHER_HEADERS]
    if not any(asks for asks, _ in turns) and all(others):
        lines = " and ".join(shorten(repr(other[0]), 40) for other in others if other)
        yield (
            f"no query was found, so the file is an instruction without examples. {lines} begin no "
            "turns here: headers are lines of their own, '# Query:' and '# Answer:', or '# User:' "
            "and '# Assistant:'."
        )
    if turns and turns[-1][0]:
        yield "the last query has no answer."
    if not text.endswith("\n") and prompt_format.separator == "\n":
        yield (
            "there is no final newline, so the first query follows the last line without a blank "
            "line."
        )
