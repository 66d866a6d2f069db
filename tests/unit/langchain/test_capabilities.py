"""Capabilities: the table agrees with the source of LangChain's classes."""

from __future__ import annotations

import importlib
import threading
import time
import warnings
from dataclasses import replace
from typing import Any

import pytest
from fake_models import PROMPT, PlainLLM, StreamingLLM
from langchain_core.language_models import BaseLLM

from langchain_urial import ChatUrial
from langchain_urial.capabilities import _BY_CLASS, Capabilities, capabilities_of

COMMUNITY = "langchain_community.llms"
MODULES = {
    "AzureOpenAI": "langchain_openai",
    "OpenAI": "langchain_openai",
    "VLLMOpenAI": f"{COMMUNITY}.vllm",
    "OllamaLLM": "langchain_ollama",
    "Ollama": f"{COMMUNITY}.ollama",
    "HuggingFaceEndpoint": "langchain_huggingface",
    "HuggingFaceTextGenInference": f"{COMMUNITY}.huggingface_text_gen_inference",
    "VLLM": f"{COMMUNITY}.vllm",
    "Together": f"{COMMUNITY}.together",
    "Bedrock": f"{COMMUNITY}.bedrock",
    "CTransformers": f"{COMMUNITY}.ctransformers",
    "ExLlamaV2": f"{COMMUNITY}.exllamav2",
    "CTranslate2": f"{COMMUNITY}.ctranslate2",
    "MLXPipeline": f"{COMMUNITY}.mlx_pipeline",
    "GPT4All": f"{COMMUNITY}.gpt4all",
    "RWKV": f"{COMMUNITY}.rwkv",
    "Petals": f"{COMMUNITY}.petals",
}
"""Where the classes are defined; none needs its engine for that."""
PARAMETERS = {"max_tokens", "temperature", "top_p", "top_k", "seed", "repetition_penalty"}
SET_AT_LOADING = {"seed"}
"""Fields that engines in this process read when they are loaded, and never again."""
ABSENT = {"BedrockLLM"}
"""Classes of packages that are not among the test dependencies."""


def blank(name: str) -> BaseLLM:
    """An object of the class, made without its engine."""
    module = pytest.importorskip(MODULES[name].partition(".")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(MODULES[name])
        return getattr(module, name).model_construct()


def test_every_row_is_tested_here() -> None:
    """No class is in the table without being checked against its source."""
    assert set(_BY_CLASS) == set(MODULES) | ABSENT


@pytest.mark.parametrize("name", MODULES)
def test_the_fields_named_in_a_row_exist(name: str) -> None:
    """Each field the table names is a field of the class: a misspelt one would do nothing."""
    llm = blank(name)
    row = capabilities_of(llm)
    assert replace(row, fields={}) == replace(_BY_CLASS[name], fields={})
    named = {*row.fields.values(), *([row.window_field] if row.window_field else [])}
    assert named - set(type(llm).model_fields) == set()


@pytest.mark.parametrize("name", MODULES)
def test_no_field_of_a_sampling_parameter_was_overlooked(name: str) -> None:
    """A field with the very name of a parameter is used, unless the row says why not."""
    llm = blank(name)
    row = capabilities_of(llm)
    overlooked = (PARAMETERS & set(type(llm).model_fields)) - set(row.fields.values())
    assert overlooked - (SET_AT_LOADING if not row.thread_safe else set()) == set()


def test_classes_are_known_by_name_and_origin() -> None:
    """A subclass has its base's row; another class of the same name is derived from its fields."""

    class Mine(type(blank("GPT4All"))):  # type: ignore[misc]
        pass

    assert capabilities_of(Mine.model_construct()) is _BY_CLASS["GPT4All"]

    class GPT4All(PlainLLM):
        max_new_tokens: int = 5
        temperature: float = 1.0

    assert capabilities_of(GPT4All()) == Capabilities(
        fields={"max_tokens": "max_new_tokens", "temperature": "temperature"}
    )


def test_the_fields_of_an_unknown_class_are_set_for_each_request() -> None:
    """Parameters reach an LLM through the fields it has, and the user's object stays as it was."""
    seen = list[tuple[Any, ...]]()

    class Unknown(PlainLLM):
        num_predict: int | None = None
        temperature: float = 0.9
        random_seed: int = 1

        def _call(
            self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> str:
            seen.append((self.num_predict, self.temperature, self.random_seed))
            return self.reply

    llm = Unknown()
    chat = ChatUrial(llm=llm, prompt=PROMPT)
    chat.invoke("Hi")
    chat.invoke("Hi", max_tokens=7, temperature=0.0, seed=5)
    assert seen == [(1024, 0.9, 1), (7, 0.0, 5)]
    assert (llm.num_predict, llm.temperature, llm.random_seed) == (None, 0.9, 1)


@pytest.mark.parametrize("name", ["max_tokens", "max_new_tokens", "num_predict"])
@pytest.mark.parametrize(("own", "expected"), [(17, 17), (None, None), (-1, None), (-2, None)])
def test_a_limit_set_on_the_llm_is_kept(name: str, own: int | None, expected: int | None) -> None:
    """The user's own limit is kept under any name; "no limit" selects this project's default."""
    kind = type("Limited", (PlainLLM,), {"__annotations__": {name: "int | None"}, name: 256})
    assert (
        ChatUrial(llm=kind(**{name: own}), prompt=PROMPT)._call({}).parameters.max_tokens
        == expected
    )
    assert ChatUrial(llm=kind(), prompt=PROMPT)._call({}).parameters.max_tokens is None


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> type[StreamingLLM]:
    """Return a class like LangChain's whose calls must not overlap; it records when they do."""
    busy = threading.Lock()

    class Engine(StreamingLLM):
        overlapped: list[str] = []  # noqa: RUF012 - a field: pydantic copies it
        threads: list[str] = []  # noqa: RUF012 - a field: pydantic copies it

        def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
            self.threads.append(threading.current_thread().name)
            if not busy.acquire(blocking=False):
                self.overlapped.append("call")
                return self.reply
            time.sleep(0.02)
            busy.release()
            return self.reply

        def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
            self.threads.append(threading.current_thread().name)
            if not busy.acquire(blocking=False):
                self.overlapped.append("stream")
            try:
                yield from super()._stream(prompt)
            finally:
                busy.release()

    monkeypatch.setattr(Engine, "__module__", "langchain_of_somebody")
    monkeypatch.setitem(_BY_CLASS, "Engine", Capabilities(thread_safe=False))
    return Engine


async def test_an_engine_in_this_process_is_called_by_one_thread(
    in_process: type[StreamingLLM],
) -> None:
    """Calls of one LLM never overlap, through however many chat models and however they come."""
    import asyncio

    llm: Any = in_process(seconds=0.001)
    chats = [ChatUrial(llm=llm, prompt=PROMPT) for _ in range(2)]
    chats.append(ChatUrial(llm=llm.bind(x=1), prompt=PROMPT))

    async def stream(chat: ChatUrial) -> str:
        return "".join([chunk.text async for chunk in chat.astream("Hi")])

    replies = await asyncio.gather(
        *(chat.ainvoke("Hi") for chat in chats),
        *(asyncio.to_thread(chat.invoke, "Hi") for chat in chats),
        *map(stream, chats),
    )
    assert [getattr(reply, "content", reply) for reply in replies] == ["Hello!"] * 9
    assert llm.overlapped == []
    assert len(set(llm.threads)) == 1


def test_such_an_engine_may_be_asked_from_within_its_own_stream(
    in_process: type[StreamingLLM],
) -> None:
    """A call made while its caller reads a stream waits for the stream and does not deadlock."""
    chat = ChatUrial(llm=in_process(), prompt=PROMPT)
    asked = [chat.invoke("And?").content for chunk in chat.stream("Hi") if chunk.text == "H"]
    assert asked == ["Hello!"]
