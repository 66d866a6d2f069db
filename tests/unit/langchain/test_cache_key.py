"""Cache: entries are shared by what gives the same replies, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from fake_models import PROMPT, EchoModel, PlainLLM
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import FakeListLLM

from langchain_urial import ChatUrial
from urial_core import Prompt, load_prompt
from urial_core.testing import FakeModel

OTHER_PROMPT = Prompt(name="tiny", instruction="Be brief.")
"""Other text under the same name."""


def shares_entries(first: ChatUrial, second: ChatUrial, **kwargs: Any) -> bool:
    """Whether the second finds what the first put into a cache."""
    cache = InMemoryCache()
    first.cache = second.cache = cache
    first.invoke("Hi", **kwargs)
    entries = len(cache._cache)
    second.invoke("Hi", **kwargs)
    assert entries == 1
    return len(cache._cache) == 1


def chat(llm: Any = None, **fields: Any) -> ChatUrial:
    """A chat model around an LLM, by default the same for all."""
    return ChatUrial(llm=llm or FakeModel("same"), **{"prompt": PROMPT, **fields})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (chat(), chat()),
        (chat(), chat(prompt=Prompt(name="tiny", instruction="Be kind."))),
        (chat(prompt="short"), chat(prompt=load_prompt("short"))),
        (chat(), chat(stop=[])),
        (chat(stop=["a", "b"]), chat(stop=["a", "b", "a"])),
        (chat(PlainLLM()), chat(PlainLLM())),
        (chat(PlainLLM().bind(x=1)), chat(PlainLLM().bind(x=1))),
        (chat(PlainLLM().bind(max_tokens=5)), chat(PlainLLM(), max_tokens=5)),
    ],
    ids=range(8),
)
def test_what_answers_alike_shares_its_entries(first: ChatUrial, second: ChatUrial) -> None:
    """Two chat models of the same model, prompt and parameters find each other's replies."""
    assert shares_entries(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (chat(FakeModel("one")), chat(FakeModel("two"))),
        (chat(PlainLLM(reply="one")), chat(PlainLLM(reply="two"))),
        (chat(FakeModel("same", name="x")), chat(FakeModel("same", name="y"))),
        (chat(FakeListLLM(responses=["a"])), chat(PlainLLM())),
        (chat(), chat(prompt=OTHER_PROMPT)),
        (chat(), chat(prompt="short")),
        *[
            (chat(), chat(**{name: value}))
            for name, value in {
                "temperature": 0.5,
                "max_tokens": 5,
                "top_p": 0.5,
                "top_k": 5,
                "repetition_penalty": 1.2,
                "frequency_penalty": 0.5,
                "presence_penalty": 0.5,
                "seed": 1,
                "n": 2,
                "stop": ["END"],
                "logprobs": True,
                "top_logprobs": 3,
                "prefill": True,
                "overflow": "truncate",
                "context_window": 4000,
                "model": "other",
            }.items()
        ],
        (chat(PlainLLM().bind(logit_bias={"1": 2})), chat(PlainLLM())),
        (chat(PlainLLM().bind(logit_bias={"1": 2})), chat(PlainLLM().bind(logit_bias={"1": 3}))),
        (chat(PlainLLM().bind(stop=["x"])), chat(PlainLLM())),
        (chat(PlainLLM().bind(temperature=0.5)), chat(PlainLLM())),
    ],
)
def test_what_may_answer_otherwise_shares_no_entry(first: ChatUrial, second: ChatUrial) -> None:
    """Another model, prompt, parameter or bound argument is another entry."""
    assert not shares_entries(first, second)


def test_an_llm_that_does_not_tell_its_instances_apart_shares_nothing() -> None:
    """Objects of a class without identifying parameters have different keys."""

    class Anonymous(PlainLLM):
        @property
        def _identifying_params(self) -> dict[str, Any]:
            return {}

    one = Anonymous(reply="one")
    assert not shares_entries(chat(one), chat(Anonymous(reply="two")))
    assert shares_entries(chat(one), chat(one))


@pytest.mark.parametrize("kwargs", [{}, {"temperature": 0.5}, {"stop": ["END"]}])
async def test_a_hit_does_not_ask_the_model(kwargs: dict[str, Any]) -> None:
    """What is in the cache is answered from it, sync and async, and says so."""
    model = EchoModel()
    cached = ChatUrial(llm=model, prompt=PROMPT, cache=InMemoryCache())
    first = cached.invoke("Hi", **kwargs)
    again = cached.invoke("Hi", **kwargs)
    later = await cached.ainvoke("Hi", **kwargs)
    assert first.content == again.content == later.content == "re: Hi"
    assert model.calls == [["Hi"]]
    assert (again.usage_metadata or {}).get("total_cost") == 0


def test_parameters_of_the_call_are_part_of_the_key() -> None:
    """The same question asked otherwise is another entry."""
    model = EchoModel()
    cached = ChatUrial(llm=model, prompt=PROMPT, cache=InMemoryCache())
    for kwargs in ({}, {"temperature": 0.5}, {"stop": ["END"]}, {"max_tokens": 5}):
        cached.invoke("Hi", **kwargs)
        cached.invoke("Hi", **kwargs)
    assert len(model.calls) == 4


def test_the_key_is_the_same_in_every_process() -> None:
    """Nothing in the key changes from run to run, so that a cache on disk is of use."""
    assert chat().asdict() == chat().asdict()
    assert "0x" not in chat()._get_llm_string()
    assert " at 0x" not in ChatUrial(llm=PlainLLM(), prompt=PROMPT)._get_llm_string()
