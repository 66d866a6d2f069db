"""Around LangChain's completion LLMs: the same reply, whatever the class implements."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fake_models import END, JUNK, PROMPT, AsyncStreamingLLM, PlainLLM, StreamingLLM, query_of
from langchain_core.language_models import BaseLLM, FakeListLLM, FakeStreamingListLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult

from langchain_urial import ChatUrial
from urial_core import Message

WAYS = ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"]


class YieldsStrings(PlainLLM):
    """Streams plain strings, as some community classes do."""

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from self.reply


class Echoes(PlainLLM):
    """Writes the prompt before the completion, whole and in a stream."""

    def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        return prompt + self.reply

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        for at in range(0, len(prompt + self.reply), 7):
            yield GenerationChunk(text=(prompt + self.reply)[at : at + 7])


class RefusesTwoStops(PlainLLM):
    """Raises if stop strings are both set and passed, as many classes do."""

    stop: list[str] | None = None

    def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        if self.stop is not None and stop is not None:
            raise ValueError("`stop` found in both the input and default params.")
        return super()._call(prompt, stop, run_manager, **kwargs)


class AnswersBatches(BaseLLM):
    """A ``BaseLLM`` that knows only whole batches, and no async."""

    batches: list[list[str]] = []  # noqa: RUF012 - a field: pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "batches"

    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        self.batches.append(prompts)
        return LLMResult(generations=[[Generation(text=f"Hello!{END}")] for _ in prompts])


class VLLM(AnswersBatches):
    """An LLM of a class that is known to allow one call at a time; each takes a while."""

    __module__ = "langchain_community.llms.vllm"
    fails_for: str | None = None

    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        time.sleep(0.1)
        if any(query_of(prompt) == self.fails_for for prompt in prompts):
            raise ValueError("no")
        return super()._generate(prompts, *args, **kwargs)


async def reply_of(way: str, chat: ChatUrial, **kwargs: Any) -> str:
    """The reply's text, asked for in one of six ways."""
    match way:
        case "invoke":
            return str(chat.invoke("Hi", **kwargs).text)
        case "ainvoke":
            return str((await chat.ainvoke("Hi", **kwargs)).text)
        case "stream":
            return "".join(chunk.text for chunk in chat.stream("Hi", **kwargs))
        case "astream":
            return "".join([chunk.text async for chunk in chat.astream("Hi", **kwargs)])
        case "batch":
            return str(chat.batch(["Hi", "Ho"], **kwargs)[0].text)
        case _:
            return str((await chat.abatch(["Hi", "Ho"], **kwargs))[0].text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "llm",
    [
        FakeListLLM(responses=[f"Hello!{END}{JUNK}"]),
        FakeStreamingListLLM(responses=[f"Hello!{END}{JUNK}"]),
        PlainLLM(),
        PlainLLM(reply="\n\n Hello! \n"),
        StreamingLLM(),
        AsyncStreamingLLM(),
        YieldsStrings(),
        Echoes(),
        RefusesTwoStops(stop=["own"]),
        AnswersBatches(),
        PlainLLM().bind(stop=["x"]),
        PlainLLM().with_config(tags=["x"]),
    ],
    ids=lambda llm: type(llm).__name__,
)
async def test_every_llm_gives_the_same_reply_in_every_way(way: str, llm: Any) -> None:
    """Ignored stops, echoed prompts, strings for chunks, missing async: the reply is the same."""
    assert await reply_of(way, ChatUrial(llm=llm, prompt=PROMPT)) == "Hello!"


@pytest.mark.parametrize("way", WAYS)
async def test_stop_strings_hold_even_where_the_llm_ignores_them(way: str) -> None:
    """A user's stop string cuts the reply, and the LLM gets it beside the format's own."""
    llm = RefusesTwoStops(reply="one two three", stop=["three"])
    chat = ChatUrial(llm=llm, prompt=PROMPT)
    assert await reply_of(way, chat, stop=["two"]) == "one"
    assert llm.seen[0]["stop"] == ["\n````", "\n# Query:\n", "two", "three"]
    assert llm.stop == ["three"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_llm_is_called_without_its_own_run(way: str) -> None:
    """The LLM gets no run manager, so that no handler ever sees raw text."""
    llm = StreamingLLM()
    await reply_of(way, ChatUrial(llm=llm, prompt=PROMPT))
    assert {call["run_manager"] for call in llm.seen} == {None}


def test_a_stream_method_of_the_llms_own_gets_no_handlers() -> None:
    """A class that overrides ``stream`` itself is called without callbacks."""
    configs = list[Any]()

    class OwnStream(PlainLLM):
        def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[str]:  # noqa: A002
            configs.append(config)
            yield from self.reply

    chat = ChatUrial(llm=OwnStream(), prompt=PROMPT)
    assert "".join(chunk.text for chunk in chat.stream("Hi")) == "Hello!"
    assert configs == [{"callbacks": []}]


async def test_inputs_that_wait_for_an_llm_are_one_batch() -> None:
    """While an LLM that allows one call at a time is busy, the inputs that wait come together."""
    llm = VLLM()
    chat = ChatUrial(llm=llm, prompt=PROMPT)
    answers = chat.batch(list("abcde")) + await chat.abatch(list("abcde"))
    assert [answer.text for answer in answers] == ["Hello!"] * 10
    asked = [query_of(prompt) for batch in llm.batches for prompt in batch]
    assert sorted(asked) == sorted("abcde" * 2)
    assert len(llm.batches) < 10


async def test_an_input_that_fails_does_not_fail_those_that_wait_with_it() -> None:
    """A batch that fails is asked for one by one, so that each input has its own outcome."""
    chat = ChatUrial(llm=VLLM(fails_for="b"), prompt=PROMPT)
    found = await chat.abatch(list("abc"), return_exceptions=True)
    assert [isinstance(one, Exception) for one in found] == [False, True, False]
    found = chat.batch(list("abc"), return_exceptions=True)
    assert [isinstance(one, Exception) for one in found] == [False, True, False]


def test_an_llm_that_counts_its_answers_goes_on_counting() -> None:
    """The user's own object is called where nothing need be set on it: its state moves on."""
    chat = ChatUrial(llm=FakeListLLM(responses=["one", "two", "three"]), prompt=PROMPT)
    assert [chat.invoke("Hi").content for _ in range(4)] == ["one", "two", "three", "one"]


def test_the_llms_own_cache_and_retries_do_not_get_in_the_way() -> None:
    """The inner LLM's cache is not used for raw prompts and completions."""
    from langchain_core.caches import InMemoryCache

    cache = InMemoryCache()
    chat = ChatUrial(llm=PlainLLM(cache=cache), prompt=PROMPT)
    chat.invoke("Hi")
    assert cache._cache == {}


@pytest.mark.parametrize(
    ("info", "finish"),
    [
        ({"finish_reason": "length"}, "length"),
        ({"done_reason": "length"}, "length"),
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "eos_token"}, "stop"),
        ({}, "stop"),
        (None, "stop"),
    ],
)
def test_the_reason_an_llm_reports_is_passed_on(
    info: Mapping[str, Any] | None, finish: str
) -> None:
    """Both usual names of the finish reason are read; unknown reasons are ignored."""

    class Reports(AnswersBatches):
        def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
            own = None if info is None else dict(info)
            return LLMResult(
                generations=[[Generation(text="Hello", generation_info=own)] for _ in prompts]
            )

        def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
            yield GenerationChunk(text="Hello")
            yield GenerationChunk(text="", generation_info=None if info is None else dict(info))

    chat = ChatUrial(llm=Reports(), prompt=PROMPT)
    assert chat.invoke("Hi").response_metadata["finish_reason"] == finish
    last = list(chat.stream("Hi"))[-1]
    assert last.response_metadata["finish_reason"] == finish


async def test_an_empty_first_answer_is_asked_for_once_more() -> None:
    """A model that ends at once gets one more try, sampled; no user wants an empty answer."""
    llm = FakeListLLM(responses=[END, "Hello!"])
    chat = ChatUrial(llm=llm, prompt=PROMPT)
    assert chat.invoke("Hi").content == "Hello!"
    assert (await chat.ainvoke("Hi")).content == "Hello!"


def test_errors_of_the_llm_are_its_own() -> None:
    """The LLM's errors are passed on unchanged, so that retries can recognise a time-out."""

    class Fails(PlainLLM):
        def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
            raise TimeoutError("too slow")

    chat = ChatUrial(llm=Fails(), prompt=PROMPT)
    with pytest.raises(TimeoutError, match="too slow"):
        chat.invoke("Hi")
    attempts = list[int]()

    class FailsOnce(PlainLLM):
        def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
            attempts.append(1)
            if len(attempts) == 1:
                raise TimeoutError("too slow")
            return self.reply

    retried = ChatUrial(llm=FailsOnce(), prompt=PROMPT).with_retry(
        retry_if_exception_type=(TimeoutError,), wait_exponential_jitter=False
    )
    assert retried.invoke("Hi").content == "Hello!"


def test_the_llm_gets_the_prompt_of_the_request() -> None:
    """The prompt ends in an open answer, and the LLM gets exactly it."""
    llm = PlainLLM()
    chat = ChatUrial(llm=llm, prompt=PROMPT)
    chat.invoke("Hi")
    request = chat._call({}).requests([Message("user", "Hi")])[0]
    assert llm.seen[0]["prompt"] == request.prompt
    assert request.prompt.endswith("# Query:\n````\nHi\n````\n\n# Answer:\n````\n")
