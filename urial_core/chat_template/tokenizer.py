"""A prompt as the chat template of a tokenizer of transformers."""

from __future__ import annotations

from typing import Any

from urial_core.chat_template.jinja_template import chat_template
from urial_core.prompts.prompt import Prompt

__all__ = ["begins_texts_with_bos", "set_chat_template"]


def set_chat_template(tokenizer: Any, prompt: Prompt, *, tools: bool = False) -> None:
    """Give a tokenizer the chat template that writes a prompt's pages.

    Then ``tokenizer.apply_chat_template(messages, add_generation_prompt=True)`` gives the same
    tokens as the page itself. ``save_pretrained`` keeps the template. Generate with
    ``stop_strings=list(prompt.format.stop), tokenizer=tokenizer``.

    Args:
        tokenizer: A tokenizer of transformers.
        prompt: The prompt.
        tools: As in ``chat_template``.
    """
    tokenizer.chat_template = chat_template(
        prompt, tools=tools, bos=begins_texts_with_bos(tokenizer)
    )


def begins_texts_with_bos(tokenizer: Any) -> bool:
    """Whether a tokenizer puts ``bos_token`` before every text."""
    if tokenizer.bos_token_id is None:
        return False
    first: list[int] = tokenizer("a")["input_ids"][:1]
    return first == [tokenizer.bos_token_id]
