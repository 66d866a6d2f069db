"""Prompt files in the formats of the original URIAL repository: their bytes decide everything.

The texts are this project's own. The pages expected are written by the tiny renderers below, from
the formulas of the original code, not by ``PromptFormat``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from urial_core import Example, Message, Prompt, PromptError, compose, load_prompt
from urial_core.prompts.original_file import PromptWarning, parse_original

INTRO = "# Instruction\n\nA talk between a guest and the staff of a hotel.\n"
BACKTICKS = INTRO + (
    "\n# Query:\n```\nWhen is breakfast?\n```\n\n# Answer:\n```\nFrom 7 to 10.\n\nEnjoy!\n```\n"
    "\n# Query:\n```\nAnd lunch?\n```\n\n# Answer:\n```\nAt noon.\n```\n"
)
INLINE = INTRO + "\n# Query:\n```How?```\n\n# Answer:\n```\nSo.\n```"
SPACIOUS = INTRO + (
    "\n\n# User:\n\nWhen is breakfast?\n\n\n# Assistant:\n\nFrom 7 to 10.\n\nEnjoy!\n\n"
    "\n# User:\n\nAnd lunch?\n\n\n# Assistant:\n\nAt noon.\n\n"
)
TIGHT = INTRO + (
    "\n\n# User:\nWhen is breakfast?\n\n\n# Assistant:\nFrom 7 to 10.\n\nEnjoy!\n"
    "\n\n# User:\nAnd lunch?\n\n\n# Assistant:\nAt noon.\n"
)
BARE = INTRO + "\n\nUser:\nAnd lunch?\n\n\nAssistant:\nAt noon.\n"
INSTRUCTION_ONLY = INTRO + "Guests write under `# Query:`, the staff under `# Answer:`.\n"
EXAMPLES = (
    Example("When is breakfast?", "From 7 to 10.\n\nEnjoy!"),
    Example("And lunch?", "At noon."),
)

Turns = list[tuple[str, str]]
TURNS = {
    "single": [("user", "Is there a pool?")],
    "multi": [
        ("user", "Is there a pool?"),
        ("assistant", "Yes, on the roof.\n\n- open from 9\n- heated"),
        ("user", "And a {sauna}? 100 % \\o/\n  # Not a header: this"),
    ],
}


def backticks(system: str, turns: Turns) -> str:
    """Write the page of a file with fences."""
    labels = {"user": "# Query:", "assistant": "# Answer:"}
    body = "".join(f"\n{labels[role]}\n```\n{text}\n```\n" for role, text in turns)
    return system + body + "\n# Answer:\n```\n"


def spacious(system: str, turns: Turns) -> str:
    """Write the page of a file with blank lines (v5)."""
    labels = {"user": "# User:", "assistant": "# Assistant:"}
    body = "".join(f"\n{labels[role]}\n\n{text}\n\n" for role, text in turns)
    return system + body + "\n# Assistant:\n\n"


def tight(system: str, turns: Turns) -> str:
    """Write the page of a tight file (v6)."""
    labels = {"user": "# User:", "assistant": "# Assistant:"}
    body = "".join("\n\n{}\n{}\n".format(labels[role], text.strip("\n")) for role, text in turns)
    return system + body + "\n\n# Assistant:\n"


def parse(text: str) -> Prompt:
    """Parse a text whose defects, if any, are of no interest here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)
        return parse_original(text, "original")


def page(text: str, turns: Turns) -> str:
    """Write the page that this project sends."""
    messages = [Message(role, said) for role, said in turns]  # type: ignore[arg-type]
    return compose(parse(text), messages).prompt


@pytest.mark.parametrize("turns", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize(
    ("text", "renderer"),
    [
        (BACKTICKS, backticks),
        (INLINE, backticks),
        (INSTRUCTION_ONLY, backticks),
        (SPACIOUS, spacious),
        (TIGHT, tight),
    ],
    ids=["backticks", "inline", "instruction only", "spacious", "tight"],
)
def test_pages_equal_those_of_the_original(
    text: str, renderer: Callable[[str, Turns], str], turns: Turns
) -> None:
    """A conversation's page has the very bytes that the original code would send."""
    assert page(text, turns) == renderer(text, turns)


@pytest.mark.parametrize(
    "said",
    [
        "Fix it:\n```python\nx = 1\n```\nThanks.",
        "```python\nx\n```",
        "```a\n1\n```\nand\n```b\n2\n```",
        "inline ``` fence",
        "~~~\nx\n~~~",
    ],
)
@pytest.mark.parametrize("others", [[], TURNS["single"] + [("assistant", "Yes.")]])
def test_balanced_code_blocks_are_kept(said: str, others: Turns) -> None:
    """A balanced code block within a fenced section stays as it is, byte for byte."""
    turns = [*others, ("user", said)]
    assert page(BACKTICKS, turns) == backticks(BACKTICKS, turns)


def test_newlines_around_a_text() -> None:
    """Only the tight format strips newlines around a text; the others keep them."""
    turns = [("user", "\n\n Pool? \n\n")]
    assert page(TIGHT, turns) == tight(TIGHT, turns)
    assert page(SPACIOUS, turns) == spacious(SPACIOUS, turns)
    assert page(BACKTICKS, turns) == backticks(BACKTICKS, turns)


def test_labels_without_a_mark() -> None:
    """Labels without '#' are used as the file has them, for an app's rules and tools too."""
    prompt = parse(BARE)
    labels = ("User:", "Assistant:", "System:", "Tool result:", "Tools:", "Tool call:")
    assert prompt.format.headers == labels
    assert page(BARE, [("user", "Pool?")]) == BARE + "\n\nUser:\nPool?\n\n\nAssistant:\n"


@pytest.mark.parametrize(
    ("text", "examples"),
    [
        (BACKTICKS, EXAMPLES),
        (SPACIOUS, EXAMPLES),
        (TIGHT, EXAMPLES),
        (INLINE, (Example("How?", "So."),)),
        (BARE, EXAMPLES[1:]),
        (INSTRUCTION_ONLY, ()),
    ],
    ids=["backticks", "spacious", "tight", "inline", "bare", "instruction only"],
)
def test_parts_are_recognised(text: str, examples: tuple[Example, ...]) -> None:
    """Instruction and examples are found in every format, and the page is the file's text."""
    prompt = parse(text)
    assert prompt.prefix == text
    assert prompt.examples == examples
    assert prompt.instruction.startswith("# Instruction\n\nA talk between")
    assert "Query:\n" not in prompt.instruction


@pytest.mark.parametrize(
    ("word", "labels"),
    [("`# User:`", ("# User:", "# Assistant:")), ("`# Query:`", ("# Query:", "# Answer:"))],
)
def test_an_instruction_without_examples_names_its_labels(
    word: str, labels: tuple[str, str]
) -> None:
    """Without examples, the labels are those that the instruction speaks of."""
    assert parse(f"Guests write under {word}.\n").format.headers[:2] == labels


@pytest.mark.parametrize(
    "text",
    [BACKTICKS, SPACIOUS, TIGHT, BARE, INSTRUCTION_ONLY],
    ids=["backticks", "spacious", "tight", "bare", "instruction only"],
)
def test_sound_files_give_no_warning(text: str) -> None:
    """A file without defects is read without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_original(text, "original").prefix == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INLINE, "no final newline"),
        (BACKTICKS + "\n# Answer:\n```\nAgain.\n```\n", "section 5 is an answer where a query"),
        (TIGHT.replace("# Assistant:\nFrom", "# User:\nFrom"), "section 2 is a query where an"),
        (BACKTICKS + "\n# Query:\n```\nDinner?\n```\n", "last query has no answer"),
    ],
    ids=["no newline", "two answers", "two queries", "unanswered"],
)
def test_defects_are_warned_about(text: str, message: str) -> None:
    """A defect of the data is a warning that says what it is; the bytes are kept all the same."""
    with pytest.warns(PromptWarning, match=message):
        prompt = parse_original(text, "flawed")
    assert prompt.prefix == text
    assert prompt.examples


def test_an_empty_file_is_an_error() -> None:
    """A file without any text is refused by name."""
    with pytest.raises(PromptError, match="'void' is empty"):
        parse_original(" \n\n", "void")


@pytest.mark.parametrize(
    "text", [BACKTICKS, SPACIOUS, TIGHT], ids=["backticks", "spacious", "tight"]
)
def test_the_name_of_the_file_does_not_matter(tmp_path: Path, text: str) -> None:
    """The same bytes give the same prompt under any name; only the prompt's name differs."""
    prompts = []
    for name in ("inst_1k_v6.txt", "inst_2k_v4.help.txt", "zero.md", "noext"):
        (tmp_path / name).write_bytes(text.encode())
        prompts.append(load_prompt(tmp_path / name))
    assert len({prompt.digest for prompt in prompts}) == 1
    assert [prompt.name for prompt in prompts] == ["inst_1k_v6", "inst_2k_v4.help", "zero", "noext"]


@pytest.mark.parametrize(
    "text", [BACKTICKS, SPACIOUS, TIGHT], ids=["backticks", "spacious", "tight"]
)
def test_windows_line_ends_change_nothing(tmp_path: Path, text: str) -> None:
    """A file that a Windows checkout gave CRLF line ends is the same prompt as before."""
    path = tmp_path / "windows.txt"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert load_prompt(path).digest == parse(text).digest
