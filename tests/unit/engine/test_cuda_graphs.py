"""Passes with fixed shapes and addresses, which CUDA graphs replay, give what plain passes give.

All but the last test need no GPU: on a CPU the same operations run at once where a graph would
replay them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from test_continuous_batching import Arrivals, Receiver, drafting, requests_for

from urial_core.backends.transformers import TransformersModel, engine, grouped_attention
from urial_core.backends.transformers.cuda_graphs import CudaGraphs, StaticPass
from urial_core.backends.transformers.sampling import Best

MakeEngine = Callable[..., TransformersModel]
PROMPTS = ([5, 6, 7, 8] * 20, [9, 10, 11] * 30)
NEXT = ([3], [4])


class Replayed(CudaGraphs):
    """CUDA graphs whose passes run when they would be replayed; counts them."""

    def __init__(self, forward: Any) -> None:
        super().__init__(forward)
        self.usable = forward.batches
        self.replays = 0
        self.captures = 0

    def _capture(self, step: StaticPass) -> Any:
        self.captures += 1
        return step, None, None

    def _replay(self, tokens: Sequence[Sequence[int]], shape: tuple[int, int]) -> torch.Tensor:
        self.replays += 1
        step, _, _ = self._graphs[shape]
        step.feed(tokens)
        return step.run()


def fetched(logits: torch.Tensor) -> Iterator[Best | None]:
    """Fetch few of the largest logits, as from a GPU."""
    top = logits.topk(4)
    return map(Best, top.indices.tolist(), top.values.tolist())


def replaying(model: TransformersModel) -> Any:
    """Return a model's engine, set to replay its passes, and to draft."""
    made = drafting(model)
    made._graphs = Replayed(made.forward)
    return made


def filled(forward: Any) -> Any:
    """Return a cache of two sequences of different lengths."""
    longest = max(map(len, PROMPTS))
    cache = forward.new_cache([longest - len(ids) for ids in PROMPTS])
    forward(cache, [[0] * (longest - len(ids)) + ids for ids in PROMPTS])
    return cache


def test_a_static_pass_equals_a_plain_one(plain_architecture: str, make_engine: MakeEngine) -> None:
    """One token of each sequence, in a batch that is filled up, and several tokens of one."""
    forward = make_engine(plain_architecture)._ready_engine().forward
    for rows, tokens in ((2, NEXT), (1, [[3, 4, 5, 6]])):
        cache, plain = filled(forward), filled(forward)
        for one in (cache, plain):
            while len(one.padding) > rows:
                one.leave(1)
        expected = forward(plain, tokens, last=len(tokens[0]))
        graphs = Replayed(forward)
        for _ in range(2):  # the first time, the plain pass is compared with it
            logits = graphs(cache, tokens, last=len(tokens[0]))
            torch.testing.assert_close(logits, expected)
            assert cache.length == plain.length
            for index in range(rows):
                known = cache.keys_and_values(index, cache.tokens(index))
                right = plain.keys_and_values(index, plain.tokens(index))
                torch.testing.assert_close(known, right)
            cache.crop(len(tokens[0]))
        assert graphs.usable
        assert (graphs.replays, graphs.captures) == (2, 1)


@pytest.mark.parametrize("scale", [None, 0.1])
def test_attention_by_products(scale: float | None) -> None:
    """Two matrix products attend as torch's kernel does, with a mask for each sequence."""
    query, key, value = (torch.randn(2, 3, tokens, 8) for tokens in (4, 20, 20))
    mask = torch.arange(20) >= torch.tensor([0, 7])[:, None, None, None]
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale
    )
    attended = grouped_attention._attend_by_products(query, key, value, attn_mask=mask, scale=scale)
    torch.testing.assert_close(attended, expected)


def test_a_pass_that_differs_is_not_used(make_engine: MakeEngine) -> None:
    """Where the first replay gives other logits, the plain pass serves from then on."""

    class Wrong(Replayed):
        def _replay(self, tokens: Sequence[Sequence[int]], shape: tuple[int, int]) -> torch.Tensor:
            return super()._replay(tokens, shape) + 1.0

    forward = make_engine()._ready_engine().forward
    graphs, cache, plain = Wrong(forward), filled(forward), filled(forward)
    for _ in range(2):
        torch.testing.assert_close(graphs(cache, NEXT), forward(plain, NEXT))
    assert not graphs.usable
    assert graphs.replays == 1


def test_other_probabilities_are_not_used(make_model: Callable[..., Any], tokenizer: Any) -> None:
    """In half precision, the plain pass serves where replays give another text."""

    class Wrong(Replayed):
        def _replay(self, tokens: Sequence[Sequence[int]], shape: tuple[int, int]) -> torch.Tensor:
            return super()._replay(tokens, shape).flip(-1)

    model = make_model("llama").to(torch.bfloat16)
    forward = TransformersModel(model, tokenizer)._ready_engine().forward
    graphs = Wrong(forward)
    graphs(filled(forward), NEXT)
    assert not graphs.usable


def test_half_precision_may_round_differently(
    make_model: Callable[..., Any], tokenizer: Any
) -> None:
    """What rounding moves is little probability, though it moves the largest logits by 4 %."""

    class Rounded(Replayed):
        def _replay(self, tokens: Sequence[Sequence[int]], shape: tuple[int, int]) -> torch.Tensor:
            logits = super()._replay(tokens, shape)
            signs = torch.ones_like(logits)
            signs[..., ::2] = -1
            return logits + 0.04 * logits.abs().max() * signs

    model = make_model("llama").to(torch.bfloat16)
    forward = TransformersModel(model, tokenizer)._ready_engine().forward
    graphs, cache = Rounded(forward), filled(forward)
    for _ in range(2):
        graphs(cache, NEXT)
    assert graphs.usable
    assert graphs.replays == 2


def test_moved_storage_is_captured_again(make_engine: MakeEngine) -> None:
    """A graph holds addresses: it is not replayed once the storage has moved."""
    forward = make_engine()._ready_engine().forward
    graphs, cache, plain = Replayed(forward), filled(forward), filled(forward)
    graphs(cache, NEXT)
    forward(plain, NEXT)
    cache.reserve(2, 2000)
    torch.testing.assert_close(graphs(cache, NEXT), forward(plain, NEXT))
    assert graphs.captures == 2


def test_a_batch_of_one_again_needs_no_capture(make_engine: MakeEngine) -> None:
    """The storage of a batch that is over serves the next one, graphs included."""
    model = make_engine()
    made, request = replaying(model), requests_for(model)[1]
    texts = list[str]()
    for _ in range(3):
        receiver = Receiver()
        made.add(request, receiver)
        while made.busy:
            made.step()
        texts.append(receiver.text)
    assert len(set(texts)) == 1
    assert made._graphs.replays > 3
    assert made._graphs.captures == len(made._graphs._checked)


def test_any_arrivals_and_cancellations(
    plain_architecture: str, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply is the same alone by plain passes, and in any mix by static ones."""
    model = make_engine(plain_architecture)
    requests = requests_for(model)
    alone = tuple(model.complete([request])[0].text for request in requests)
    monkeypatch.setattr(engine, "best_logits", fetched)

    class Machine(Arrivals):
        make = staticmethod(lambda: replaying(make_engine(plain_architecture, max_batch_size=3)))

    Machine.requests, Machine.alone = requests, alone
    examples = max(settings().max_examples // 10, 5)
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=examples, stateful_step_count=20)
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_real_graphs(
    plain_architecture: str, make_model: Callable[..., Any], tokenizer: Any
) -> None:
    """On a GPU, replies are the same by graphs and without them, alone and together."""
    texts = list[list[str]]()
    for with_graphs in (True, False):
        loaded = make_model(plain_architecture).to("cuda")
        model = TransformersModel(loaded, tokenizer, prefix_on_disk=False)
        made: Any = model._ready_engine()
        made._graphs.usable &= with_graphs
        requests = requests_for(model)
        texts.append([completion.text for completion in model.complete(requests)])
        texts.append([model.complete([request])[0].text for request in requests])
        assert made._graphs.usable == with_graphs
    assert texts[0] == texts[1] == texts[2] == texts[3]
