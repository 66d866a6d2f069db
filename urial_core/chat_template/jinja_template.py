"""The Jinja chat template that writes the same prompts as ``urial_core.composing``.

Generating it is writing text: only who renders the template needs Jinja.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any, get_args

from urial_core.prompts.escaping import lookalikes, seen_headers
from urial_core.prompts.prompt import Prompt
from urial_core.prompts.prompt_format import LINE_BREAKS, LONGEST_FENCE, PromptFormat, TurnKind

__all__ = ["begins_texts_with_bos", "chat_template", "set_chat_template"]


def chat_template(prompt: Prompt, *, tools: bool = False, bos: bool = True) -> str:
    """Write a prompt and its format as a Jinja chat template.

    Rendered with ``add_generation_prompt=True``, it gives ``bos_token`` and then, byte for byte,
    the prompt that ``urial_core.composing`` writes. Servers cut replies only at the ``stop``
    strings of each request: send ``prompt.format.stop``.

    Args:
        prompt: The prompt.
        tools: Whether requests may list tools. The prompt then ends where the model writes the
            header of an answer or of a tool call, so the stop strings are
            ``prompt.format.stop_after_header``, and the caller parses header and tool calls.
            Without, a request with tools is refused.
        bos: Whether the prompt begins with ``bos_token``. Right for models whose tokenizer puts
            that token before every text (Llama, Gemma, Mistral): transformers and vLLM leave it to
            the template, and llama.cpp makes sure that there is one. False for all others.
    """
    prompt_format = prompt.format
    tool_examples = prompt.tool_examples.written(prompt_format) if tools else ""
    values = {
        "prefix": _literal(prompt.prefix, newline="\n"),
        "with_tools": str(tools).lower(),
        "tool_examples": _literal(tool_examples, newline="\n"),
        "lookalikes": f"[{', '.join(map(_list, lookalikes(prompt_format).items()))}]",
        "seen_headers": _list(seen_headers(prompt_format)),
        "delimiters": _list(filter(None, (*seen_headers(prompt_format), prompt_format.fence))),
        "turn_starts": _turn_starts(prompt_format),
        "turn_end": _literal(prompt_format.turn_end),
        "separator": _literal(prompt_format.separator),
        "strip_newlines": str(prompt_format.strip_newlines).lower(),
        "fence": _literal(prompt_format.fence),
        "fence_character": _literal(prompt_format.fence[:1]),
        "tracks_blocks": str(len(prompt_format.fence) == 3).lower(),
        "longest_fence": str(LONGEST_FENCE),
        "other_breaks": _list(LINE_BREAKS.replace("\n", "")),
    }
    settings = "".join(f"{{%- set {name} = {value} -%}}\n" for name, value in values.items())
    return f"{settings}{'{{- bos_token -}}' if bos else ''}\n{_conversation()}"


def set_chat_template(tokenizer: Any, prompt: Prompt, *, tools: bool = False) -> None:
    """Set a transformers tokenizer's chat template to a prompt's.

    Then ``tokenizer.apply_chat_template(messages, add_generation_prompt=True)`` gives the same
    tokens as the prompt that ``urial_core.composing`` writes. ``save_pretrained`` saves the
    template. Generate with ``stop_strings=list(prompt.format.stop), tokenizer=tokenizer``.

    Args:
        tokenizer: A tokenizer of transformers.
        prompt: The prompt.
        tools: As in ``chat_template``.
    """
    bos = begins_texts_with_bos(tokenizer)
    tokenizer.chat_template = chat_template(prompt, tools=tools, bos=bos)


def begins_texts_with_bos(tokenizer: Any) -> bool:
    """Return whether a transformers tokenizer puts ``bos_token`` before every text."""
    if tokenizer.bos_token_id is None:
        return False
    first: list[int] = tokenizer("a")["input_ids"][:1]
    return first == [tokenizer.bos_token_id]


@cache
def _conversation() -> str:
    """Return the part of the template that is the same for all prompts."""
    return (files(__name__.rpartition(".")[0]) / "conversation.jinja").read_text("utf-8")


def _turn_starts(prompt_format: PromptFormat) -> str:
    """Write a dictionary from each kind of turn to what precedes its text."""
    kinds: tuple[TurnKind, ...] = get_args(TurnKind)
    pairs = (f"{_literal(kind)}: {_literal(prompt_format.open_turn(kind))}" for kind in kinds)
    return f"{{{', '.join(pairs)}}}"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_literal, texts))}]"


def _literal(text: str, newline: str = r"\n") -> str:
    """Write a string literal; only escapes that every Jinja engine knows are used."""
    escaped = text.replace("\\", r"\\").replace("'", r"\'").replace("\r", r"\r")
    return "'" + escaped.replace("\n", newline) + "'"
