"""Completions and chunks from a server's responses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_server import (
    DONE,
    PROMPT,
    WAYS,
    FakeServer,
    Pieces,
    chunks_from,
    event,
    piece,
    refusal,
    request_for,
)
from hypothesis import given
from hypothesis import strategies as st

from urial_core import TokenLogprob, UrialChat, Usage
from urial_core.backends.completions_server import DIALECTS, VLLM, completion_of
from urial_core.backends.completions_server.response import StreamReader
from urial_core.errors import GenerationError, ServerError
from urial_core.messages import Message
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_scanner import OneLineJson

USAGE = {
    "prompt_tokens": 1195,
    "completion_tokens": 12,
    "total_tokens": 1207,
    "prompt_tokens_details": {"cached_tokens": 1152},
}
MET = {"__verbose": {"stop_type": "word", "stopping_word": "\n````"}}
TIMINGS = {"cache_n": 1152, "prompt_n": 43, "predicted_n": 1, "predicted_ms": 1.5}


def whole(text: str, finish: str | None, **more: Any) -> dict[str, Any]:
    """Return a response in one piece."""
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish}], **more}


# What each real server was observed to send for the same reply: whole, and as a stream.
OBSERVED: dict[str, tuple[Any, list[bytes]]] = {
    "vllm": (
        whole("Hello there\n````", "stop", usage=USAGE),
        [
            piece("Hel", usage={"prompt_tokens": 1195, "completion_tokens": 1}),
            piece("lo there", usage={"prompt_tokens": 1195, "completion_tokens": 3}),
            piece("\n````", "stop", usage={"prompt_tokens": 1195, "completion_tokens": 12}),
            event({"choices": [], "usage": USAGE}),
            DONE,
        ],
    ),
    "llama.cpp": (
        whole("Hello there", "stop", usage=USAGE, **MET),
        [
            piece("Hello", timings=TIMINGS),
            piece(" there", timings=TIMINGS),
            piece("", timings=TIMINGS),
            piece("", "stop", usage=USAGE, timings=TIMINGS, **MET),
            DONE,
        ],
    ),
    "generic": (
        whole("Hello there\n````\n# Query:", "length", usage=USAGE),
        [
            piece("Hello there"),
            piece("\n````\n"),
            piece("# Query:", "length"),
            event({"choices": [], "usage": USAGE}),
            DONE,
        ],
    ),
}


@pytest.mark.parametrize("kind", OBSERVED)
@pytest.mark.parametrize("way", WAYS)
async def test_every_server_gives_the_same_completion(kind: str, way: str) -> None:
    """Text, the stop string that was met, finish reason and usage are read from every shape."""
    whole_response, pieces = OBSERVED[kind]
    fake_server = FakeServer(
        kind, lambda body: Pieces(pieces) if body.get("stream") else whole_response
    )
    chunks = await chunks_from(fake_server.model(), way, request_for())
    assert "".join(chunk.text for chunk in chunks).startswith("Hello there\n````")
    assert chunks[-1].usage == Usage(1195, 12, 1152)
    assert [chunk.finish for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish == ("length" if kind == "generic" else "stop")


@pytest.mark.parametrize("kind", OBSERVED)
@pytest.mark.parametrize("way", ["reply", "stream"])
def test_the_reply_is_the_same_from_every_server(kind: str, way: str) -> None:
    """A reply shows none of the differences between servers."""
    whole_response, pieces = OBSERVED[kind]
    fake_server = FakeServer(
        kind, lambda body: Pieces(pieces) if body.get("stream") else whole_response
    )
    chat = UrialChat(fake_server.model(), PROMPT)
    request = chat.request([Message("user", "Hi")])
    if way == "reply":
        [reply] = chat.reply([request])
        text, end = reply.text, reply.end
    else:
        *deltas, end = chat.stream(request)
        text = "".join(delta.text for delta in deltas)
    assert (text, end.reason) == ("Hello there", "delimiter")


def test_usage_is_known_when_a_stream_is_closed_early() -> None:
    """llama.cpp and vLLM report it with each chunk, so that no text has to be counted again."""
    for kind in ("vllm", "llama.cpp"):
        fake_server = FakeServer(kind, lambda _, kind=kind: Pieces(OBSERVED[kind][1]))
        first = next(fake_server.model().stream(request_for()))
        assert first.usage in (Usage(1195, 1), Usage(1195, 1, 1152))


LEGACY = {
    "tokens": ["Hel", "lo"],
    "token_logprobs": [-0.5, -0.25],
    "top_logprobs": [{"Hal": -1.0, "Hel": -0.5}, {"lo": -0.25, "l": -2.0}],
    "text_offset": [0, 3],
}
CHAT = {
    "content": [
        {"id": 1, "token": "Hel", "logprob": -0.5, "top_logprobs": [
            {"id": 1, "token": "Hel", "logprob": -0.5}, {"id": 2, "token": "Hal", "logprob": -1.0}
        ]},
        {"id": 3, "token": "lo", "logprob": -0.25, "top_logprobs": [
            {"id": 3, "token": "lo", "logprob": -0.25}, {"id": 4, "token": "l", "logprob": -2.0}
        ]},
    ]
}  # fmt: skip


@pytest.mark.parametrize("shape", [LEGACY, CHAT])
@pytest.mark.parametrize("most", [0, 1, 2])
def test_both_shapes_of_log_probabilities_are_read(shape: Any, most: int) -> None:
    """Tokens, values and the requested number of alternatives are read, best first."""
    response = whole("Hello", "stop")
    response["choices"][0]["logprobs"] = shape
    completion = completion_of(response, request_for(logprobs=most))
    assert completion.logprobs == (
        TokenLogprob("Hel", -0.5, (("Hel", -0.5), ("Hal", -1.0))[:most]),
        TokenLogprob("lo", -0.25, (("lo", -0.25), ("l", -2.0))[:most]),
    )


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
@pytest.mark.parametrize("way", ["complete", "acomplete"])
async def test_a_batch_is_sent_one_by_one_where_usage_would_be_lost(kind: str, way: str) -> None:
    """For a list of prompts, these servers report the usage of one, or its cached tokens."""
    fake_server = FakeServer(kind)
    model, requests = fake_server.model(), [request_for(text) for text in "abc"]
    completions = model.complete(requests) if way == "complete" else await model.acomplete(requests)
    assert [completion.text for completion in completions] == ["re: a", "re: b", "re: c"]
    assert [completion.usage for completion in completions] == [Usage(10, 3)] * 3
    assert len(fake_server.completions) == 3


def test_a_batch_in_one_request_has_no_usage() -> None:
    """A sum over several prompts is the usage of none; a single prompt has it."""
    fake_server = FakeServer("generic")
    model = fake_server.model()
    completions = model.complete([request_for("a"), request_for("b")])
    assert [completion.usage for completion in completions] == [None, None]
    assert len(fake_server.completions) == 1
    assert model.complete([request_for("a")])[0].usage == Usage(10, 3)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("way", ["complete", "acomplete"])
async def test_a_server_that_refuses_a_list_is_sent_each_prompt(status: int, way: str) -> None:
    """That is remembered; where a prompt by itself is refused, too, lists are tried again."""

    def answer(body: Any) -> Any:
        refused = isinstance(body["prompt"], list) or "bad" in body["prompt"]
        return refusal(status, message="no") if refused else fake_server.echo_query(body)

    async def ask(*texts: str) -> list[str]:
        requests = [request_for(text) for text in texts]
        given = model.complete(requests) if way == "complete" else await model.acomplete(requests)
        return [completion.text for completion in given]

    fake_server = FakeServer("generic")
    fake_server.answer = answer
    model = fake_server.model()
    with pytest.raises(ServerError, match="no"):
        await ask("bad", "b")
    assert await ask("a", "b", "b") == ["re: a", "re: b", "re: b"]
    assert await ask("c", "d") == ["re: c", "re: d"]
    lists = [isinstance(body["prompt"], list) for body in fake_server.completions]
    assert lists == [True, False, True, False, False, False, False, False]


def test_only_equal_settings_share_a_request() -> None:
    """Other parameters or stop strings make another request; the order of completions stays."""
    fake_server = FakeServer("generic")
    requests = [
        request_for("a"),
        request_for("b", seed=1),
        request_for("c"),
        request_for("d", stop=("x",)),
    ]
    completions = fake_server.model().complete(requests)
    assert [completion.text for completion in completions] == ["re: a", "re: b", "re: c", "re: d"]
    assert sorted(len(body["prompt"]) > 9 for body in fake_server.completions) == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    "response",
    [{}, {"choices": []}, "<html>", [], None, {"choices": [{}, {}]}, {"choices": [1]}, 7],
)
def test_a_response_of_another_shape_is_an_error(response: Any) -> None:
    """The error shows the response; it never counts as an empty reply."""
    with pytest.raises(GenerationError, match=r"list of as many choices|The server sent .*"):
        completion_of(response, request_for())


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize(
    "pieces",
    [
        [b"\xef\xbb\xbf" + piece("Hello"), piece(" you.", "stop")],
        [*(event({"choices": [{"delta": {"content": t}}]}) for t in ("Hello", " you.")), DONE],
        [piece("Hello"), event({"choices": [{"index": 1, "text": "B"}]}), piece(" you.", "stop")],
        [
            event({"choices": [{"index": 1, "text": "B"}, {"index": 0, "text": "A"}]}),
            event({"choices": [{"index": 0, "text": "C"}]}),
            event({"choices": [{"index": 1, "text": "!", "finish_reason": "stop"}]}),
        ],
        [piece("Hello"), piece(" you.", "stop"), piece(" you.", "stop"), DONE],
    ],
    ids=["byte order mark", "chat deltas", "another sample", "in each event", "the end repeated"],
)
async def test_a_stream_holds_one_completion_once(pieces: list[bytes], way: str) -> None:
    """Its text is read from any shape; other samples' text and a repeated end are left out."""
    model = FakeServer("generic", lambda _: Pieces(pieces)).model()
    text = "".join(chunk.text for chunk in await chunks_from(model, way, request_for()))
    assert text in ("Hello you.", "B!")


def test_a_stream_that_ends_twice_is_whole() -> None:
    """Text and reason of the first end stay; only an event that repeats the end adds no text."""
    for repeated in ("", " world"):
        reader = StreamReader(request_for())
        events = [("Hello", None), (" world", "length"), (repeated, "stop"), (".", "stop")]
        chunks = [reader.feed({"choices": [{"text": t, "finish_reason": f}]}) for t, f in events]
        last = reader.close()
        assert "".join(chunk.text for chunk in [*chunks, last] if chunk) == "Hello world."
        assert last.finish == "length"


@pytest.mark.parametrize("way", WAYS)
async def test_a_character_that_was_cut_is_left_out(way: str) -> None:
    """At ``max_tokens`` a server replaces it by U+FFFD; one that the model wrote before stays."""

    def answer(body: Any) -> Any:
        text = "\ufffd is \ufffd\ufffd"
        return Pieces([piece(text, "length")]) if body.get("stream") else whole(text, "length")

    chunks = await chunks_from(FakeServer("llama.cpp", answer).model(), way, request_for())
    assert "".join(chunk.text for chunk in chunks) == "\ufffd is "


NATURAL = ["stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "tool_calls", "other"]
NATURAL += ["refusal", "sentiment_end", "end_of_block", "maximum_likelihood"]
AT_LIMIT = ["length", "LENGTH", "max_tokens", "MAX_TOKENS", "model_length", "token_limit"]
AT_LIMIT += ["time_limit", "max_time", "maxPredictedTokensReached", "contextLengthReached"]
FAILED = ["abort", "error", "ERROR_TOXIC", "content_filter", "timeout", "cancelled", "TIMED_OUT"]


@pytest.mark.parametrize("reason", [*NATURAL, *AT_LIMIT])
def test_every_finish_reason_is_stop_or_length(reason: str) -> None:
    """Limits are known by their names, in any case of letters; every other end is natural."""
    finish = "length" if reason in AT_LIMIT else "stop"
    assert completion_of(whole("a", reason), request_for()).finish == finish
    reader = StreamReader(request_for())
    reader.feed(whole("a", reason))
    assert reader.close().finish == finish


def test_an_end_without_a_reason_is_a_cut_at_max_tokens() -> None:
    """A response in one piece may lack the finish reason; its usage says whether it was cut."""
    for written, finish in ((9, "length"), (8, "stop")):
        usage = {"prompt_tokens": 5, "completion_tokens": written}
        response = whole("a", None, usage=usage)
        assert completion_of(response, request_for(max_tokens=9)).finish == finish
    assert completion_of(whole("a", None), request_for(max_tokens=9)).finish == "stop"


@pytest.mark.parametrize("unset", ["", "null", "None", "not_finished"])
def test_an_empty_finish_reason_ends_no_stream(unset: str) -> None:
    """Some servers send it in place of null with each piece of text."""
    reader = StreamReader(request_for())
    chunks = [
        reader.feed(whole("a", unset)),
        reader.feed(whole("b", unset)),
        reader.feed(whole("", "stop")),
    ]
    assert "".join(chunk.text for chunk in chunks if chunk) == "ab"


@pytest.mark.parametrize("reason", FAILED)
def test_a_failure_reason_is_an_error(reason: str) -> None:
    """A server's own reason for giving up does not end a complete reply; the error has its text."""
    with pytest.raises(GenerationError, match=reason) as caught:
        completion_of(whole("half a", reason), request_for(), VLLM)
    assert caught.value.text == "half a"
    reader = StreamReader(request_for(), VLLM)
    reader.feed(whole("half a", None))
    with pytest.raises(GenerationError) as caught:
        reader.feed(whole("", reason))
    assert caught.value.text == "half a"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=VALUES, indent=st.sampled_from([None, 0, 1, "\t"]), data=st.data())
def test_json_is_written_on_one_line(value: Any, indent: Any, data: st.DataObject) -> None:
    """JSON of any layout and chunking becomes what the standard library writes by default."""
    separators = data.draw(st.sampled_from([(",", ":"), (" ,\n", " :  "), None]))
    laid_out = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
    line = OneLineJson()
    out, at = "", 0
    while at < len(laid_out):
        size = data.draw(st.integers(1, 7))
        out += line.feed(laid_out[at : at + size])
        at += size
    assert out == json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("text", ["8 000", "[1\n2, 3]", '{"a": - 5}', "tr ue", "1 \t 2"])
def test_invalid_json_stays_invalid_on_one_line(text: str) -> None:
    """Whitespace within a number or a literal is kept as a space: it would become another value."""
    whole_line, pieces = OneLineJson(), OneLineJson()
    written = whole_line.feed(text)
    assert "".join(map(pieces.feed, text)) == written
    assert written.split() == text.split()
    with pytest.raises(json.JSONDecodeError):
        json.loads(written)


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
@pytest.mark.parametrize("way", WAYS)
async def test_constrained_json_is_on_one_line(kind: str, way: str) -> None:
    """JSON that a server lays out over lines is rewritten in the form of the constraint."""
    pieces = ['{\n  "a"', ":1,", '\n  "b": "x: \\" ,y"\n', "}"]
    stream = [*map(piece, pieces), piece("", "stop"), DONE]
    fake_server = FakeServer(
        kind, lambda body: Pieces(stream) if body.get("stream") else whole("".join(pieces), "stop")
    )
    request = request_for(constraint=JsonSchema.of({"type": "object"}))
    chunks = await chunks_from(fake_server.model(), way, request)
    assert "".join(chunk.text for chunk in chunks) == '{"a": 1, "b": "x: \\" ,y"}'


def test_unconstrained_text_is_not_rewritten() -> None:
    """Text of a server that cannot constrain is passed on as it is."""
    request = request_for(constraint=JsonSchema.of({"type": "object"}))
    assert completion_of(whole("Well:\n\n{ }", "stop"), request).text == "Well:\n\n{ }"
    assert completion_of(whole("{ }", "stop"), request, DIALECTS["vllm"]).text == "{}"


@pytest.mark.parametrize(
    "more",
    [
        {"usage": {"completion_tokens": 3}},
        {"usage": {"prompt_tokens": None, "completion_tokens": 3}},
        {"usage": {"prompt_tokens": 3}},
        {"timings": {"predicted_n": 3, "cache_n": 2}},
        {"timings": {"prompt_n": 3}},
        {},
    ],
)
def test_a_count_that_is_missing_is_unknown(more: dict[str, Any]) -> None:
    """It never becomes 0."""
    assert completion_of(whole("a", "stop", **more), request_for()).usage is None


def test_cached_tokens_that_are_missing_are_unknown() -> None:
    """The other counts are known all the same."""
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    assert completion_of(whole("a", "stop", usage=usage), request_for()).usage == Usage(9, 3, None)


@pytest.mark.parametrize("shape", ["legacy", "chat"])
def test_log_probabilities_that_json_cannot_hold(shape: str) -> None:
    """Minus infinity is very unlikely, as in the OpenAI API; what is null is left out."""
    infinite, top = float("-inf"), {"b": None, "c": float("-inf"), "a": -0.5}
    if shape == "legacy":
        given = {
            "tokens": ["", "a", "b"],
            "token_logprobs": [None, -0.5, infinite],
            "top_logprobs": [None, top, None],
        }
    else:
        pairs = [{"token": token, "logprob": value} for token, value in top.items()]
        given = {
            "content": [
                {"token": "", "logprob": None},
                {"token": "a", "logprob": -0.5, "top_logprobs": pairs},
                {"token": "b", "logprob": infinite},
            ]
        }
    response = whole("ab", "stop")
    response["choices"][0]["logprobs"] = given
    assert completion_of(response, request_for(logprobs=3)).logprobs == (
        TokenLogprob("a", -0.5, (("a", -0.5), ("c", -9999.0))),
        TokenLogprob("b", -9999.0),
    )
