"""Attention to the prefix that all sequences of a batch share, by one copy of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.shared_prefix import SharedPrefix


@given(
    own=st.lists(st.integers(1, 20), min_size=2, max_size=5),
    tokens=st.integers(1, 30),
    window=st.none() | st.integers(1, 60),
    groups=st.sampled_from([1, 2]),
    heads=st.sampled_from([1, 3]),
    spare=st.sampled_from([0, 2]),
    scale=st.sampled_from([None, 0.3]),
)
def test_as_attention_to_each_copy(
    own: Sequence[int],
    tokens: int,
    window: int | None,
    groups: int,
    heads: int,
    spare: int,
    scale: float | None,
) -> None:
    """The result is that of torch's kernel, with any lengths, window and padding."""
    torch.manual_seed(len(own))
    batch, columns = len(own), tokens + max(own) + spare
    starts = [columns - tokens - count for count in own]
    key, value = (torch.randn(batch, groups, columns, 8) for _ in range(2))
    for row, start in enumerate(starts):
        for storage in (key, value):
            prefix = storage[0, :, starts[0] : starts[0] + tokens].clone()
            storage[row, :, start : start + tokens] = prefix
    hidden = 0 if window is None else max(columns - window, 0)
    padded = torch.arange(hidden, columns) >= torch.tensor(starts)[:, None, None, None]
    mask = None if padded.all() else padded
    query = torch.randn(batch, groups, heads, 8)
    key, value = key[:, :, hidden:], value[:, :, hidden:]
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    attended = SharedPrefix(tokens, starts, columns).attend(query, key, value, mask, scale)
    torch.testing.assert_close(attended, expected)


@pytest.fixture
def attended(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record the tokens of the shared prefix, and the sequences, of each attention to one."""
    calls = list[tuple[int, int]]()
    attend = SharedPrefix.attend

    def recorded(self: SharedPrefix, *arguments: Any) -> Tensor:
        calls.append((self.tokens, len(self.starts)))
        return attend(self, *arguments)

    monkeypatch.setattr(SharedPrefix, "attend", recorded)
    return calls


def test_replies_that_share_a_prompt_prefix(
    plain_architecture: str,
    attended: list[tuple[int, int]],
    make_engine: Callable[..., TransformersModel],
) -> None:
    """Replies in progress attend to their prompt prefix together, and are what they are alone."""
    engine = make_engine(plain_architecture)
    chat = UrialChat(engine, load_prompt("short"))
    parameters = GenerationParameters(max_tokens=12, repetition_penalty=1.0)
    questions = ("Why?", "How does one write a letter to a friend?", "Name three colours.")
    requests = [chat.request([Message("user", text)], parameters) for text in questions]
    alone = [engine.complete([request])[0].text for request in requests]
    assert not attended
    assert [completion.text for completion in engine.complete(requests)] == alone
    prefix = len(engine.tokenizer(requests[0].prompt[: requests[0].prefix_length]))
    shared, batch = attended[0]
    assert prefix <= shared <= prefix + 8  # and the delimiters that follow
    assert batch == len(requests)


def test_replies_after_different_prompts(
    attended: list[tuple[int, int]], make_engine: Callable[..., TransformersModel]
) -> None:
    """Nothing is shared where a prompt of the batch begins otherwise, and then it is again."""
    engine = make_engine()
    parameters = GenerationParameters(max_tokens=4, repetition_penalty=1.0)
    longer = parameters.replace(max_tokens=12)
    requests = [
        UrialChat(engine, load_prompt(name)).request([Message("user", "Why?")], limit)
        for name, limit in (("short", longer), ("short", longer), ("ja", parameters))
    ]
    alone = [engine.complete([request])[0].text for request in requests]
    assert [completion.text for completion in engine.complete(requests)] == alone
    assert {batch for _, batch in attended} == {2}
