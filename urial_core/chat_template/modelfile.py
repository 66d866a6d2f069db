"""A prompt as a Modelfile, from which Ollama makes a chat model."""

from __future__ import annotations

import json
import re

from urial_core.errors import PromptError
from urial_core.prompts.prompt import Prompt
from urial_core.prompts.prompt_format import TurnKind

__all__ = ["modelfile"]

_ROLES: tuple[TurnKind, ...] = ("system", "user", "assistant")
_QUOTES = '"""'
_SPECIAL = re.compile(r'\{\{|"""|[^\S\n ]')


def modelfile(prompt: Prompt, model: str) -> str:
    """Write a prompt, its format and its stop strings as an Ollama Modelfile.

    Ollama's templates cannot change a text, so nothing in it is escaped: a user who writes a
    header line forges a section. Do not serve untrusted text so. Tools are left out.

    Args:
        prompt: The prompt.
        model: What stands behind ``FROM``: a model that Ollama knows, or the path of a GGUF file.

    Raises:
        PromptError: The model's name has a line break, or the format leaves newlines around texts
            out, which Ollama's templates cannot.
    """
    if len(model.splitlines()) != 1:
        raise PromptError(f"The model {model!r} must be one line of text.")
    prompt_format = prompt.format
    if prompt_format.strip_newlines:
        raise PromptError(
            f"The format of prompt {prompt.name!r} leaves out newlines around texts, and Ollama's "
            "templates cannot. Choose another prompt, or another server."
        )
    sections = "".join(
        f'{{{{ if eq .Role "{role}" }}}}{_plain(prompt_format.open_turn(role))}{{{{ .Content }}}}'
        f"{_plain(prompt_format.turn_end)}{{{{ end }}}}"
        for role in _ROLES
    )
    template = (
        f"{_plain(prompt.prefix)}{{{{ range .Messages }}}}{{{{ if .Content }}}}{sections}"
        f"{{{{ end }}}}{{{{ end }}}}{_plain(prompt_format.open_turn('assistant'))}"
    )
    stops = "".join(f"PARAMETER stop {_QUOTES}{stop}{_QUOTES}\n" for stop in prompt_format.stop)
    return f"FROM {model}\n{stops}TEMPLATE {_QUOTES}{template}{_QUOTES}\n"


def _plain(text: str) -> str:
    """A text as it stands in a Go template between triple quotes.

    Ollama drops characters there that are not printable.
    """
    return _SPECIAL.sub(lambda found: f"{{{{ {json.dumps(found[0])} }}}}", text)
