"""Continuous batching: requests that come, end and are cancelled at any time affect no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from urial_core import GenerationError, GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.sequence import JsonSequence
from urial_core.completion import CompletionChunk, CompletionRequest, joined
from urial_core.structured.constraints import Choice, JsonSchema

MakeEngine = Callable[..., TransformersModel]
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 20]}, "b": {"type": "boolean"}}}
TEXTS = ("Why?", "Say it again, please. " * 12, "x")


@dataclass
class Receiver:
    """Keeps what the engine generates."""

    cancelled: bool = False
    chunks: list[CompletionChunk] = field(default_factory=list)

    def receive(self, item: CompletionChunk | Exception) -> None:
        if isinstance(item, Exception):
            raise item
        assert not self.ended
        self.chunks.append(item)

    @property
    def ended(self) -> bool:
        return bool(self.chunks) and self.chunks[-1].finish is not None

    @property
    def text(self) -> str:
        return joined(self.chunks).text


def drafting(model: TransformersModel) -> Any:
    """Return a model's engine, set to draft as it does where that pays."""
    engine: Any = model._ready_engine()
    engine._drafts = True
    return engine


def requests_for(model: TransformersModel) -> list[CompletionRequest]:
    """Return texts of several lengths, sampled ones, JSON, and choices, on two prompts."""
    requests = list[CompletionRequest]()
    for prompt in ("short", "instruction_only"):
        chat = UrialChat(model, load_prompt(prompt))
        for number, text in enumerate(TEXTS):
            sampling = {"temperature": float(number == 0), "repetition_penalty": 1.0, "seed": 1}
            parameters = GenerationParameters(max_tokens=3 + 9 * number, **sampling)
            requests.append(chat.request([Message("user", text)], parameters))
    plain = requests[1]
    return [
        *requests,
        replace(plain, constraint=Choice(("yes", "no"))),
        replace(plain, constraint=JsonSchema.of(SCHEMA)),
    ]


class Arrivals(RuleBasedStateMachine):
    """Requests that arrive, proceed and are cancelled; subclasses set what they are about."""

    make: Callable[[], Any]
    requests: Sequence[CompletionRequest]
    alone: Sequence[str]

    def __init__(self) -> None:
        super().__init__()
        self.engine = type(self).make()
        self.waiting = list[tuple[int, Receiver]]()

    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(range(len(self.requests))))
        receiver = Receiver()
        self.engine.add(self.requests[number], receiver)
        self.waiting.append((number, receiver))

    @rule(steps=st.integers(1, 6))
    def proceed(self, steps: int) -> None:
        for _ in range(steps):
            self.engine.step()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        _, receiver = data.draw(st.sampled_from(self.waiting))
        receiver.cancelled = True

    @invariant()
    def cached_bytes_are_bounded(self) -> None:
        assert self.engine.prefixes.nbytes <= self.engine.prefixes.max_bytes

    def teardown(self) -> None:
        while self.engine.busy:
            self.engine.step()
        for number, receiver in self.waiting:
            if not receiver.cancelled:
                assert receiver.ended
                assert receiver.text == self.alone[number]


def test_any_arrivals_and_cancellations(plain_architecture: str, make_engine: MakeEngine) -> None:
    """A reply is the same alone and in any mix, with any cache evicted, drafted or not."""
    model = make_engine(plain_architecture)
    requests = requests_for(model)
    room = {"prefix_cache_bytes": 500_000, "max_batch_size": 3}

    class Machine(Arrivals):
        make = staticmethod(lambda: drafting(make_engine(plain_architecture, **room)))
        alone = tuple(model.complete([request])[0].text for request in requests)

    Machine.requests = requests
    examples = max(settings().max_examples // 10, 5)
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=examples, stateful_step_count=20)
    )


def test_a_short_request_does_not_wait_for_a_long_one(make_engine: MakeEngine) -> None:
    """A request that arrives while a long prompt is read and a long reply is written ends first."""
    model = make_engine()
    chat = UrialChat(model, load_prompt("instruction_only"))
    parameters = GenerationParameters(max_tokens=60, repetition_penalty=1.0)
    writing, reading, short = (
        chat.request([Message("user", text)], replace(parameters, max_tokens=length))
        for text, length in (("Why?", 60), ("word " * 300, 2), ("x", 2))
    )
    engine: Any = model._ready_engine()
    receivers = [Receiver() for _ in range(3)]
    engine.add(writing, receivers[0])
    while not receivers[0].chunks:
        engine.step()
    engine.add(reading, receivers[1])
    engine.step()
    engine.add(short, receivers[2])
    while not receivers[2].ended:
        before = len(receivers[0].chunks)
        engine.step()
        assert len(receivers[0].chunks) > before  # nor does the reply in progress pause
    assert not receivers[1].chunks
    while engine.busy:
        engine.step()
    assert all(receiver.ended for receiver in receivers)


def test_finished_conversations_of_a_batch_are_cached(make_engine: MakeEngine) -> None:
    """Every conversation of a batch is found again by its next turn."""
    model = make_engine()
    requests = requests_for(model)[:3]
    for request, completion in zip(requests, model.complete(requests), strict=True):
        following = replace(request, prompt=request.prompt + completion.text + "\nAnd?")
        usage = model.complete([following])[0].usage
        assert usage
        assert usage.cached_tokens
        assert usage.cached_tokens >= len(model.tokenizer(request.prompt)) - 1


def test_a_sequence_that_fails_leaves_the_others(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one reply's grammar fails, its caller has the error, and the others their replies."""
    model = make_engine()
    plain, *_, constrained = requests_for(model)
    expected = make_engine().complete([plain])[0].text  # this one's worker stays idle

    def failing(*_: Any) -> None:
        raise GenerationError("The JSON grammar failed")

    monkeypatch.setattr(JsonSequence, "step", failing)
    engine: Any = model._ready_engine()
    receiver, other = Receiver(), Receiver()
    failed = list[Exception]()
    monkeypatch.setattr(other, "receive", failed.append)
    engine.add(plain, receiver)
    engine.add(constrained, other)
    while engine.busy:
        engine.step()
    assert receiver.text == expected
    assert [str(error) for error in failed] == ["The JSON grammar failed"]


def test_a_step_that_fails_ends_every_request(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails between the steps, callers have an error rather than wait for ever."""
    model = make_engine()
    request = requests_for(model)[0]
    engine: Any = model._ready_engine()

    def failing(*_: Any) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine.prefixes, "match", failing)
        with pytest.raises(GenerationError, match="no memory"):
            model.complete([request])
    assert model.complete([request])[0].text


@pytest.mark.parametrize(
    ("kind", "memory", "expected"),
    [
        ("llama", 1 << 40, 64),
        ("llama", 2 * 10 * (2 * 3 * 2 * 8 * 2048 * 4), 10),
        ("llama", 1, 1),
        ("llama", None, 16),
        ("mamba", 1 << 40, 16),
    ],
)
def test_the_size_of_a_batch_follows_the_memory(
    kind: str,
    memory: int | None,
    expected: int,
    make_engine: MakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of the memory must hold the keys and values of 2,048 tokens each; at most 64, or 16.

    The model has three layers of two heads of eight dimensions, in float32.
    """
    monkeypatch.setattr("urial_core.backends.transformers.forward.available_memory", lambda: memory)
    forward = make_engine(kind)._ready_engine().forward
    assert forward.suitable_batch_size() == expected
