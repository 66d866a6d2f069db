"""PromptFormat and Prompt: the bytes of turns and of the prompt prefix, and validation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from urial_core import Example, Prompt, PromptError, PromptFormat

ONE = (Example("Who?", "Me."),)


@pytest.mark.parametrize(
    ("prompt_format", "expected"),
    [
        (PromptFormat(), "\n# Query:\n````\nHi\nthere\n````\n"),
        (PromptFormat(fence="```"), "\n# Query:\n```\nHi\nthere\n```\n"),
        (PromptFormat(fence="~~~~"), "\n# Query:\n~~~~\nHi\nthere\n~~~~\n"),
        (PromptFormat(fence=""), "\n# Query:\nHi\nthere\n"),
        (PromptFormat(fence="", text_separator="\n\n"), "\n# Query:\n\nHi\nthere\n\n"),
        (PromptFormat(fence="", separator="\n\n"), "\n\n# Query:\nHi\nthere\n"),
    ],
)
def test_bytes_of_a_turn(prompt_format: PromptFormat, expected: str) -> None:
    """A turn is separator, header, fence, text and fence, byte for byte."""
    assert prompt_format.turn("user", "Hi\nthere") == expected
    assert expected.startswith(prompt_format.open_turn("user"))


@pytest.mark.parametrize(
    ("role", "header"),
    [
        ("user", "# Query:"),
        ("assistant", "# Answer:"),
        ("system", "# System:"),
        ("tool", "# Tool result:"),
    ],
)
def test_every_role_has_its_header(role: Any, header: str) -> None:
    """Each role's turn begins with the role's header."""
    assert PromptFormat().header(role) == header
    assert PromptFormat().open_turn(role) == f"\n{header}\n````\n"


@pytest.mark.parametrize(
    ("strip", "expected"), [(True, "\n# Query:\n  Hi \n"), (False, "\n# Query:\n\n\n  Hi \n\n\n")]
)
def test_newlines_around_a_text(strip: bool, expected: str) -> None:
    """Newlines around a text are kept, unless the format strips them; other blanks are kept."""
    assert PromptFormat(fence="", strip_newlines=strip).turn("user", "\n\n  Hi \n\n") == expected


@pytest.mark.parametrize(
    ("fence", "ends", "stop"),
    [
        ("````", True, ("\n````", "\n# Query:\n")),
        ("~~~~~", True, ("\n~~~~~", "\n# Query:\n")),
        ("```", False, ("\n# Query:\n", "\n# Answer:\n")),
        ("", False, ("\n# Query:\n", "\n# Answer:\n")),
    ],
)
def test_stop_strings(fence: str, ends: bool, stop: tuple[str, ...]) -> None:
    """A fence of four or more is a stop string; one of three is not, as code blocks have it."""
    prompt_format = PromptFormat(fence=fence)
    assert prompt_format.fence_ends_turn is ends
    assert prompt_format.stop == stop


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"query_header": ""}, "header '' must be one line"),
        ({"query_header": " # Query:"}, "without spaces around"),
        ({"answer_header": "# Answer:\n"}, "one line"),
        ({"system_header": "# A\n# B"}, "one line"),
        ({"tool_header": "# A\u2028# B"}, "one line"),
        ({"query_header": "# Answer:"}, "must differ"),
        ({"fence": "``"}, "fence '``' must be empty or three or more"),
        ({"fence": "``~"}, "three or more of one of"),
        ({"fence": "```python"}, "three or more of one of"),
        ({"fence": "----"}, "three or more of one of"),
        ({"separator": ""}, "must end with a newline"),
        ({"text_separator": " "}, "must end with a newline"),
    ],
)
def test_invalid_formats_are_refused(fields: dict[str, Any], message: str) -> None:
    """A format whose turns are ambiguous is refused, with the reason."""
    with pytest.raises(PromptError, match=message):
        PromptFormat(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"fence": "`" * 65},
        {"query_header": "\\Query:"},
        {"query_header": "Ask:", "answer_header": "Ask: again"},
    ],
    ids=["endless fence", "backslash", "header in a header"],
)
def test_formats_that_cannot_be_decoded_are_refused(fields: dict[str, Any]) -> None:
    """A format that cannot be escaped or decoded is refused."""
    with pytest.raises(PromptError):
        PromptFormat(**fields)


def test_bytes_of_the_prefix() -> None:
    """The prompt prefix is the instruction, then each example as two turns."""
    prompt = Prompt(name="p", instruction="Be kind.", examples=ONE)
    assert prompt.prefix == (
        "# Instruction\n\nBe kind.\n\n# Query:\n````\nWho?\n````\n\n# Answer:\n````\nMe.\n````\n"
    )


def test_a_verbatim_prefix_is_kept() -> None:
    """A verbatim text is the prompt prefix, unchanged, whatever the other attributes are."""
    text = "Raw \r\n{page} %s\n# Query:\n"
    assert Prompt(name="p", instruction="", examples=ONE, verbatim=text).prefix == text


@pytest.mark.parametrize(
    ("fence", "line"),
    [
        ("````", "# Answer:"),
        ("````", "  # System:"),
        ("````", "\\# Query:"),
        ("````", "````"),
        ("````", "`````python"),
        ("```", "```"),
        ("```", "```python"),
        ("", "# Tool result: 5"),
        ("~~~~", "~~~~"),
    ],
)
@pytest.mark.parametrize("part", ["query", "answer"])
def test_examples_that_forge_structure_are_refused(fence: str, line: str, part: str) -> None:
    """An example with a line that looks like a header or fence is refused, with its place."""
    texts = {"query": "Q", "answer": "A", part: f"Before\n{line}\nafter"}
    with pytest.raises(PromptError, match=f"Example 2 of prompt 'p': its {part} holds a line"):
        Prompt(
            name="p",
            instruction="I",
            examples=(*ONE, Example(**texts)),
            format=PromptFormat(fence=fence),
        )


@pytest.mark.parametrize(
    ("fence", "text"),
    [
        ("````", "```python\nx\n```"),
        ("```", "See:\n```python\nx = 1\n```\nDone."),
        ("```", "~~~\nx\n~~~"),
        ("", "````\nx\n````"),
        ("````", "# Query the table, then `# Answer:`"),
        ("````", "a\\b\n\\c"),
    ],
)
def test_harmless_examples_are_not_changed(fence: str, text: str) -> None:
    """Harmless code blocks, comments and backslashes are in the prompt prefix unchanged."""
    prompt = Prompt(
        name="p", instruction="I", examples=(Example("Q", text),), format=PromptFormat(fence=fence)
    )
    assert f"\n{text}\n" in prompt.prefix


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": " "}, "needs a name"),
        ({"instruction": "\n"}, "'p' has a blank instruction"),
        ({"examples": (Example(" ", "A"),)}, "Example 1 of prompt 'p': empty query"),
        ({"examples": (*ONE, Example("Q", ""))}, "Example 2 of prompt 'p': empty answer"),
    ],
)
def test_incomplete_prompts_are_refused(fields: dict[str, Any], message: str) -> None:
    """A prompt without name or part of an example is refused, and one with blanks for a text."""
    with pytest.raises(PromptError, match=message):
        Prompt(**{"name": "p", "instruction": "I", "examples": (), **fields})


def test_a_prompt_without_instruction() -> None:
    """An empty instruction leaves its heading out: the prefix is the examples' turns alone."""
    prompt = Prompt(name="p", instruction="", examples=ONE)
    whole = Prompt(name="p", instruction="Be kind.", examples=ONE)
    assert whole.prefix == f"# Instruction\n\nBe kind.\n{prompt.prefix}"
    assert Prompt(name="p", instruction="").prefix == ""


def test_digest_of_prefix_and_format() -> None:
    """Two prompts have the same digest exactly if they have the same prefix and format."""
    prompt = Prompt(name="p", instruction="I", examples=ONE)
    assert prompt.digest == replace(prompt, name="q", description="other", language="de").digest
    others = [
        replace(prompt, instruction="J"),
        replace(prompt, examples=()),
        replace(prompt, format=PromptFormat(fence="`````")),
        replace(prompt, verbatim=prompt.prefix, format=PromptFormat(tool_header="# Tool:")),
        replace(prompt, verbatim=prompt.prefix + "\n"),
    ]
    assert len({prompt.digest, *(other.digest for other in others)}) == len(others) + 1
    assert replace(prompt, verbatim=prompt.prefix).digest == prompt.digest
