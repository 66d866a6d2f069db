"""Prompt files in the formats of the original URIAL repository, recognised by their content.

The texts are this project's own. The expected prompts are rendered by the small functions below,
after the original code, not by ``PromptFormat``.
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
    """Render the prompt of a file with fences."""
    headers = {"user": "# Query:", "assistant": "# Answer:"}
    body = "".join(f"\n{headers[role]}\n```\n{text}\n```\n" for role, text in turns)
    return system + body + "\n# Answer:\n```\n"


def spacious(system: str, turns: Turns) -> str:
    """Render the prompt of a file with blank lines (v5)."""
    headers = {"user": "# User:", "assistant": "# Assistant:"}
    body = "".join(f"\n{headers[role]}\n\n{text}\n\n" for role, text in turns)
    return system + body + "\n# Assistant:\n\n"


def tight(system: str, turns: Turns) -> str:
    """Render the prompt of a tight file (v6)."""
    headers = {"user": "# User:", "assistant": "# Assistant:"}
    body = "".join("\n\n{}\n{}\n".format(headers[role], text.strip("\n")) for role, text in turns)
    return system + body + "\n\n# Assistant:\n"


def parse(text: str) -> Prompt:
    """Parse a text, without warnings of its defects."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)
        return parse_original(text, "original")


def prompt_of(text: str, turns: Turns) -> str:
    """Compose the prompt that this project sends."""
    messages = [Message(role, content) for role, content in turns]  # type: ignore[arg-type]
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
def test_prompts_equal_those_of_the_original(
    text: str, renderer: Callable[[str, Turns], str], turns: Turns
) -> None:
    """A conversation's prompt has the same bytes as the original code's."""
    assert prompt_of(text, turns) == renderer(text, turns)


@pytest.mark.parametrize(
    "query",
    [
        "Fix it:\n```python\nx = 1\n```\nThanks.",
        "```python\nx\n```",
        "```a\n1\n```\nand\n```b\n2\n```",
        "inline ``` fence",
        "~~~\nx\n~~~",
    ],
)
@pytest.mark.parametrize("others", [[], TURNS["single"] + [("assistant", "Yes.")]])
def test_balanced_code_blocks_are_kept(query: str, others: Turns) -> None:
    """A balanced code block within a fenced turn is not changed."""
    turns = [*others, ("user", query)]
    assert prompt_of(BACKTICKS, turns) == backticks(BACKTICKS, turns)


def test_newlines_around_a_text() -> None:
    """The tight format strips newlines around a text; the other formats keep them."""
    turns = [("user", "\n\n Pool? \n\n")]
    assert prompt_of(TIGHT, turns) == tight(TIGHT, turns)
    assert prompt_of(SPACIOUS, turns) == spacious(SPACIOUS, turns)
    assert prompt_of(BACKTICKS, turns) == backticks(BACKTICKS, turns)


def test_headers_without_a_hash() -> None:
    """Headers without '#' are used as they are, and other headers follow their style."""
    prompt = parse(BARE)
    headers = ("User:", "Assistant:", "System:", "Tool result:", "Tools:", "Tool call:")
    assert prompt.format.headers == headers
    assert prompt_of(BARE, [("user", "Pool?")]) == BARE + "\n\nUser:\nPool?\n\n\nAssistant:\n"


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
def test_instruction_and_examples_are_found(text: str, examples: tuple[Example, ...]) -> None:
    """Instruction and examples are found in every format; the prompt prefix is the file's text."""
    prompt = parse(text)
    assert prompt.prefix == text
    assert prompt.examples == examples
    assert prompt.instruction.startswith("# Instruction\n\nA talk between")
    assert "Query:\n" not in prompt.instruction


@pytest.mark.parametrize(
    ("word", "headers"),
    [("`# User:`", ("# User:", "# Assistant:")), ("`# Query:`", ("# Query:", "# Answer:"))],
)
def test_headers_from_an_instruction_without_examples(word: str, headers: tuple[str, str]) -> None:
    """Without examples, the headers are those that the instruction names."""
    assert parse(f"Guests write under {word}.\n").format.headers[:2] == headers


@pytest.mark.parametrize(
    "text",
    [BACKTICKS, SPACIOUS, TIGHT, BARE, INSTRUCTION_ONLY],
    ids=["backticks", "spacious", "tight", "bare", "instruction only"],
)
def test_files_without_defects_give_no_warning(text: str) -> None:
    """A file without defects is loaded without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_original(text, "original").prefix == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INLINE, "no final newline"),
        (BACKTICKS + "\n# Answer:\n```\nAgain.\n```\n", "turn 5 is an answer where a query"),
        (TIGHT.replace("# Assistant:\nFrom", "# User:\nFrom"), "turn 2 is a query where an"),
        (BACKTICKS + "\n# Query:\n```\nDinner?\n```\n", "last query has no answer"),
    ],
    ids=["no newline", "two answers", "two queries", "unanswered"],
)
def test_defects_are_warned_about(text: str, message: str) -> None:
    """A defect of the file gives a warning that describes it; the bytes are kept."""
    with pytest.warns(PromptWarning, match=message):
        prompt = parse_original(text, "flawed")
    assert prompt.prefix == text
    assert prompt.examples


@pytest.mark.parametrize(
    "text",
    [
        "Human: hi\nAssistant: hello\n",
        "A chat.\n\nHuman:\nhi\n\nAssistant:\nhello\n",
        "### Human:\nhi\n### Assistant:\nhello\n",
        "Q: hi\nA: hello\n",
        "**User:** hi\n\n**Assistant:** hello\n",
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>\n",
        "## Query:\nhi\n## Answer:\nhello\n",
        "# query:\nhi\n\n# answer:\nhello\n",
    ],
)
def test_turns_under_other_headers_are_warned_about(text: str) -> None:
    """Turns in a format that is not read are not taken as an instruction without a word."""
    with pytest.warns(PromptWarning, match="no query was found"):
        prompt = parse_original(text, "foreign")
    assert (prompt.prefix, prompt.examples) == (text, ())


def test_an_empty_file_is_refused() -> None:
    """A file without text is refused, with its name."""
    with pytest.raises(PromptError, match="'void' is empty"):
        parse_original(" \n\n", "void")


@pytest.mark.parametrize(
    "text", [BACKTICKS, SPACIOUS, TIGHT], ids=["backticks", "spacious", "tight"]
)
def test_the_file_name_does_not_decide_the_format(tmp_path: Path, text: str) -> None:
    """The same bytes give the same prompt under any file name, but for the prompt's name."""
    prompts = []
    for name in ("inst_1k_v6.txt", "inst_2k_v4.help.txt", "zero.md", "noext"):
        (tmp_path / name).write_bytes(text.encode())
        prompts.append(load_prompt(tmp_path / name))
    assert len({prompt.digest for prompt in prompts}) == 1
    assert [prompt.name for prompt in prompts] == ["inst_1k_v6", "inst_2k_v4.help", "zero", "noext"]


@pytest.mark.parametrize(
    "text", [BACKTICKS, SPACIOUS, TIGHT], ids=["backticks", "spacious", "tight"]
)
def test_crlf_line_breaks_are_normalised(tmp_path: Path, text: str) -> None:
    """A file with CRLF line breaks, as from a checkout on Windows, gives the same prompt."""
    path = tmp_path / "windows.txt"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert load_prompt(path).digest == parse(text).digest
