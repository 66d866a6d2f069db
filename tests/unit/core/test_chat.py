"""UrialChat: the same reply from all four methods, and cancellation of the model's stream."""

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
    """Fake that replays whole chunks, with finish reason, usage and log-probabilities."""

    def __init__(self, *responses: list[CompletionChunk]) -> None:
        """Take a list of chunks for each request."""
        super().__init__()
        self._chunks = responses

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Replay the chunks."""
        self.requests.append(request)
        yield from self._chunks[(len(self.requests) - 1) % len(self._chunks)]

    def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        """Replay the chunks, joined to one."""
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


def request_of(
    model: CompletionModel, parameters: GenerationParameters | None = None
) -> tuple[UrialChat, CompletionRequest]:
    """Create a chat with the model, and a request for it."""
    chat = UrialChat(model, PROMPT)
    return chat, chat.request([Message("user", "Hi")], parameters)


async def answer(
    method: str, model: CompletionModel, parameters: GenerationParameters | None = None
) -> tuple[str, ReplyEnd]:
    """Return text and end of the reply that one of the four methods gives."""
    chat, request = request_of(model, parameters)
    if method == "stream":
        events = list(chat.stream(request))
    elif method == "astream":
        events = [event async for event in chat.astream(request)]
    else:
        (reply,) = chat.reply([request]) if method == "reply" else await chat.areply([request])
        events = [TextDelta(reply.text), reply.end]
    end = events.pop()
    assert isinstance(end, ReplyEnd)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), end


async def answers_of_all_methods(
    responses: list[list[str | Exception]], parameters: GenerationParameters | None = None
) -> list[tuple[str, ReplyEnd]]:
    """Return text and end that each of the four methods gives, each with a new model."""
    return [
        await answer(method, FakeModel(*responses), parameters)
        for method in ("stream", "astream", "reply", "areply")
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
        ([], (), "", "end_of_text"),
    ],
)
async def test_all_methods_give_the_same_reply(
    pieces: list[str | Exception], stop: tuple[str, ...], text: str, reason: str
) -> None:
    """Text, end reason and stop string are the same, streamed or whole, sync or async."""
    for got, end in await answers_of_all_methods([pieces], GenerationParameters(stop=stop)):
        assert (got, end.reason) == (text, reason)
        assert end.stop == (stop[0] if reason == "stop_string" else None)
        assert end.finish_reason == "stop"


def test_every_delta_has_text_and_the_end_comes_last() -> None:
    """A stream consists of one or more non-empty deltas, then exactly one end."""
    chat, request = request_of(FakeModel(["", " ", "Hi", " ", "\n", "you", END]))
    *deltas, end = chat.stream(request)
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == ["Hi", " \nyou"]
    assert isinstance(end, ReplyEnd)


def test_the_model_is_stopped_at_the_delimiter() -> None:
    """The model's stream is closed at the end of the turn; nothing after it is generated."""
    model = FakeModel(["Hi", "\n`", "```", "\n", "# Query:\n", "x"])
    chat, request = request_of(model)
    list(chat.stream(request))
    assert (model.chunks_sent, model.closed, len(model.requests)) == (3, 1, 1)


async def test_the_model_is_stopped_at_a_stop_string_async() -> None:
    """The model's asynchronous stream is closed at the user's stop string."""
    model = FakeModel(["Hi E", "ND", "more", "more"])
    chat, request = request_of(model, GenerationParameters(stop=("END",)))
    events = [event async for event in chat.astream(request)]
    assert events[0] == TextDelta("Hi")
    assert (model.chunks_sent, model.closed) == (2, 1)


def test_closing_early_stops_the_model() -> None:
    """Closing the stream early closes the model's stream, and generates no further chunk."""
    model = FakeModel(["one", " two", " three", " four"])
    chat, request = request_of(model)
    events = chat.stream(request)
    assert next(events) == TextDelta("one")
    events.close()
    assert (model.chunks_sent, model.closed, len(model.requests)) == (1, 1, 1)


async def test_closing_early_stops_the_model_async() -> None:
    """Closing the asynchronous stream early closes the model's stream as well."""
    model = FakeModel(["one", " two", " three", " four"])
    chat, request = request_of(model)
    events = chat.astream(request)
    assert await anext(events) == TextDelta("one")
    await events.aclose()
    assert (model.chunks_sent, model.closed, len(model.requests)) == (1, 1, 1)


@pytest.mark.parametrize("empty", [[END], [" \n", "\n````"], [""], ["# Query:\n"]])
async def test_an_empty_reply_is_retried(empty: list[str | Exception]) -> None:
    """A first attempt without text is retried, and the second attempt's text is the reply."""
    for text, end in await answers_of_all_methods([empty, ["Hi", END]]):
        assert (text, end.reason) == ("Hi", "delimiter")


async def test_a_second_empty_reply_is_final() -> None:
    """An empty reply is retried only once, even if the second attempt is empty as well."""
    assert {text for text, _ in await answers_of_all_methods([[END], [END], ["Hi"]])} == {""}
    model = FakeModel([END], [END], ["Hi"])
    chat, request = request_of(model)
    list(chat.stream(request))
    assert len(model.requests) == 2


def test_the_second_attempt_is_sampled() -> None:
    """The second attempt differs only by a higher temperature and another, far seed."""
    model = FakeModel([END], ["Hi"])
    chat, request = request_of(model, GenerationParameters(seed=5, top_p=0.9, stop=("X",)))
    list(chat.stream(request))
    first, second = model.requests
    assert first == request
    assert second.parameters == first.parameters.replace(temperature=0.7, seed=5 + 2**20)
    assert second.prompt == first.prompt


@pytest.mark.parametrize(
    ("temperature", "seed", "expected"),
    [
        (0.9, None, {None}),  # as random as it was
        (None, None, {1}),  # as repeatable as greedy decoding
        (0.9, 10, {10 + 2**20, 11 + 2**20, 12 + 2**20}),  # none of another reply
    ],
)
def test_the_seeds_of_second_attempts(
    temperature: float | None, seed: int | None, expected: set[int | None]
) -> None:
    """Retries of several replies share no seed, and have none where none is set to sample with."""
    model = FakeModel(END, END, END, "x", "y", "z")
    chat, request = request_of(model, GenerationParameters(temperature=temperature))
    seeds = [None if seed is None else seed + number for number in range(3)]
    replies = [replace(request, parameters=request.parameters.replace(seed=s)) for s in seeds]
    chat.reply(replies)
    assert {request.parameters.seed for request in model.requests[3:]} == expected


def test_usage_counts_the_prompt_of_both_attempts_once() -> None:
    """Usage sums both attempts' output tokens; the second finds the prompt in the prefix cache."""
    chat, request = request_of(FakeModel([END], ["Hi you", END]))
    *_, end = chat.stream(request)
    prompt_tokens = len(request.prompt.split())
    assert isinstance(end, ReplyEnd)
    assert end.usage == Usage(prompt_tokens, 1 + 3)


def test_usage_in_a_batch_is_counted_by_request() -> None:
    """In a batch, a retry of one request does not count in the usage of the others."""
    chat, request = request_of(FakeModel(["Hi you" + END], [END], ["Again" + END]))
    prompt_tokens = len(request.prompt.split())
    good, retried = chat.reply([request, request])
    assert (good.text, good.end.usage) == ("Hi you", Usage(prompt_tokens, 3))
    assert (retried.text, retried.end.usage) == ("Again", Usage(prompt_tokens, 1 + 2))


async def test_a_batch_keeps_its_order() -> None:
    """Replies come in the order of the requests."""
    responses = [[f"Reply {number}{END}"] for number in range(4)]
    chat, request = request_of(FakeModel(*responses))
    assert [reply.text for reply in chat.reply([request] * 4)] == [f"Reply {i}" for i in range(4)]
    assert len(await chat.areply([request] * 4)) == 4
    assert chat.reply([]) == []


@pytest.mark.parametrize("method", ["stream", "astream", "reply", "areply"])
async def test_the_models_error_is_raised(method: str) -> None:
    """The model's error is raised unchanged, and the model's stream is closed."""
    model = FakeModel(["Hello", GenerationError("out of memory"), "more"])
    with pytest.raises(GenerationError, match="out of memory"):
        await answer(method, model)
    assert (model.chunks_sent, model.closed, len(model.requests)) == (1, 1, 1)


def test_the_models_own_usage_and_finish_reason_are_used() -> None:
    """Usage, finish reason and log-probabilities are the model's, where it reports them."""
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


def test_log_probabilities_cover_the_reply_only() -> None:
    """A reply has no log-probabilities of the tokens before it and of the end of its turn."""
    pieces = ["\n", "Hi", " you", "\n", "````", "\n"]
    chunks = [CompletionChunk(text, logprobs=(TokenLogprob(text, -1.0),)) for text in pieces]
    chat, request = request_of(ReportingModel(chunks))
    (reply,) = chat.reply([request])
    assert [logprob.token for logprob in reply.logprobs] == ["Hi", " you"]


def test_a_reply_cut_by_length_is_not_retried() -> None:
    """An empty reply that reached ``max_tokens`` is not retried: that would not help."""
    model = ReportingModel([CompletionChunk("  ", finish="length")])
    chat, request = request_of(model)
    *_, end = chat.stream(request)
    assert isinstance(end, ReplyEnd)
    assert (end.reason, len(model.requests)) == ("length", 1)


@pytest.mark.parametrize("beyond", ["\n````\nand more", "Context: all of it again"])
def test_an_empty_reply_is_retried_where_the_engine_goes_on(beyond: str) -> None:
    """A turn's end or a template's continuation ends it, though the engine wrote to its limit."""
    model = ReportingModel([CompletionChunk(beyond, finish="length")])
    chat = UrialChat(model, PROMPT)
    request = chat.request([Message("user", "Question: Why?\nContext: so\nAnswer:")])
    (reply,) = chat.reply([request])
    assert (reply.text, reply.end.attempts, len(model.requests)) == ("", 2, 2)


def test_the_models_window_is_the_budget() -> None:
    """A conversation longer than the model's window is refused, or truncated if so configured."""
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
    """The reply to a prefill is the text that follows it, its first space included."""
    chat = UrialChat(FakeModel([" it is.", END]), PROMPT)
    request = chat.request([Message("user", "Hi"), Message("assistant", "Well,")], prefill=True)
    assert [reply.text for reply in chat.reply([request])] == [" it is."]


def test_an_echo_of_the_prompt_is_removed() -> None:
    """A model that returns the prompt before its completion gives the same reply and tokens."""
    _, request = request_of(FakeModel("unused"))
    pieces = [request.prompt[:30], request.prompt[30:], "Hi", END]
    chunks = [CompletionChunk(text, logprobs=(TokenLogprob(text, -1.0),)) for text in pieces]
    echoing = UrialChat(FakeModel(chunks, may_echo=True), PROMPT)
    [reply] = echoing.reply([request])
    assert (reply.text, [token.token for token in reply.logprobs]) == ("Hi", ["Hi"])
    delta, _ = echoing.stream(request)
    assert delta == TextDelta("Hi", reply.logprobs)


def test_the_fake_model_is_a_completion_model() -> None:
    """The fake model implements the ``CompletionModel`` protocol."""
    assert isinstance(FakeModel(), CompletionModel)
    assert not isinstance(object(), CompletionModel)
