"""Ollama's Modelfile: read as Ollama reads it, it gives the prompt and the stop strings."""

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


def rendered(template: str, content: str) -> str:
    """Render a template for one user message as Ollama does.

    Without Go: literals are read as JSON, and only the user's turn is kept.
    """
    turn = re.search(r'\{\{ if eq \.Role "user" \}\}(.*?)\{\{ end \}\}', template, re.DOTALL)
    assert turn
    start, _, end = template.partition("{{ range .Messages }}")
    whole = f"{start}{turn[1]}{end.rpartition('{{ end }}')[2]}"
    return re.sub(
        r'\{\{ (?:(\.Content)|("(?:\\.|[^"\\])*")) \}\}',
        lambda found: content if found[1] else str(json.loads(found[2])),
        whole,
    )


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_prompt_and_stop_strings(prompt: Prompt) -> None:
    """Write the same prompt as ``compose``, and each stop string as a parameter.

    Ollama reads everything between triple quotes verbatim.
    """
    values = re.findall(
        r'^(\S+(?: stop)?) """(.*?)"""$', modelfile(prompt, "m"), re.MULTILINE | re.DOTALL
    )
    assert [value for name, value in values if name == "PARAMETER stop"] == list(prompt.format.stop)
    [template] = [value for name, value in values if name == "TEMPLATE"]
    assert rendered(template, "Hi?") == compose(prompt, [Message("user", "Hi?")]).prompt
    assert all(character == "\n" or character.isprintable() for character in template)


def test_unsupported_formats_and_names() -> None:
    """Refuse a format that strips texts, and a name that would add lines."""
    tight = Prompt(
        name="tight", instruction="x", format=PromptFormat(fence="", strip_newlines=True)
    )
    with pytest.raises(PromptError, match="newlines around texts"):
        modelfile(tight, "m")
    with pytest.raises(PromptError, match="one line"):
        modelfile(ODD, "m\nSYSTEM x")
