"""Drafts of what a reply copies from its prompt: what is drafted, and no reply changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.prompt_lookup import PromptLookup

MakeEngine = Callable[..., TransformersModel]


def test_what_followed_last_time_is_drafted() -> None:
    """The draft is what followed the same three tokens where they last occurred."""
    lookup = PromptLookup([1, 2, 3, 4, 9, 1, 2, 3, 5, 6, 8])
    for token in (1, 2):
        lookup.accept(token)
    assert lookup.draft() == []
    lookup.accept(3)
    assert lookup.draft() == [5, 6, 8, 1, 2, 3]


def test_after_failures_drafts_are_rarer() -> None:
    """Each failure in a row doubles the tokens until the next draft; a success ends that."""
    lookup = PromptLookup([1] * 20)
    for pause in (1, 2, 4):
        assert lookup.draft()
        lookup.report(0)
        for _ in range(pause):
            assert lookup.draft() == []
            lookup.accept(1)
    assert lookup.draft()
    lookup.report(3)
    assert lookup.draft()


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=10))
def test_a_draft_is_a_copy(prompt: list[int], reply: list[int]) -> None:
    """Every draft occurs in the sequence right after its last three tokens."""
    lookup = PromptLookup(prompt)
    for token in reply:
        lookup.accept(token)
    tokens = [*prompt, *reply]
    if draft := lookup.draft():
        copied = [*tokens[-3:], *draft]
        parts = [tokens[at : at + len(copied)] for at in range(len(tokens))]
        assert copied in parts


def test_drafts_save_passes_and_change_nothing(
    plain_architecture: str, make_engine: MakeEngine
) -> None:
    """Greedy and sampled replies are the same, in fewer passes of the model where they repeat."""
    model = make_engine(plain_architecture)
    chat = UrialChat(model, load_prompt("short"))
    engine: Any = model._ready_engine()
    passes = list[int]()
    engine.model.register_forward_pre_hook(lambda *_: passes.append(1))
    fewer = 0
    for temperature in (0.0, 0.7):
        sampling = {"temperature": temperature, "repetition_penalty": 1.0, "seed": 4}
        parameters = GenerationParameters(max_tokens=60, **sampling)
        request = chat.request([Message("user", "Say it again, please. " * 6)], parameters)
        model.complete([request])
        texts = list[str]()
        counts = list[int]()
        for drafts in (False, True):
            engine._drafts = drafts
            passes.clear()
            texts.append(model.complete([request])[0].text)
            counts.append(len(passes))
        assert texts[0] == texts[1]
        fewer += counts[1] < counts[0]
    assert fewer
