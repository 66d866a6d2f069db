"""Rules for small models: the bias towards a reply's end, and banned openers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from urial_core import (
    GenerationParameters,
    JsonSchema,
    Message,
    Reply,
    UrialChat,
    compose,
    load_prompt,
)
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.reply_rules import BannedOpeners, EndBias
from urial_core.backends.transformers.sampling import Sampler
from urial_core.backends.transformers.tokenization import Tokenization

PROMPT = load_prompt("short")
SCHEMA = JsonSchema.of({"type": "object", "properties": {"a": {"type": "boolean"}}})
END_OF_TEXT = 1


@pytest.fixture
def answer(make_engine: Callable[..., TransformersModel]) -> Callable[..., Reply]:
    """Return a function that answers with a tiny model."""
    chat = UrialChat(make_engine(), PROMPT)

    def reply(response_format: JsonSchema | None = None, **parameters: Any) -> Reply:
        parameters = {"max_tokens": 60, "seed": 1, "temperature": 1.0, **parameters}
        request = chat.request(
            [Message("user", "How?")],
            GenerationParameters(**parameters),
            response_format=response_format,
        )
        return chat.reply([request])[0]

    return reply


def bias_of(tokenizer: Any, end_bias: float) -> tuple[EndBias, Tokenization]:
    tokenization = Tokenization(tokenizer)
    parameters = GenerationParameters(end_bias=end_bias)
    return EndBias(compose(PROMPT, [Message("user", "Hi")], parameters), tokenization), tokenization


def test_the_bias_rises_with_the_reply(tokenizer: Any) -> None:
    """Only the end of the text and the delimiter's next token gain, by nats per 100 tokens."""
    bias, tokenization = bias_of(tokenizer, 3.0)
    logits = torch.zeros(len(tokenizer))
    break_, *fence = tokenization.encode("a\n````")[2:]
    for length in (0, 50, 200):
        written = [tokenization.encode("b")[1]] * length
        gained = bias.added(logits, written, at_line_start=False)
        assert float(gained[END_OF_TEXT]) == float(gained[break_]) == pytest.approx(0.03 * length)
        assert gained.count_nonzero() == (2 if length else 0)
    for place in range(len(fence)):
        written = [7] * 100 + [break_, *fence[:place]]
        gained = bias.added(logits, written, at_line_start=place == 0)
        assert set(gained.nonzero()[:, 0].tolist()) == {END_OF_TEXT, fence[place]}


def test_replies_come_to_an_end(answer: Callable[..., Reply]) -> None:
    """A model that never ends its replies ends them, the sooner the larger the bias is."""
    endless, slow, fast = (answer(end_bias=bias) for bias in (0.0, 60.0, 600.0))
    assert endless.end.reason == "length"
    assert {slow.end.finish_reason, fast.end.finish_reason} == {"stop"}
    assert slow.end.usage is not None
    assert fast.end.usage is not None
    assert fast.end.usage.output_tokens < slow.end.usage.output_tokens
    assert fast.text


def test_unset_rules_change_nothing(answer: Callable[..., Reply]) -> None:
    """Rules that are off give the same reply as none."""
    assert answer(end_bias=0.0, banned_openers=()).text == answer().text


def test_values_have_no_bias(answer: Callable[..., Reply]) -> None:
    """JSON ends where it is complete: no rule applies to it."""
    reply = answer(SCHEMA, end_bias=900.0, banned_openers=("{",))
    assert reply.text == answer(SCHEMA).text
    assert reply.text.startswith("{")


def test_a_reply_does_not_open_with_what_is_banned(answer: Callable[..., Reply]) -> None:
    """What the model would begin with is replaced, and what it then would, too."""
    first = answer(temperature=0.0).text.split()[0]
    second = answer(temperature=0.0, banned_openers=[first]).text.split()[0]
    third = answer(temperature=0.0, banned_openers=[first, second]).text.split()[0]
    assert len({first.casefold(), second.casefold(), third.casefold()}) == 3


@pytest.mark.parametrize(
    ("text", "is_banned"),
    [
        ("I", True),
        ("  i am", True),
        ("As an AI", True),
        ("As an AI, I", True),
        ("It", False),
        ("As an", False),
        ("Well, I", False),
        ("", False),
    ],
)
def test_an_opener_is_whole_words(text: str, *, is_banned: bool) -> None:
    """An opener is banned by itself and before another word, in any case, and not within one."""
    openers = BannedOpeners(["I", "As an AI "])
    assert openers.forbid(text) == is_banned


def test_the_ban_is_over_once_the_reply_is_longer() -> None:
    """Beyond the longest opener, nothing needs to be looked at."""
    openers = BannedOpeners(["I", "Well"])
    assert not openers.are_behind(" Good")
    assert openers.are_behind("Good ")


@pytest.mark.parametrize("rule", [{"end_bias": 1.0}, {"banned_openers": ("I",)}])
def test_with_a_rule_no_drawn_probability_is_reported(rule: dict[str, Any]) -> None:
    """A token's draw is not from the model's own distribution then."""
    settings = {"temperature": 0.5, "repetition_penalty": 1.0, "logprobs": 0, **rule}
    (token,) = Sampler(GenerationParameters(**settings)).logprobs(torch.zeros(9), 1, str)
    assert token.drawn is None
