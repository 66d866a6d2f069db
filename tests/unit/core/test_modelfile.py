"""Ollama's Modelfile: read as Ollama reads it, it holds the page and the stop strings."""

from __future__ import annotations

import json
import re

import pytest

from urial_core import (
    Example,
    Prompt,
    PromptError,
    PromptFormat,
    compose,
    load_prompt,
    preset_names,
)
from urial_core.chat_template import modelfile
from urial_core.messages import Message

ODD = Prompt(
    name="odd",
    instruction='{{ .System }} {{{ """ """" \t\u3000 \\ end',
    examples=(Example("q", 'a"""'),),
    format=PromptFormat(fence="~~~"),
)
PROMPTS = [ODD, *map(load_prompt, preset_names())]


def page(text: str, said: str) -> str:
    """What Ollama makes of a template of ours for one user message.

    There is no Go here: literals are read as JSON, and of the sections the user's is taken.
    """
    section = re.search(r'\{\{ if eq \.Role "user" \}\}(.*?)\{\{ end \}\}', text, re.DOTALL)
    assert section
    start, _, end = text.partition("{{ range .Messages }}")
    whole = f"{start}{section[1]}{end.rpartition('{{ end }}')[2]}"
    return re.sub(
        r'\{\{ (?:(\.Content)|("(?:\\.|[^"\\])*")) \}\}',
        lambda found: said if found[1] else str(json.loads(found[2])),
        whole,
    )


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_the_page_and_its_end(prompt: Prompt) -> None:
    """The template writes the composer's page, and each stop string is a parameter.

    Between triple quotes, Ollama takes everything as it is up to the next three.
    """
    values = re.findall(
        r'^(\S+(?: stop)?) """(.*?)"""$', modelfile(prompt, "m"), re.MULTILINE | re.DOTALL
    )
    assert [value for name, value in values if name == "PARAMETER stop"] == list(prompt.format.stop)
    [template] = [value for name, value in values if name == "TEMPLATE"]
    assert page(template, "Hi?") == compose(prompt, [Message("user", "Hi?")]).prompt
    assert all(mark == "\n" or mark.isprintable() for mark in template)


def test_what_ollama_cannot() -> None:
    """A format that strips texts, and a name that would add lines, are refused."""
    tight = Prompt(
        name="tight", instruction="x", format=PromptFormat(fence="", strip_newlines=True)
    )
    with pytest.raises(PromptError, match="newlines around texts"):
        modelfile(tight, "m")
    with pytest.raises(PromptError, match="one line"):
        modelfile(ODD, "m\nSYSTEM x")
