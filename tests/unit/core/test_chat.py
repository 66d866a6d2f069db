"""UrialChat: the same reply whichever way it is asked for, and a model stopped in time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import replace

import pytest

from urial_core import (
    CompletionChunk,
    CompletionRequest,
    ContextOverflowError,
    GenerationError,
    GenerationParameters,
    Message,
    Prompt,
    Reply,
    ReplyEnd,
    TextDelta,
    TokenLogprob,
    UrialChat,
    Usage,
)
from urial_core.completion import CompletionModel
from urial_core.testing import FakeModel

PROMPT = Prompt(name="tiny", instruction="Be kind.")
END = "\n````\n"


class ReportingModel(FakeModel):
    """Replays whole chunks: what ends them, their tokens and log-probabilities."""

    def __init__(self, *scripts: list[CompletionChunk]) -> None:
        """Take a list of chunks for each request."""
        super().__init__(*([chunk.text for chunk in script] for script in scripts))
        self._chunks = scripts

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Replay the chunks."""
        yield from self._chunks[len(self.requests) % len(self._chunks)][: self._count(request)]

    def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        """Replay the chunks as one."""
        return [self._merged(list(self.stream(request))) for request in requests]

    @staticmethod
    def _merged(chunks: list[CompletionChunk]) -> CompletionChunk:
        text = "".join(chunk.text for chunk in chunks)
        logprobs = tuple(logprob for chunk in chunks for logprob in chunk.logprobs)
        return replace(chunks[-1], text=text, logprobs=logprobs)

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """Replay the chunks."""
        for chunk in self.stream(request):
            yield chunk

    def _count(self, request: CompletionRequest) -> int:
        return len(self._next_script(request))


def request_of(
    model: CompletionModel, parameters: GenerationParameters | None = None
) -> tuple[UrialChat, CompletionRequest]:
    """Ask a model something."""
    chat = UrialChat(model, PROMPT)
    return chat, chat.request([Message("user", "Hi")], parameters)


async def answer(
    way: str, model: CompletionModel, parameters: GenerationParameters | None = None
) -> tuple[str, ReplyEnd]:
    """Get a reply by one of the four methods: its text and its end."""
    chat, request = request_of(model, parameters)
    if way == "stream":
        events = list(chat.stream(request))
    elif way == "astream":
        events = [event async for event in chat.astream(request)]
    else:
        (reply,) = chat.reply([request]) if way == "reply" else await chat.areply([request])
        events = [TextDelta(reply.text), reply.end]
    end = events.pop()
    assert isinstance(end, ReplyEnd)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), end


async def every_way(
    scripts: list[list[str | Exception]], parameters: GenerationParameters | None = None
) -> list[tuple[str, ReplyEnd]]:
    """Get a reply by all four methods, each from a fresh model."""
    return [
        await answer(way, FakeModel(*scripts), parameters)
        for way in ("stream", "astream", "reply", "areply")
    ]


@pytest.mark.parametrize(
    ("pieces", "stop", "text", "reason"),
    [
        (["Hello", " there!", END, "junk"], (), "Hello there!", "delimiter"),
        (list("Hello there!" + END + "junk"), (), "Hello there!", "delimiter"),
        (["  Hello", "\n\n"], (), "Hello", "end_of_text"),
        (["Hello\n# Que", "ry:\nMore"], (), "Hello", "delimiter"),
        (["one E", "ND two"], ("END",), "one", "stop_string"),
        (["Hello E"], ("END",), "Hello E", "end_of_text"),
        (["```py\nx\n```", "\n`", "```\n"], (), "```py\nx\n```", "delimiter"),
        (["", "Hi", ""], (), "Hi", "end_of_text"),
    ],
)
async def test_four_ways_to_one_reply(
    pieces: list[str | Exception], stop: tuple[str, ...], text: str, reason: str
) -> None:
    """Streamed or whole, sync or async: text, reason and stop are the same."""
    for got, end in await every_way([pieces], GenerationParameters(stop=stop)):
        assert (got, end.reason) == (text, reason)
        assert end.stop == (stop[0] if reason == "stop_string" else None)
        assert end.finish_reason == "stop"


def test_every_event_has_text_and_the_end_comes_last() -> None:
    """A stream is one or more deltas, none of them empty, and exactly one end."""
    chat, request = request_of(FakeModel(["", " ", "Hi", " ", "\n", "you", END]))
    *deltas, end = chat.stream(request)
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == ["Hi", " \nyou"]
    assert isinstance(end, ReplyEnd)


def test_the_model_is_stopped_at_the_delimiter() -> None:
    """The stream is closed as soon as the end was seen; nothing behind it is generated."""
    model = FakeModel(["Hi", "\n`", "```", "\n", "# Query:\n", "x"])
    chat, request = request_of(model)
    list(chat.stream(request))
    assert (model.chunks_sent, model.closed, len(model.requests)) == (3, 1, 1)


async def test_the_model_is_stopped_at_a_stop_string_async() -> None:
    """As soon as a user's stop string was seen, too, and when read asynchronously."""
    model = FakeModel(["Hi E", "ND", "more", "more"])
    chat, request = request_of(model, GenerationParameters(stop=("END",)))
    events = [event async for event in chat.astream(request)]
    assert events[0] == TextDelta("Hi")
    assert (model.chunks_sent, model.closed) == (2, 1)


def test_leaving_early_stops_the_model() -> None:
    """A caller that closes the stream closes the model's, and no further piece is made."""
    model = FakeModel(["one", " two", " three", " four"])
    chat, request = request_of(model)
    events = chat.stream(request)
    assert next(events) == TextDelta("one")
    events.close()
    assert (model.chunks_sent, model.closed, len(model.requests)) == (1, 1, 1)


async def test_leaving_early_stops_the_model_async() -> None:
    """A caller that closes the asynchronous stream closes the model's as well."""
    model = FakeModel(["one", " two", " three", " four"])
    chat, request = request_of(model)
    events = chat.astream(request)
    assert await anext(events) == TextDelta("one")
    await events.aclose()
    assert (model.chunks_sent, model.closed, len(model.requests)) == (1, 1, 1)


@pytest.mark.parametrize("empty", [[END], [" \n", "\n````"], [""], ["# Query:\n"]])
async def test_an_empty_reply_is_asked_for_again(empty: list[str | Exception]) -> None:
    """A first attempt without text is followed by a second, whose text is the reply."""
    for text, end in await every_way([empty, ["Hi", END]]):
        assert (text, end.reason) == ("Hi", "delimiter")


async def test_a_second_empty_reply_is_final() -> None:
    """The second attempt is the last, even if it is empty as well."""
    assert {text for text, _ in await every_way([[END], [END], ["Hi"]])} == {""}
    model = FakeModel([END], [END], ["Hi"])
    chat, request = request_of(model)
    list(chat.stream(request))
    assert len(model.requests) == 2


def test_the_second_attempt_is_sampled() -> None:
    """The second attempt differs by a higher temperature and another seed only."""
    model = FakeModel([END], ["Hi"])
    chat, request = request_of(model, GenerationParameters(seed=5, top_p=0.9, stop=("X",)))
    list(chat.stream(request))
    first, second = model.requests
    assert first == request
    assert second.parameters == first.parameters.replace(temperature=0.7, seed=6)
    assert second.prompt == first.prompt


def test_usage_of_both_attempts_is_summed() -> None:
    """Usage counts what both attempts read and wrote."""
    chat, request = request_of(FakeModel([END], ["Hi you", END]))
    *_, end = chat.stream(request)
    page = len(request.prompt.split())
    assert isinstance(end, ReplyEnd)
    assert end.usage == Usage(2 * page, 1 + 3)


def test_usage_in_a_batch_is_each_requests_own() -> None:
    """In a batch, a second attempt for one request costs the others nothing."""
    chat, request = request_of(FakeModel(["Hi you" + END], [END], ["Again" + END]))
    page = len(request.prompt.split())
    good, retried = chat.reply([request, request])
    assert (good.text, good.end.usage) == ("Hi you", Usage(page, 3))
    assert (retried.text, retried.end.usage) == ("Again", Usage(2 * page, 1 + 2))


async def test_a_batch_keeps_its_order() -> None:
    """Replies come in the order of the requests."""
    scripts = [[f"Reply {number}{END}"] for number in range(4)]
    chat, request = request_of(FakeModel(*scripts))
    assert [reply.text for reply in chat.reply([request] * 4)] == [f"Reply {i}" for i in range(4)]
    assert len(await chat.areply([request] * 4)) == 4
    assert chat.reply([]) == []


@pytest.mark.parametrize("way", ["stream", "astream", "reply", "areply"])
async def test_an_error_in_the_stream_surfaces(way: str) -> None:
    """What the model raises reaches the caller as it is, and the stream is closed."""
    model = FakeModel(["Hello", GenerationError("out of memory"), "more"])
    with pytest.raises(GenerationError, match="out of memory"):
        await answer(way, model)
    assert (model.chunks_sent, model.closed, len(model.requests)) == (1, 1, 1)


def test_the_engines_own_report_is_used() -> None:
    """Usage, length and log-probabilities are the engine's, where it reports them."""
    logprobs = (TokenLogprob(" Hi", -0.5), TokenLogprob(" you", -1.0))
    chunks = [
        CompletionChunk(" Hi", logprobs=logprobs[:1]),
        CompletionChunk(" you", finish="length", usage=Usage(7, 2, 5), logprobs=logprobs[1:]),
    ]
    chat, request = request_of(ReportingModel(chunks))
    end = ReplyEnd("length", usage=Usage(7, 2, 5))
    assert list(chat.stream(request)) == [
        TextDelta("Hi", logprobs[:1]),
        TextDelta(" you", logprobs[1:]),
        end,
    ]
    assert end.finish_reason == "length"
    assert chat.reply([request]) == [Reply("Hi you", end, logprobs)]


def test_log_probabilities_stop_where_the_reply_does() -> None:
    """The tokens before the reply and those of its end have no log-probability in it."""
    pieces = ["\n", "Hi", " you", "\n", "````", "\n"]
    chunks = [CompletionChunk(text, logprobs=(TokenLogprob(text, -1.0),)) for text in pieces]
    chat, request = request_of(ReportingModel(chunks))
    (reply,) = chat.reply([request])
    assert [logprob.token for logprob in reply.logprobs] == ["Hi", " you"]


def test_a_reply_cut_by_length_is_not_asked_for_again() -> None:
    """An empty reply that ran into its limit is final: more of the same would not help."""
    model = ReportingModel([CompletionChunk("  ", finish="length")])
    chat, request = request_of(model)
    *_, end = chat.stream(request)
    assert isinstance(end, ReplyEnd)
    assert (end.reason, len(model.requests)) == ("length", 1)


def test_the_models_window_is_the_budget() -> None:
    """A conversation too long for the model's window is refused, or trimmed where so asked."""
    turns = [
        Message("user", "old " * 50),
        Message("assistant", "ok " * 50),
        Message("user", "new"),
    ]
    model = FakeModel(context_window=100)
    with pytest.raises(ContextOverflowError):
        UrialChat(model, PROMPT).request(turns)
    assert UrialChat(model, PROMPT, overflow="truncate").request(turns).truncated == tuple(
        turns[:2]
    )


def test_a_prefill_is_continued() -> None:
    """The reply to a prefill is what comes behind it, its first space included."""
    chat = UrialChat(FakeModel([" it is.", END]), PROMPT)
    request = chat.request([Message("user", "Hi"), Message("assistant", "Well,")], prefill=True)
    assert [reply.text for reply in chat.reply([request])] == [" it is."]


def test_an_echoing_engine_is_seen_through() -> None:
    """An engine that repeats the page before its completion gives the same reply."""
    chat, request = request_of(FakeModel("unused"))
    echoing = UrialChat(FakeModel([request.prompt[:30], request.prompt[30:], "Hi", END]), PROMPT)
    assert [reply.text for reply in echoing.reply([request])] == ["Hi"]
    assert chat.prompt == echoing.prompt


def test_the_scripted_model_is_a_completion_model() -> None:
    """The test double has all that a completion model must offer."""
    assert isinstance(FakeModel(), CompletionModel)
    assert not isinstance(object(), CompletionModel)
