"""Power sampling: what it samples from, what it reports, and what it refuses."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from markov_model import END, MarkovModel, sharpened
from scipy.stats import chisquare

from urial_core import (
    GenerationParameters,
    JsonSchema,
    Message,
    ModelFeatures,
    ParameterError,
    PowerSampling,
    Reply,
    ReplyEnd,
    TextDelta,
    Tool,
    ToolUse,
    UnsupportedModelError,
    UrialChat,
    load_prompt,
)
from urial_core.strategies import load_strategy
from urial_core.testing import FakeModel

START = "The letters:"
SCHEMA = JsonSchema.of({"type": "object", "properties": {"a": {"type": "integer"}}})
TOOLS = ToolUse((Tool("find", "Finds.", '{"type": "object", "properties": {}}'),))


def chat_of(model: FakeModel | None = None, **settings: Any) -> UrialChat:
    settings = {"block_size": 8, **settings}
    prompt = load_prompt("short")
    return UrialChat(model or MarkovModel(START), prompt, decoding=PowerSampling(**settings))


def sample(chat: UrialChat, seed: int, length: int = 4) -> Reply:
    parameters = GenerationParameters(seed=seed, max_tokens=length)
    return chat.reply([chat.plain_request(START, parameters)])[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 2.0, "steps_per_block": 30},
        {"alpha": 4.0, "steps_per_block": 40, "batch_size": 1},
        {"alpha": 2.0, "steps_per_block": 40, "batch_size": 2, "temperature": 1.0},
        {"alpha": 1.0, "steps_per_block": 3},
    ],
)
@pytest.mark.no_cover
def test_replies_are_distributed_as_the_power(settings: dict[str, Any]) -> None:
    """Over all texts of up to four letters, frequencies match p ** alpha by a chi-squared test."""
    chat, size = chat_of(**settings), 400
    expected = sharpened(4, settings["alpha"])
    found = Counter[str]()
    for seed in range(size):
        reply = sample(chat, seed)
        found[reply.text + (END if reply.end.reason == "end_of_text" else "")] += 1
    assert not found.keys() - expected.keys()
    rare = [text for text, probability in expected.items() if probability * size < 5]
    kept = [text for text in expected if text not in rare]
    counts = [found[text] for text in kept] + [sum(found[text] for text in rare)]
    wanted = [expected[text] * size for text in kept] + [sum(expected[t] * size for t in rare)]
    if not rare:
        counts, wanted = counts[:-1], wanted[:-1]
    assert chisquare(counts, wanted).pvalue > 0.001


def test_a_low_temperature_is_something_else() -> None:
    """The test above can fail: sampling at temperature 1 / alpha has another distribution."""
    size, expected = 1000, sharpened(4, 4.0)
    chat = UrialChat(MarkovModel(START), load_prompt("short"))
    found = Counter[str]()
    for seed in range(size):
        parameters = GenerationParameters(seed=seed, max_tokens=4, temperature=0.25)
        reply = chat.reply([chat.plain_request(START, parameters)])[0]
        found[reply.text + (END if reply.end.reason == "end_of_text" else "")] += 1
    texts = [text for text, probability in expected.items() if probability * size >= 5]
    total, inside = sum(found[text] for text in texts), sum(expected[text] for text in texts)
    wanted = [expected[text] / inside * total for text in texts]
    assert chisquare([found[text] for text in texts], wanted).pvalue < 1e-6


def test_a_seed_repeats_the_reply() -> None:
    """Equal seeds give equal replies and metadata; other seeds give others."""
    first, again = sample(chat_of(), 1), sample(chat_of(), 1)
    assert first == again
    assert len({sample(chat_of(alpha=1.0), seed).text for seed in range(20)}) > 1


def test_metadata_reports_acceptance_and_cost() -> None:
    """The end says how many proposals were accepted, and how many tokens a token took."""
    model = MarkovModel(START)
    reply = sample(chat_of(model, alpha=2.0, steps_per_block=6, batch_size=1), 3)
    decoding = reply.end.decoding
    assert decoding is not None
    assert (decoding["strategy"], decoding["alpha"], decoding["proposals"]) == ("power", 2.0, 6)
    assert decoding["acceptance_rate"] == round(decoding["accepted"] / 6, 4)
    assert reply.end.usage is not None
    assert len(model.requests) == 7
    written = len(reply.text) + (reply.end.reason == "end_of_text")
    assert decoding["cost_factor"] == round(reply.end.usage.output_tokens / written, 2)


def test_blocks_follow_one_another() -> None:
    """A reply of several blocks is written block by block, up to its limit of tokens."""
    chat = chat_of(alpha=1.0, block_size=3, steps_per_block=2)
    lengths = {len(sample(chat, seed, length=7).text) for seed in range(60)}
    assert max(lengths) == 7
    assert all(request.max_tokens <= 3 for request in chat.model.requests[:1])


def test_penalties_and_other_parameters_do_not_apply() -> None:
    """Proposals are drawn from the whole vocabulary at one temperature, without penalties."""
    chat = chat_of(alpha=2.0)
    own = GenerationParameters(max_tokens=3, seed=1, top_p=0.5, top_k=2, frequency_penalty=1.0)
    chat.reply([chat.plain_request(START, own)])
    for request in chat.model.requests:  # type: ignore[attr-defined]
        used = request.parameters
        assert (used.temperature, used.top_p, used.top_k) == (0.5, 1.0, 0)
        assert (used.repetition_penalty, used.frequency_penalty, used.dry_multiplier) == (1, 0, 0)


@pytest.mark.parametrize("way", ["areply", "stream", "astream"])
async def test_all_ways_give_the_same(way: str) -> None:
    """Called in any way, the reply of a seed is the same."""
    chat = chat_of()
    request = chat.plain_request(START, GenerationParameters(seed=5, max_tokens=4))
    model = chat.model
    model.acomplete = lambda requests: _completed(model, requests)  # type: ignore[method-assign]
    expected = sample(chat_of(), 5)
    if way == "areply":
        assert await chat.areply([request]) == [expected]
        return
    events = (
        list(chat.stream(request))
        if way == "stream"
        else [event async for event in chat.astream(request)]
    )
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == expected.text
    assert events[-1] == expected.end
    assert isinstance(events[-1], ReplyEnd)


async def _completed(model: Any, requests: Any) -> Any:
    return model.complete(requests)


@pytest.mark.parametrize("structured", [{"tools": TOOLS}, {"response_format": SCHEMA}])
def test_tools_and_typed_output_are_refused(structured: dict[str, Any]) -> None:
    """Tools and typed output are refused before the model runs."""
    model = FakeModel(["{}"], features=ModelFeatures(reports_every_token=True))
    chat = chat_of(model)
    with pytest.raises(ParameterError, match="replies in text"):
        chat.reply([chat.request([Message("user", "Hi")], **structured)])
    assert model.requests == []


@pytest.mark.parametrize("way", ["reply", "stream"])
def test_a_model_that_does_not_report_every_token(way: str) -> None:
    """It is refused before it runs, with what can be used instead."""
    model = FakeModel("a")
    chat = chat_of(model)
    with pytest.raises(UnsupportedModelError, match="transformers"):
        list(chat.stream(chat.plain_request("a"))) if way == "stream" else sample(chat, 1)
    assert model.requests == []


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 0.5},
        {"block_size": 0},
        {"steps_per_block": 0},
        {"batch_size": 0},
        {"temperature": 0},
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any]) -> None:
    """A setting out of range is an error that names it."""
    with pytest.raises(ParameterError, match=next(iter(settings))):
        PowerSampling(**settings)


def test_it_has_a_name() -> None:
    """The name stands for its defaults."""
    assert load_strategy("power") == PowerSampling()
