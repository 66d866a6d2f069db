"""The Jinja chat template that writes a prompt's pages.

Generating it is writing text: Jinja itself is only needed by whoever renders the template.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import get_args

from urial_core.prompts.prompt import Prompt
from urial_core.prompts.prompt_format import LINE_BREAKS, LONGEST_FENCE, PromptFormat, TurnKind

__all__ = ["chat_template"]


def chat_template(prompt: Prompt, *, tools: bool = False, bos: bool = True) -> str:
    """Write a prompt and its format as a Jinja chat template.

    Rendered with ``add_generation_prompt=True``, it is the page that ``urial_core.composing`` writes,
    byte for byte, behind the token that begins texts. Servers cut replies at nothing but the
    ``stop`` strings of each request: send ``prompt.format.stop``.

    Args:
        prompt: The prompt.
        tools: Whether requests may list tools. The page then ends where the model writes the header
            of an answer or of a call, so the stop strings are ``prompt.format.stop_after_header``
            and whoever asked reads header and calls. Without, a request with tools is refused.
        bos: Whether the page begins with ``bos_token``. Right for models whose tokenizer puts that
            token before every text (Llama, Gemma, Mistral): transformers and vLLM leave it to the
            template, and llama.cpp takes care that there is one. False for all others.
    """
    prompt_format = prompt.format
    values = {
        "page": _literal(prompt.prefix, newline="\n"),
        "with_tools": "true" if tools else "false",
        "lesson": _literal(
            prompt.tool_examples.written(prompt_format) if tools else "", newline="\n"
        ),
        "headers": f"[{', '.join(map(_literal, prompt_format.headers))}]",
        "openings": _openings(prompt_format),
        "closing": _literal(prompt_format.turn_end),
        "before": _literal(prompt_format.separator),
        "strip_newlines": "true" if prompt_format.strip_newlines else "false",
        "fence": _literal(prompt_format.fence),
        "fence_mark": _literal(prompt_format.fence[:1]),
        "tracks_blocks": "true" if len(prompt_format.fence) == 3 else "false",
        "longest_fence": str(LONGEST_FENCE),
        "other_breaks": f"[{', '.join(_literal(mark) for mark in LINE_BREAKS if mark != chr(10))}]",
    }
    settings = "".join(f"{{%- set {name} = {value} -%}}\n" for name, value in values.items())
    return f"{settings}{'{{- bos_token -}}' if bos else ''}\n{_conversation()}"


@cache
def _conversation() -> str:
    """The part of the template that is the same for all prompts."""
    return (files(__name__.rpartition(".")[0]) / "conversation.jinja").read_text("utf-8")


def _openings(prompt_format: PromptFormat) -> str:
    """What stands before the text of each kind of section, as a dictionary."""
    kinds: tuple[TurnKind, ...] = get_args(TurnKind)
    pairs = (f"{_literal(kind)}: {_literal(prompt_format.open_turn(kind))}" for kind in kinds)
    return f"{{{', '.join(pairs)}}}"


def _literal(text: str, newline: str = r"\n") -> str:
    """A text as a literal: engines know few escapes, and take all other characters as they are."""
    escaped = text.replace("\\", r"\\").replace("'", r"\'").replace("\r", r"\r")
    return "'" + escaped.replace("\n", newline) + "'"
