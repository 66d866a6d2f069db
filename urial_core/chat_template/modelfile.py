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

    Ollama's templates cannot change a text, so nothing is escaped: a user who writes a header line
    forges a turn (prompt injection). Do not serve untrusted text this way. Tools are not supported.

    Args:
        prompt: The prompt.
        model: The argument of ``FROM``: a model that Ollama knows, or the path of a GGUF file.

    Raises:
        PromptError: The model's name is not one line, or the format strips newlines around texts,
            which Ollama's templates cannot do.
    """
    if len(model.splitlines()) != 1:
        raise PromptError(f"The model {model!r} must be one line of text.")
    prompt_format = prompt.format
    if prompt_format.strip_newlines:
        raise PromptError(
            f"The format of prompt {prompt.name!r} strips newlines around texts, which Ollama's "
            "templates cannot do. Choose another prompt, or another server."
        )
    turns = "".join(
        f'{{{{ if eq .Role "{role}" }}}}{_plain(prompt_format.open_turn(role))}{{{{ .Content }}}}'
        f"{_plain(prompt_format.turn_end)}{{{{ end }}}}"
        for role in _ROLES
    )
    template = (
        f"{_plain(prompt.prefix)}{{{{ range .Messages }}}}{{{{ if .Content }}}}{turns}"
        f"{{{{ end }}}}{{{{ end }}}}{_plain(prompt_format.open_turn('assistant'))}"
    )
    stops = "".join(f"PARAMETER stop {_QUOTES}{stop}{_QUOTES}\n" for stop in prompt_format.stop)
    return f"FROM {model}\n{stops}TEMPLATE {_QUOTES}{template}{_QUOTES}\n"


def _plain(text: str) -> str:
    """Write a text for a Go template between triple quotes.

    Characters that are not printable become string literals, since Ollama drops them there.
    """
    return _SPECIAL.sub(lambda found: f"{{{{ {json.dumps(found[0])} }}}}", text)
