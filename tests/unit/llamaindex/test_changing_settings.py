"""Changing an LLM's settings after it was made."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
from fake_llms import PROMPT
from llama_index.core.callbacks import CallbackManager
from pydantic import SecretStr, ValidationError

from llamaindex_urial import UrialLLM
from urial_core import ParameterError, PromptError
from urial_core.testing import FakeModel


def changed(way: str, llm: UrialLLM, /, **update: Any) -> UrialLLM:
    """Return an LLM with changed settings: itself, or a copy."""
    if way == "copied":
        return llm.model_copy(update=update)
    for name, value in update.items():
        setattr(llm, name, value)
    return llm


WAYS = pytest.mark.parametrize("way", ["set", "copied"])


@WAYS
def test_settings_apply_from_the_next_call_on(way: str) -> None:
    """Each reaches the request."""
    values: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 5,
        "repetition_penalty": 1.5,
        "frequency_penalty": 0.5,
        "presence_penalty": 0.5,
        "seed": 7,
        "max_tokens": 77,
    }
    llm = changed(way, UrialLLM(llm=FakeModel(), prompt=PROMPT), **values, stop=["x"])
    llm.complete("Hi")
    sent = llm.llm.requests[-1].parameters
    assert {name: getattr(sent, name) for name in values} == values
    assert sent.stop == ("x",)
    assert llm.metadata.num_output == ceil(77 / llm._window.ratio)  # in LlamaIndex's tokens


@WAYS
def test_prompt_and_window_change_what_is_planned_with(way: str) -> None:
    """LlamaIndex plans with what the new prompt leaves of the new window."""
    llm = UrialLLM(llm=FakeModel(), prompt=PROMPT, context_window=4096)
    room = llm.metadata.context_window
    other = changed(way, llm, prompt="short")
    assert other.metadata.context_window < room
    assert changed(way, other, context_window=8192).metadata.context_window > room
    other.complete("Hi")
    assert other.llm.requests[-1].prompt.startswith(other.urial.prompt.prefix)


@WAYS
def test_another_model_answers(way: str) -> None:
    """The model given is asked, and metadata has its name."""
    llm = UrialLLM(llm=FakeModel(), prompt=PROMPT)
    other = changed(way, llm, llm=FakeModel("Other.", name="other"))
    assert other.complete("Hi").text == "Other."
    assert other.metadata.model_name == "other"


@WAYS
@pytest.mark.parametrize(
    ("update", "error"),
    [
        ({"temperature": -1.0}, ParameterError),
        ({"prompt": "no such preset"}, PromptError),
        ({"overflow": "explode"}, ValidationError),
        ({"api_key": SecretStr("k")}, ParameterError),
        ({"no_such_field": 1}, (ParameterError, ValueError)),
    ],
)
def test_what_cannot_apply_is_refused(way: str, update: Any, error: Any) -> None:
    """The settings stay as they were."""
    llm = UrialLLM(llm=FakeModel(), prompt=PROMPT)
    with pytest.raises(error):
        changed(way, llm, **update)
    assert llm.complete("Hi").text == "Hello!"


@WAYS
def test_the_frameworks_own_fields_are_its_own_affair(way: str) -> None:
    """LlamaIndex sets some of them itself."""
    manager = CallbackManager([])
    llm = UrialLLM(llm=FakeModel(), prompt=PROMPT)
    other = changed(way, llm, callback_manager=manager, is_function_calling_model=False)
    assert other.callback_manager is manager
    assert not other.metadata.is_function_calling_model
