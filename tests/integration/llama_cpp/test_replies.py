"""llama.cpp in this process: replies, concurrency, constraints, early closing."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from urial_core import Message, UrialChat, load_prompt
from urial_core.backends.completions_server.exchanges import Exchange, HttpRequest
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.completion import CompletionRequest
from urial_core.demo import demo_model_file
from urial_core.errors import ContextOverflowError
from urial_core.parameters import GenerationParameters
from urial_core.replies import Reply, ReplyEnd, TextDelta
from urial_core.structured.constraints import Choice, JsonSchema
from urial_core.structured.json_validation import match_schema

pytestmark = pytest.mark.model

SLOW_FORMATS = ("uri", "uuid1", "uuid4", "duration")
QUESTION = "What color is the sky?"
"""The model is sure of each token of its answer: rounding that differs changes none."""


def greedy(**options: object) -> GenerationParameters:
    """Return greedy parameters."""
    return GenerationParameters(**{"temperature": 0.0, "max_tokens": 32, **options})  # type: ignore[arg-type]


def asked(chat: UrialChat, question: str = QUESTION, **options: object) -> CompletionRequest:
    """Return a request of one question."""
    return chat.request([Message("user", question)], greedy(**options))


def answered(chat: UrialChat, request: CompletionRequest) -> Reply:
    """Return the reply to a request."""
    return chat.reply([request])[0]


def test_a_reply_ends_by_itself(chat: UrialChat) -> None:
    """A greedy reply is trimmed text that ended at the delimiter, with its tokens counted."""
    request = asked(chat, max_tokens=200)
    reply = answered(chat, request)
    assert reply.text == reply.text.strip() != ""
    assert not any(mark in reply.text for mark in ("````", "# Query", "# Answer"))
    assert reply.end.reason == "delimiter"
    assert reply.end.usage is not None
    assert reply.end.usage.input_tokens == chat.model.count_tokens(request.prompt)
    assert 0 < reply.end.usage.output_tokens < 200


async def test_streams_add_up_to_the_reply(chat: UrialChat) -> None:
    """Sync or async, several chunks make up the whole reply."""
    whole = answered(chat, asked(chat))
    pieces = [e for e in chat.stream(asked(chat)) if isinstance(e, TextDelta)]
    assert len(pieces) > 2
    assert "".join(piece.text for piece in pieces) == whole.text
    events = [event async for event in chat.astream(asked(chat))]
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == whole.text
    assert isinstance(events[-1], ReplyEnd)


def test_limits_and_stop_strings(chat: UrialChat) -> None:
    """A reply ends at a stop string, left out, and at max_tokens, with the reason."""
    whole = answered(chat, asked(chat)).text
    stop = whole.split()[2]
    stopped = answered(chat, asked(chat, stop=(stop,)))
    assert stopped.text == whole[: whole.index(stop)].strip()
    assert (stopped.end.reason, stopped.end.stop) == ("stop_string", stop)
    cut = answered(chat, asked(chat, "Write a long story about the sea.", max_tokens=5))
    assert cut.end.reason == "length"
    assert cut.end.usage is not None
    assert cut.end.usage.output_tokens == 5


def test_log_probabilities(chat: UrialChat) -> None:
    """Each token of the text has its log-probability and the most probable alternatives."""
    reply = answered(chat, asked(chat, logprobs=3, repetition_penalty=1.0))
    assert "".join(token.token for token in reply.logprobs).strip() == reply.text
    for token in reply.logprobs:
        assert len(token.top) == 3
        assert max(value for _, value in token.top) == pytest.approx(token.logprob, abs=1e-4)


async def test_the_first_prefix_is_cached_in_every_slot() -> None:
    """Of many concurrent requests, each finds the prompt prefix, the first ones too."""
    model, prompt = LlamaCppModel(demo_model_file(), n_ctx=1024, n_parallel=4), load_prompt("short")
    chat = UrialChat(model, prompt)
    requests = [asked(chat, f"Tell me about the number {n}.", max_tokens=8) for n in range(8)]
    for [reply] in await asyncio.gather(*(chat.areply([request]) for request in requests)):
        assert reply.end.usage is not None
        assert reply.end.usage.cached_tokens > 0.9 * model.count_tokens(prompt.prefix)
    model.close()


def test_a_batch_comes_in_order(chat: UrialChat) -> None:
    """A batch of more requests than slots is answered completely, in its order."""
    capitals = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo"}
    capitals |= {"Germany": "Berlin", "Russia": "Moscow"}
    questions = [f"What is the capital of {country}?" for country in capitals]
    replies = chat.reply([asked(chat, question) for question in questions])
    assert len(replies) == len(questions)
    for capital, reply in zip(capitals.values(), replies, strict=True):
        assert capital in reply.text


def busy_slots(llama: LlamaCppModel) -> int:
    """Return how many slots are busy, as llama.cpp reports it."""

    def count() -> Exchange[int]:
        slots = yield HttpRequest(None, "http://localhost/slots")
        return sum(slot["is_processing"] for slot in slots)

    return llama._loaded()._connection.run(count())


def test_closing_a_stream_early_stops_the_model(llama: LlamaCppModel, chat: UrialChat) -> None:
    """Its slot is free long before its text would have ended."""
    start = time.monotonic()
    stream = chat.stream(
        chat.plain_request("The sea was", GenerationParameters(temperature=1.0, max_tokens=1500))
    )
    next(stream)
    assert busy_slots(llama) == 1
    stream.close()
    while busy_slots(llama):
        assert time.monotonic() - start < 10  # 1,500 tokens take longer
        time.sleep(0.1)


SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "sizes": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
        "kind": {"enum": ["town", "village"]},
    },
    "required": ["city", "sizes", "kind"],
}


def test_json_is_constrained_to_its_schema(chat: UrialChat) -> None:
    """A typed reply is one line of JSON that matches the schema, with the promised spaces."""
    request = chat.request(
        [Message("user", "Tell me about a place.")],
        greedy(max_tokens=120),
        response_format=JsonSchema.of(SCHEMA),
    )
    reply = answered(chat, request)
    value = json.loads(reply.text)
    assert list(value) == ["city", "sizes", "kind"]
    assert value["kind"] in ("town", "village")
    assert reply.text == json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize(
    "written",
    ["ipvanyaddress", *(pytest.param(f, marks=pytest.mark.matrix) for f in SLOW_FORMATS)],
)
def test_formats_are_enforced(llama: LlamaCppModel, written: str) -> None:
    """A format never switches the grammar off: the reply is a string of that format."""
    schema = JsonSchema.of({"type": "string", "format": written})
    chat = UrialChat(llama, load_prompt("default"))
    parameters = GenerationParameters(max_tokens=400)
    request = chat.request([Message("user", "Name one.")], parameters, response_format=schema)
    assert match_schema(json.loads(answered(chat, request).text), schema.text)[1] == ""


@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    options=st.lists(
        st.text("abcdefg ", min_size=1, max_size=12), min_size=2, max_size=3, unique=True
    ).filter(lambda o: not any(a != b and b.startswith(a) for a in o for b in o))
)
def test_a_choice_is_scored(llama: LlamaCppModel, chat: UrialChat, options: list[str]) -> None:
    """A choice is the option with the highest of all reported log-probabilities."""
    request = replace(asked(chat), constraint=Choice(tuple(options)))
    [completion] = llama.complete([request])
    [token] = completion.logprobs
    assert {option for option, _ in token.top} == set(options)
    assert completion.text == max(token.top, key=lambda pair: pair[1])[0]


def test_a_prompt_beyond_the_window_is_an_error(chat: UrialChat) -> None:
    """The error has both numbers, and comes before the model runs."""
    with pytest.raises(ContextOverflowError, match="2048"):
        asked(chat, "word " * 3000)


def test_special_tokens_in_a_text_stay_text(llama: LlamaCppModel) -> None:
    """Text that spells a special token is not that token."""
    assert llama.count_tokens("<eos>") > llama.count_tokens("a")


async def test_streams_go_on_while_a_long_prompt_is_read(chat: UrialChat) -> None:
    """A prompt is read in steps that write a token of each reply, too."""
    long = asked(chat, "word " * 600 + "Why?", max_tokens=1)
    written = chat.astream(asked(chat, "Write a long story about the sea.", max_tokens=200))
    async with aclosing(written) as events:
        await anext(events)
        reading = asyncio.create_task(chat.areply([long]))
        pieces = 0
        async for _ in events:
            pieces += not reading.done()
            if reading.done():
                break
    await reading
    assert pieces > 6  # of twelve steps; two or three pieces come if it is read in one
