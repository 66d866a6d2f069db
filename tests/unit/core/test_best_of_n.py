"""Best of n: which sample is chosen, by what, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    CompletionChunk,
    GenerationParameters,
    JsonSchema,
    Message,
    ModelFeatures,
    ParameterError,
    Reply,
    ReplyEnd,
    ReplyRequest,
    TextDelta,
    TokenLogprob,
    Tool,
    ToolUse,
    UnsupportedModelError,
    UrialChat,
    Usage,
    load_prompt,
)
from urial_core.strategies import BestOfN, load_strategy
from urial_core.structured.constraints import Choice
from urial_core.testing import FakeModel

PROMPT = load_prompt("short")
SCHEMA = JsonSchema.of({"type": "object", "properties": {"a": {"type": "integer"}}})
TOOLS = ToolUse((Tool("find", "Finds.", '{"type": "object", "properties": {}}'),))
WAYS = ("reply", "areply", "stream", "astream")


def sample(text: str, *logprobs: float) -> list[CompletionChunk]:
    """Return a response whose words have these log-probabilities."""
    words = text.split(" ") if logprobs else []
    pieces = [f" {word}" if number else word for number, word in enumerate(words)]
    tokens = tuple(TokenLogprob(*pair) for pair in zip(pieces, logprobs, strict=True))
    usage = Usage(10, max(len(words), 1), 5)
    return [CompletionChunk(text, finish="stop", usage=usage, logprobs=tokens)]


def chat_of(model: FakeModel, **settings: Any) -> UrialChat:
    return UrialChat(model, PROMPT, decoding=BestOfN(**settings))


def request_of(chat: UrialChat, **settings: Any) -> ReplyRequest:
    tools, response_format = settings.pop("tools", None), settings.pop("response_format", None)
    return chat.request(
        [Message("user", "How many?")],
        GenerationParameters(**settings),
        tools=tools,
        response_format=response_format,
    )


async def answer(chat: UrialChat, way: str, **settings: Any) -> Reply:
    """Answer in one of the ``WAYS``; of a stream, return the reply that its events make."""
    request = request_of(chat, **settings)
    match way:
        case "reply":
            return chat.reply([request])[0]
        case "areply":
            return (await chat.areply([request]))[0]
        case "stream":
            events = list(chat.stream(request))
        case _:
            events = [event async for event in chat.astream(request)]
    end = events[-1]
    assert isinstance(end, ReplyEnd)
    texts = [event for event in events if isinstance(event, TextDelta)]
    logprobs = tuple(token for delta in texts for token in delta.logprobs)
    return Reply("".join(delta.text for delta in texts), end, logprobs)


@pytest.mark.parametrize("way", WAYS)
async def test_the_best_sample_is_chosen(way: str) -> None:
    """The sample of the highest mean log-probability is the reply, and the end says why."""
    model = FakeModel(sample("a b", -1, -2), sample("c d e", -1, -0.5, -0.1), sample("f", -3))
    reply = await answer(chat_of(model, n=3, round_size=3), way)
    assert reply.text == "c d e"
    assert reply.logprobs == ()
    assert reply.end.decoding == {
        "strategy": "best_of_n",
        "score": "logprob",
        "samples": 3,
        "chosen": 1,
        "scores": [-1.5, -0.5333, -3.0],
    }
    assert reply.end.usage == Usage(10, 2 + 3 + 1, 5)


@given(logprobs=st.lists(st.floats(-50, 0), min_size=2, max_size=9), size=st.integers(1, 4))
def test_the_choice_is_the_maximum(logprobs: list[float], size: int) -> None:
    """Whatever the scores and the rounds, the first sample of the highest score is chosen."""
    model = FakeModel(*[sample(f"word{number}", value) for number, value in enumerate(logprobs)])
    chat = chat_of(model, n=len(logprobs), round_size=size, tolerance=-1)
    reply = chat.reply([request_of(chat)])[0]
    assert reply.text == f"word{logprobs.index(max(logprobs))}"


def test_samples_differ_in_their_seeds_and_nothing_else() -> None:
    """Samples have seeds of their own, a temperature, and the request's other parameters."""
    model = FakeModel(sample("a", -1), sample("b", -2))
    chat = chat_of(model, n=4, tolerance=-1)
    chat.reply([request_of(chat, seed=7, top_p=0.9, max_tokens=5)])
    assert len(model.requests) == 4
    assert len({request.parameters.seed for request in model.requests}) == 4
    assert {request.prompt for request in model.requests} == {request_of(chat).prompt}
    own = {request.parameters.replace(seed=0) for request in model.requests}
    expected = GenerationParameters(temperature=0.7, top_p=0.9, max_tokens=5, seed=0, logprobs=0)
    assert own == {expected}


def test_a_temperature_that_is_set_is_kept_and_log_probabilities_are_returned() -> None:
    """The request's own temperature and its wish for log-probabilities take precedence."""
    model = FakeModel(sample("a", -1), sample("b", -2))
    chat = chat_of(model, n=2)
    reply = chat.reply([request_of(chat, temperature=0.3, logprobs=2)])[0]
    assert [token.token for token in reply.logprobs] == ["a"]
    assert {(r.parameters.temperature, r.parameters.logprobs) for r in model.requests} == {(0.3, 2)}


def test_sampling_stops_where_scores_agree() -> None:
    """After a round whose scores agree, nothing further is sampled."""
    alike = FakeModel(sample("a", -1), sample("b", -1.01))
    chat = chat_of(alike, n=8, round_size=2)
    chat.reply([request_of(chat)])
    assert len(alike.requests) == 2
    different = FakeModel(sample("a", -1), sample("b", -2))
    chat = chat_of(different, n=5, round_size=2)
    chat.reply([request_of(chat)])
    assert len(different.requests) == 5


def test_the_majority_wins() -> None:
    """By agreement, the answer that most samples give is chosen, however it is written."""
    texts = ["41", "It is 42.", "it is  42.", "7"]
    chat = chat_of(FakeModel(*map(sample, texts)), n=4, score="agreement")
    reply = chat.reply([request_of(chat)])[0]
    assert reply.text == "It is 42."
    assert reply.end.decoding is not None
    assert reply.end.decoding["scores"] == [0.25, 0.5, 0.5, 0.25]


def test_two_halves_that_agree_with_nobody_else_do_not_stop() -> None:
    """Equal scores of different answers are no agreement: sampling goes on."""
    model = FakeModel(*map(sample, ("1", "1", "2", "2", "2", "2")))
    chat = chat_of(model, n=6, score="agreement")
    assert chat.reply([request_of(chat)])[0].text == "2"
    assert len(model.requests) == 6


def test_what_has_to_agree_can_be_said() -> None:
    """With a key, only what it returns has to agree."""
    texts = ["First: 3", "Then 5 or so", "I say 5", "8!"]
    digits = lambda text: "".join(filter(str.isdigit, text))  # noqa: E731
    chat = chat_of(FakeModel(*map(sample, texts)), n=4, score="agreement", key=digits)
    assert chat.reply([request_of(chat)])[0].text == "Then 5 or so"


class LangChainEmbeddings:
    """Embeds as LangChain's classes do: by the letters of a text."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return vectors."""
        return [[text.count("a"), text.count("b")] for text in texts]


class LlamaIndexEmbeddings:
    """Embeds as LlamaIndex's classes do."""

    def get_text_embedding_batch(self, texts: list[str]) -> list[list[float]]:
        """Return vectors."""
        return LangChainEmbeddings().embed_documents(texts)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "embeddings",
    [LangChainEmbeddings(), LlamaIndexEmbeddings(), LangChainEmbeddings().embed_documents],
)
async def test_agreement_by_embeddings(way: str, embeddings: Any) -> None:
    """With embeddings, the reply that is most similar to the others is chosen."""
    model = FakeModel(*map(sample, ("bbb", "aab", "aabb", "aaa")))
    chat = chat_of(model, n=4, score="agreement", embeddings=embeddings)
    assert (await answer(chat, way)).text == "aabb"


@pytest.mark.parametrize("way", WAYS)
async def test_a_function_may_score(way: str) -> None:
    """A function gets the question and the answers, and its highest score is chosen."""
    asked = list[tuple[str, Sequence[str]]]()

    def longest(question: str, answers: Sequence[str]) -> list[int]:
        asked.append((question, answers))
        return [len(text) for text in answers]

    chat = chat_of(FakeModel(*map(sample, ("one", "three", "two"))), n=3, score=longest)
    reply = await answer(chat, way)
    assert (reply.text, asked) == ("three", [("How many?", ["one", "three", "two"])])


@pytest.mark.parametrize("returned", [[1.0], [1.0, float("nan")], [1.0, 2.0, 3.0]])
def test_a_function_must_score_each_answer(returned: list[float]) -> None:
    """A function that returns anything but one finite number for each answer is an error."""
    chat = chat_of(FakeModel(["a"], ["b"]), n=2, score=lambda *_: returned)
    with pytest.raises(ParameterError, match="each of the 2 answers"):
        chat.reply([request_of(chat)])


def test_relevance_subtracts_what_is_likely_anyway() -> None:
    """A reply that is as likely without the question loses to one that needs it."""
    model = FakeModel(
        sample("I know", -0.5, -0.5),
        sample("Twelve eggs", -1, -1),
        [CompletionChunk("I know", finish="stop", logprobs=(TokenLogprob("I know", -2.0),))],
        [CompletionChunk("Twelve eggs", finish="stop", logprobs=(TokenLogprob("x", -9.0),))],
        features=ModelFeatures(scores_texts=True),
    )
    chat = chat_of(model, n=2, score="relevance")
    reply = chat.reply([request_of(chat)])[0]
    assert reply.text == "Twelve eggs"
    assert reply.end.decoding is not None
    assert reply.end.decoding["scores"] == [-0.5 + 2 / 2, -1 + 9 / 2]
    scored = model.requests[2:]
    assert [request.constraint for request in scored] == [
        Choice(("I know",)),
        Choice(("Twelve eggs",)),
    ]
    assert all("How many?" not in request.prompt for request in scored)


@pytest.mark.parametrize("score", ["logprob", "relevance"])
def test_a_model_without_log_probabilities(score: str) -> None:
    """Where the model reports none, the error says what works without them."""
    chat = chat_of(FakeModel(["a"], ["b"]), n=2, score=score)
    with pytest.raises(UnsupportedModelError, match="agreement"):
        chat.reply([request_of(chat)])


def test_empty_samples_are_worst() -> None:
    """A sample without text is chosen only if all are empty, and its score is None."""
    blank = [CompletionChunk("````", finish="stop")]
    model = FakeModel(blank, sample("a", -1), blank, blank)
    chat = chat_of(model, n=2, score="agreement", tolerance=-1)
    reply = chat.reply([request_of(chat)])[0]
    assert reply.text == "a"


@pytest.mark.parametrize("score", ["logprob", "relevance"])
@pytest.mark.parametrize("structured", [{"tools": TOOLS}, {"response_format": SCHEMA}])
def test_values_and_calls_are_not_compared_by_probability(
    score: str, structured: dict[str, Any]
) -> None:
    """Tools and typed output with such a score are refused before the model runs."""
    model = FakeModel(["{}"], features=ModelFeatures(scores_texts=True))
    chat = chat_of(model, score=score)
    with pytest.raises(ParameterError, match="agreement"):
        chat.reply([request_of(chat, **structured)])
    assert model.requests == []


@pytest.mark.parametrize("way", WAYS)
async def test_values_are_compared_by_agreement(way: str) -> None:
    """Of typed output, the value that most samples have is chosen."""
    values = ['{"a": 1}', '{"a": 2}', '{"a": 2}']
    model = FakeModel(*[[value] for value in values], features=ModelFeatures(enforces_json=True))
    chat = chat_of(model, n=3, score="agreement")
    assert (await answer(chat, way, response_format=SCHEMA)).text == '{"a": 2}'


def test_calls_are_compared_by_agreement_and_streamed() -> None:
    """Of replies with tools, the call that most samples make is chosen, and streamed whole."""
    call = '# Tool call:\n````\n{"name": "find", "arguments": {}}\n````\n'
    text = "# Answer:\n````\nNo.\n````\n"
    chat = chat_of(FakeModel([text], [call], [call]), n=3, score="agreement")
    reply = chat.reply([request_of(chat, tools=TOOLS)])[0]
    assert [(one.name, one.arguments) for one in reply.tool_calls] == [("find", "{}")]
    chat = chat_of(FakeModel([text], [call], [call]), n=3, score="agreement")
    delta, end = list(chat.stream(request_of(chat, tools=TOOLS)))
    assert (delta.name, delta.arguments) == ("find", "{}")  # type: ignore[union-attr]
    assert isinstance(end, ReplyEnd)
    assert end.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "settings",
    [
        {"n": 1},
        {"round_size": 0},
        {"temperature": 0},
        {"score": "best"},
        {"score": "logprob", "key": str},
        {"score": "logprob", "embeddings": LangChainEmbeddings()},
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any]) -> None:
    """A setting out of range is an error that names it."""
    with pytest.raises(ParameterError, match=next(iter(reversed(settings)))):
        BestOfN(**settings)


def test_strategies_by_name() -> None:
    """A name stands for a strategy's defaults; an unknown one is refused with the known ones."""
    assert load_strategy("best_of_n") == BestOfN()
    assert load_strategy(None) is None
    mine = BestOfN(n=3)
    assert load_strategy(mine) is mine
    for unknown in ("best", 3):
        with pytest.raises(ParameterError, match="best_of_n"):
            load_strategy(unknown)
