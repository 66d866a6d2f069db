"""Prompt files that are written are read back as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core import Example, Prompt, PromptError, PromptFormat, load_prompt, preset_names
from urial_core.prompts.original_file import parse_original
from urial_core.prompts.toml_file import parse_toml
from urial_core.prompts.toml_writing import write_toml

texts = st.text(
    st.one_of(
        st.sampled_from("'\"\\\n\t\r#= \x00\x7f\x85\u2028🙂"),
        st.characters(codec="utf-8"),
    ),
    min_size=1,
    max_size=40,
).filter(str.strip)


@pytest.mark.parametrize("name", preset_names())
def test_presets(name: str) -> None:
    """Every preset is read back as an equal prompt."""
    prompt = load_prompt(name)
    assert parse_toml(write_toml(prompt), name) == prompt


@given(
    name=texts,
    instruction=st.just("") | texts,
    answer=texts,
    fence=st.sampled_from(["", "~~~", "`````"]),
)
def test_any_text(name: str, instruction: str, answer: str, fence: str) -> None:
    """Quotes, backslashes, control characters and line breaks of all kinds come back unchanged."""
    example = Example("Why?", f"It is: {answer}")
    try:
        prompt = Prompt(
            name=name,
            instruction=instruction,
            examples=(example,),
            format=PromptFormat(fence=fence, query_header="Q:", strip_newlines=True),
        )
    except PromptError:  # the answer would need escaping
        return
    assert parse_toml(write_toml(prompt), "the file") == prompt


def test_own_tool_examples() -> None:
    """Tool examples of one's own are written, calls, results and failures included."""
    prompt = load_prompt("short")
    tools = replace(prompt.tool_examples, instruction='Call one\'s "tools".\n')
    prompt = replace(prompt, tool_examples=tools)
    assert parse_toml(write_toml(prompt), "the file") == prompt


def test_texts_stay_readable() -> None:
    """Texts of several lines are written as they are, for people to edit."""
    prompt = load_prompt("short")
    assert f"'''\n{prompt.instruction}'''" in write_toml(prompt)


def test_a_verbatim_prompt_is_refused() -> None:
    """A file of the original repository keeps its bytes, which TOML could not."""
    text = "# Instruction\n\nHelp.\n\n# Query:\n```\nHi\n```\n\n# Answer:\n```\nHello\n```\n"
    with pytest.raises(PromptError, match="use that file as it is"):
        write_toml(parse_original(text, Path("old.txt").stem))
