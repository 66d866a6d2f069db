"""DRY: which tokens are penalized, by how much, and what stays free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from urial_core import Example, GenerationParameters, Message, Prompt, compose
from urial_core.backends.transformers.copy_penalty import CopyPenalty, copy_penalty
from urial_core.backends.transformers.sampling import Sampler
from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.structured.constraints import Choice

TOKENS = st.lists(st.integers(0, 3), max_size=14)
ANSWER = "Moist soil holds together, and the plant slides out more easily."
PROMPT = Prompt(name="one", instruction="Talk.", examples=(Example("How?", ANSWER),))


def never(token: int) -> bool:
    """Break at no token."""
    return token < 0


def penalty_of(
    own: Sequence[Sequence[int]],
    reply: Sequence[int],
    free: Sequence[Sequence[int]] = (),
    allowed_length: int = 2,
    breaks: Callable[[int], bool] = never,
) -> dict[int, float]:
    penalty = CopyPenalty(
        own, free, breaks=breaks, multiplier=1.0, base=2.0, allowed_length=allowed_length
    )
    for token in reply:
        penalty.accept(token)
    return penalty.penalties()


def longest_copies(text: Sequence[int], reply: Sequence[int]) -> dict[int, int]:
    """Compare all suffixes of the reply with all places of the text."""
    found = dict[int, int]()
    for place, token in enumerate(text):
        length = 0
        while length < min(place, len(reply)) and text[place - length - 1] == reply[-length - 1]:
            length += 1
        found[token] = max(length, found.get(token, 0))
    return found


@given(own=TOKENS, reply=TOKENS, allowed=st.integers(1, 4))
def test_a_longer_copy_costs_exponentially_more(
    own: list[int], reply: list[int], allowed: int
) -> None:
    """A token's penalty is multiplier * base ** (copied - allowed), for the longest such copy."""
    expected = {
        token: 2.0 ** (length - allowed)
        for token, length in longest_copies(own, reply).items()
        if length >= allowed
    }
    assert penalty_of([own], reply, allowed_length=allowed) == expected


@given(own=TOKENS, reply=TOKENS, free=TOKENS)
def test_what_the_conversation_holds_too_is_free(
    own: list[int], reply: list[int], free: list[int]
) -> None:
    """A token that continues a copy of a free text is not penalized, any other is as before."""
    continuing = {t for t, length in longest_copies(free, reply).items() if length >= 2}
    everything = penalty_of([own], reply)
    left = {token: value for token, value in everything.items() if token not in continuing}
    assert penalty_of([own], reply, free=[free]) == left


def test_a_breaker_ends_a_copy_and_is_never_penalized() -> None:
    """Copied tokens count from the last breaker on, and a breaker may always be written."""
    own = [1, 2, 9, 3, 4, 9]
    assert penalty_of([own], [1, 2, 9, 3], allowed_length=1) == {4: 8.0}
    is_nine = (9).__eq__
    assert penalty_of([own], [1, 2, 9, 3], allowed_length=1, breaks=is_nine) == {4: 1.0}
    assert penalty_of([own], [3, 4], allowed_length=1, breaks=is_nine) == {}


def test_no_copy_reaches_from_one_text_into_the_next() -> None:
    """The first token of a text does not follow the last one of another."""
    assert penalty_of([[1, 2], [3, 4]], [1, 2]) == {}


@pytest.mark.no_cover
def test_a_very_long_copy_overflows_nothing() -> None:
    """The penalty of a long copy is large and finite."""
    assert penalty_of([[0] * 3000], [0] * 2500) == {0: 1e4}


def test_the_sampler_takes_another_token() -> None:
    """A penalty that is larger than the lead of the copied token changes the choice."""
    scores = torch.tensor([0.0, 3.0, 2.5])
    penalty = CopyPenalty(
        [[2, 2, 1]], [], breaks=never, multiplier=0.8, base=1.75, allowed_length=2
    )
    sampler = Sampler(GenerationParameters(repetition_penalty=1.0), penalty)
    assert sampler.choose(scores, []) == 1
    sampler.accept(2)
    assert sampler.choose(scores, []) == 1
    sampler.accept(2)
    assert sampler.choose(scores, []) == 2


@pytest.mark.parametrize("constrained", [False, True])
def test_a_request_without_copies_to_avoid(tokenizer: object, *, constrained: bool) -> None:
    """There is no penalty where it is off, for a constrained reply, and for a plain text."""
    parameters = GenerationParameters(dry_multiplier=0.8)
    request = compose(PROMPT, [Message("user", "Hi")], parameters)
    tokenization = Tokenization(tokenizer)
    assert copy_penalty(request, tokenization) is not None
    constraint = Choice(("yes", "no")) if constrained else None
    off = compose(PROMPT, [Message("user", "Hi")], parameters.replace(dry_multiplier=0.0))
    changed = replace(request if constrained else off, constraint=constraint)
    assert copy_penalty(changed, tokenization) is None


@pytest.mark.parametrize(
    ("question", "is_free"), [("How are you?", False), (f"Quote this: {ANSWER}", True)]
)
def test_examples_are_penalized_unless_the_user_quotes_them(
    tokenizer: object, question: str, *, is_free: bool
) -> None:
    """An example's answer costs more and more, unless the conversation holds the same text."""
    parameters = GenerationParameters(dry_multiplier=0.8)
    request = compose(PROMPT, [Message("user", question)], parameters)
    tokenization = Tokenization(tokenizer)
    penalty = copy_penalty(request, tokenization)
    assert penalty is not None
    tokens = tokenization.encode(ANSWER)[1:]
    for token in tokens[1:-2]:
        penalty.accept(token)
    assert (penalty.penalties().get(tokens[-2], 0) == 0) == is_free
