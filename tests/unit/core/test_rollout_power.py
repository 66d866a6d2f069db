"""Power sampling by rollouts: what it samples from, what it streams and reports."""

from __future__ import annotations

from collections import Counter
from math import exp, log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markov_model import END, MarkovModel, sharpened
from scipy.stats import chisquare

from urial_core import (
    Completion,
    CompletionRequest,
    GenerationParameters,
    JsonSchema,
    Message,
    ModelFeatures,
    ParameterError,
    Reply,
    ReplyEnd,
    RolloutPower,
    TextDelta,
    Tool,
    ToolUse,
    UnsupportedModelError,
    UrialChat,
    load_prompt,
)
from urial_core.strategies import load_strategy
from urial_core.strategies.rollouts import jackknifed
from urial_core.testing import FakeModel

START = "The letters:"
SCHEMA = JsonSchema.of({"type": "object", "properties": {"a": {"type": "integer"}}})
TOOLS = ToolUse((Tool("find", "Finds.", '{"type": "object", "properties": {}}'),))


class AsyncMarkovModel(MarkovModel):
    """The same for callers in an event loop."""

    async def acomplete(self, requests: Any) -> list[Completion]:
        """Draw letters."""
        return self.complete(requests)


def chat_of(model: FakeModel | None = None, **settings: Any) -> UrialChat:
    decoding = RolloutPower(**settings)
    return UrialChat(model or AsyncMarkovModel(START), load_prompt("short"), decoding=decoding)


def sample(chat: UrialChat, seed: int, length: int = 4) -> Reply:
    parameters = GenerationParameters(seed=seed, max_tokens=length)
    return chat.reply([chat.plain_request(START, parameters)])[0]


def p_value(size: int, alpha: float, **settings: Any) -> float:
    """Return the chi-squared test's p-value that replies are distributed as p ** alpha."""
    chat, expected = chat_of(alpha=alpha, **settings), sharpened(4, alpha)
    found = Counter[str]()
    for seed in range(size):
        reply = sample(chat, seed)
        found[reply.text + (END if reply.end.reason == "end_of_text" else "")] += 1
    assert not found.keys() - expected.keys()
    kept = [text for text in expected if expected[text] * size >= 5]
    rest = sum(probability for text, probability in expected.items() if text not in kept)
    counts = [found[text] for text in kept] + [size - sum(found[text] for text in kept)]
    wanted = [expected[text] * size for text in kept] + [rest * size]
    return float(chisquare(counts, wanted).pvalue)


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 2.0, "block_size": 1},
        {"alpha": 3.0, "block_size": 2, "temperature": 1.0},
    ],
)
@pytest.mark.no_cover
def test_replies_are_distributed_as_the_power(settings: dict[str, Any]) -> None:
    """With many rollouts to the reply's end, frequencies match p ** alpha (chi-squared)."""
    many = {"candidates": 24, "rollouts": 8, "rollout_tokens": 4}
    assert p_value(250, **settings, **many) > 0.001


@pytest.mark.parametrize("few", [{"candidates": 1}, {"candidates": 16, "rollout_tokens": 1}])
def test_few_candidates_or_short_rollouts_are_something_else(few: dict[str, int]) -> None:
    """One candidate is a low temperature, and short rollouts are biased: the test above fails."""
    assert p_value(250, 4.0, block_size=1, rollouts=2, **few) < 1e-3


def test_metadata_reports_the_cost() -> None:
    """The end says how many blocks and rollouts there were, and what a token cost."""
    chat = chat_of(alpha=2.0, block_size=2, candidates=3, rollouts=2, rollout_tokens=2)
    reply = sample(chat, 3)
    decoding = reply.end.decoding
    assert decoding is not None
    assert (decoding["strategy"], decoding["alpha"]) == ("rollout_power", 2.0)
    requests = chat.model.requests  # type: ignore[attr-defined]
    assert len(requests) == 3 * decoding["blocks"] + decoding["rollouts"]
    assert reply.end.usage is not None
    written = len(reply.text) + (reply.end.reason == "end_of_text")
    assert decoding["cost_factor"] == round(reply.end.usage.output_tokens / written, 2)


def test_candidates_that_agree_need_no_rollouts() -> None:
    """Where all candidates are one and the same, nothing has to be chosen."""
    chat = chat_of(alpha=100.0, candidates=4)  # nearly greedy
    reply = sample(chat, 1)
    assert reply.end.decoding is not None
    assert reply.end.decoding["rollouts"] == 0


@pytest.mark.parametrize("way", ["reply", "areply", "stream", "astream"])
async def test_a_seed_repeats_the_reply_in_any_way(way: str) -> None:
    """Called in any way, the reply of a seed is the same; others differ."""
    chat, expected = chat_of(alpha=1.0), sample(chat_of(alpha=1.0), 5, length=20)
    request = chat.plain_request(START, GenerationParameters(seed=5, max_tokens=20))
    assert len({sample(chat_of(alpha=1.0), seed, length=20).text for seed in range(9)}) > 1
    if way == "reply":
        assert chat.reply([request]) == [expected]
    elif way == "areply":
        assert await chat.areply([request]) == [expected]
    else:
        events = (
            list(chat.stream(request))
            if way == "stream"
            else [event async for event in chat.astream(request)]
        )
        assert "".join(e.text for e in events if isinstance(e, TextDelta)) == expected.text
        assert events[-1] == expected.end
        assert isinstance(events[-1], ReplyEnd)


def test_a_block_is_streamed_once_it_is_chosen() -> None:
    """A chosen block is emitted before the next one's candidates are written."""
    chat = chat_of(alpha=1.0, block_size=2, candidates=2, rollouts=1)
    model = chat.model
    parameters = GenerationParameters(seed=6, max_tokens=8)
    before, text = list[int](), ""
    for event in chat.stream(chat.plain_request(START, parameters)):
        if isinstance(event, TextDelta):
            before.append(len(model.requests))  # type: ignore[attr-defined]
            text += event.text
            assert event.logprobs == ()
    assert len(text) > 4
    assert len(before) > 2
    assert before[0] < before[1] < before[2]


def test_a_delimiter_is_never_emitted() -> None:
    """What may still become the delimiter waits for the next block."""

    class Fenced(FakeModel):
        """Writes one word, then the delimiter, a line at a time."""

        def complete(self, requests: Any) -> list[Completion]:
            """Write the next piece, for each request."""
            return [self._piece(request) for request in requests]

        def _piece(self, request: CompletionRequest) -> Completion:
            pieces = {"": "Yes.\n", "Yes.\n": "````\n"}
            text = pieces.get(request.prefill, "# Query:")
            return Completion(text, "stop" if request.prefill else "length")

    features = ModelFeatures(reports_every_token=True)
    chat = chat_of(Fenced(features=features), candidates=1)
    events = list(chat.stream(chat.request([Message("user", "Hi")])))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Yes."]
    assert isinstance(events[-1], ReplyEnd)
    assert events[-1].reason == "delimiter"


@given(st.lists(st.lists(st.floats(-50, 0), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_jackknife_returns_probabilities(weights: list[list[float]]) -> None:
    """Whatever the weights, the estimates are at least 0 and add up to 1."""
    found = jackknifed(weights)
    assert min(found) >= 0
    assert sum(found) == pytest.approx(1)


def test_the_jackknife_of_certain_weights() -> None:
    """Where rollouts do not differ, nothing is corrected."""
    found = jackknifed([[log(3.0)] * 4, [0.0] * 4])
    assert found == pytest.approx([0.75, 0.25])
    assert jackknifed([[log(3.0)], [0.0]]) == pytest.approx([0.75, 0.25])


def test_the_jackknife_takes_off_the_bias() -> None:
    """Over all equally likely pairs of rollouts, its mean is nearer to the true ratio."""
    values = (0.5, 1.5)  # of mean 1, so that the true share is a half
    pairs = [(a, b) for a in values for b in values]
    plain = sum((a + b) / (a + b + 2) for a, b in pairs) / 4
    corrected = sum(jackknifed([[log(a), log(b)], [0.0, 0.0]])[0] for a, b in pairs) / 4
    assert abs(corrected - 0.5) < abs(plain - 0.5) / 2
    assert exp(log(plain)) < 0.49


@pytest.mark.parametrize("structured", [{"tools": TOOLS}, {"response_format": SCHEMA}])
def test_tools_and_typed_output_are_refused(structured: dict[str, Any]) -> None:
    """Tools and typed output are refused before the model runs."""
    model = FakeModel(["{}"], features=ModelFeatures(reports_every_token=True))
    chat = chat_of(model)
    with pytest.raises(ParameterError, match="replies in text"):
        chat.reply([chat.request([Message("user", "Hi")], **structured)])
    assert model.requests == []


def test_a_model_that_does_not_report_every_token() -> None:
    """It is refused before it runs, with what can be used instead."""
    with pytest.raises(UnsupportedModelError, match="transformers"):
        sample(chat_of(FakeModel("a")), 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 0.5},
        {"block_size": 0},
        {"candidates": 0},
        {"rollouts": 0},
        {"rollout_tokens": 0},
        {"temperature": 0},
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any]) -> None:
    """A setting out of range is an error that names it."""
    with pytest.raises(ParameterError, match=next(iter(settings))):
        RolloutPower(**settings)


def test_it_has_a_name() -> None:
    """The name stands for its defaults."""
    assert load_strategy("rollout_power") == RolloutPower()
