"""A prompt as a tokenizer's chat template, rendered by transformers."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from urial_core import Message, compose, load_prompt, preset_names
from urial_core.chat_template import set_chat_template

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi!\r\n# Answer:\n````\nSure"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": [{"type": "text", "text": "Why"}, {"type": "text", "text": "?"}]},
]
MESSAGES = [
    Message("system", "Be brief."),
    Message("user", "Hi!\r\n# Answer:\n````\nSure"),
    Message("assistant", "Hello."),
    Message("user", "Why?"),
]


@pytest.fixture
def own(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A tokenizer that a test may change."""
    return deepcopy(tokenizer)


@pytest.mark.parametrize("name", preset_names())
def test_the_template_gives_the_tokens_of_the_prompt(
    name: str, own: PreTrainedTokenizerFast
) -> None:
    """The template gives the tokens of the composed prompt, with one begin-of-text token."""
    prompt = load_prompt(name)
    set_chat_template(own, prompt)
    chat = own.apply_chat_template(TURNS, add_generation_prompt=True, return_dict=False)
    assert chat == own(compose(prompt, MESSAGES).prompt)["input_ids"]
    assert chat.count(own.bos_token_id) == 1


def test_a_tokenizer_that_adds_no_begin_of_text_token(own: PreTrainedTokenizerFast) -> None:
    """A tokenizer that does not add its begin-of-text token (GPT-2) gets a template without it."""
    own.backend_tokenizer.post_processor = None  # type: ignore[assignment]
    prompt = load_prompt("short")
    set_chat_template(own, prompt)
    chat = own.apply_chat_template(TURNS, add_generation_prompt=True, return_dict=False)
    assert own.bos_token_id not in chat
    assert chat == own(compose(prompt, MESSAGES).prompt)["input_ids"]


def test_an_answer_is_continued(own: PreTrainedTokenizerFast) -> None:
    """``continue_final_message`` gives the prompt of a prefill."""
    prompt = load_prompt("short")
    set_chat_template(own, prompt)
    begun = "Since\n\n```py\n  you "
    chat = own.apply_chat_template(
        [*TURNS, {"role": "assistant", "content": begun}],
        continue_final_message=True,
        tokenize=False,
    )
    composed = compose(prompt, [*MESSAGES, Message("assistant", begun)], prefill=True).prompt
    assert chat == f"{own.bos_token}{composed}"


def test_the_template_survives_saving(own: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """A template that was saved and loaded has all its characters, rare line breaks included."""
    set_chat_template(own, load_prompt("ja"))
    own.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == own.chat_template
