"""Greedy replies equal those of plain `generate`, with prefix caching and in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.completion import CompletionRequest

GREEDY = GenerationParameters(max_tokens=24, repetition_penalty=1.0)
QUESTIONS = (
    "Why?",
    "How does one write a letter to a friend who lives far away and has not written for a year?",
    "Name three colours.",
    "Say it again, please. " * 12,
    "x",
)


def requests_for(
    model: TransformersModel, questions: Sequence[str] = QUESTIONS
) -> list[CompletionRequest]:
    chat = UrialChat(model, load_prompt("short"))
    # The prefill keeps the engine's rule against blank replies, which `generate` does not have, out
    # of the comparison.
    return [
        chat.request([Message("user", text), Message("assistant", "So")], GREEDY, prefill=True)
        for text in questions
    ]


def plainly(model: Any, engine: TransformersModel, request: CompletionRequest) -> str:
    """Return the reply of `generate` on the whole prompt, without any prefix cache."""
    ids = torch.tensor([engine.tokenizer(request.prompt)])
    made = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=request.max_tokens,
        pad_token_id=2,
    )[0, ids.shape[1] :]
    decode = engine._tokenization().decoder(ids[0].tolist())
    return "".join(decode(token) for token in made.tolist() if token != 1)


def test_one_at_a_time(
    architecture: str, make_model: Callable[..., Any], make_engine: Callable[..., TransformersModel]
) -> None:
    """A reply after a cached prefix begins as that of `generate` on the whole prompt."""
    model, engine = make_model(architecture), make_engine(architecture)
    for request in requests_for(engine):
        written, expected = engine.complete([request])[0].text, plainly(model, engine, request)
        assert expected.startswith(written)
        assert written or not expected


@pytest.mark.parametrize("max_batch_size", [2, 16])
def test_batches(
    architecture: str, max_batch_size: int, make_engine: Callable[..., TransformersModel]
) -> None:
    """Replies of a batch with prompts of any lengths equal those alone, cached or not."""
    alone = make_engine(architecture)
    expected = [alone.complete([request])[0].text for request in requests_for(alone)]
    together = make_engine(architecture, max_batch_size=max_batch_size)
    for _ in range(2):
        completions = together.complete(requests_for(together))
        assert [completion.text for completion in completions] == expected


def test_later_turns(
    plain_architecture: str, make_engine: Callable[..., TransformersModel]
) -> None:
    """A conversation's later turns reuse the earlier ones, and their replies are unchanged."""
    caching = make_engine(plain_architecture)
    uncached = make_engine(plain_architecture, prefix_cache_bytes=0)
    messages = [Message("user", "Hello?")]
    reused = []
    for _ in range(3):
        chat = UrialChat(caching, load_prompt("short"))
        request = chat.request(messages, GREEDY)
        completion = caching.complete([request])[0]
        assert completion.text == uncached.complete([request])[0].text
        assert completion.usage
        reused.append(completion.usage.cached_tokens)
        messages += [Message("assistant", completion.text or "."), Message("user", "And?")]
    assert 0 == reused[0] < reused[1] < reused[2]


def test_a_prompt_shorter_than_what_the_batch_is_fed(
    make_engine: Callable[..., TransformersModel],
) -> None:
    """A prompt shorter than what the others must be fed is padded within the fed tokens."""
    engine = make_engine("gemma3 with mixed windows", prefix_cache_bytes=0)
    long, short = (
        UrialChat(engine, load_prompt(name)).request([Message("user", "Why?")], GREEDY)
        for name in ("default", "instruction_only")
    )
    expected = [engine.complete([request])[0].text for request in (long, short)]
    assert [c.text for c in engine.complete([long, short])] == expected


def test_a_stream_adds_up_to_the_completion(make_engine: Callable[..., TransformersModel]) -> None:
    """A stream has one chunk per token, and they add up to the completion."""
    engine = make_engine()
    request = requests_for(engine)[1]
    chunks = list(engine.stream(request))
    whole = make_engine().complete([request])[0]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [chunk.finish for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish == whole.finish
    assert chunks[-1].usage
    assert chunks[-1].usage.output_tokens == len(chunks)
