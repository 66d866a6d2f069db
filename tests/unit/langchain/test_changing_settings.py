"""Changing a chat model's settings after it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_models import PROMPT
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import SecretStr, ValidationError

from langchain_urial import ChatUrial
from urial_core import ParameterError, PromptError, UrialError
from urial_core.testing import FakeModel

CHANGES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "temperature": (0.5, lambda sent: sent.parameters.temperature),
    "top_p": (0.5, lambda sent: sent.parameters.top_p),
    "top_k": (5, lambda sent: sent.parameters.top_k),
    "repetition_penalty": (1.5, lambda sent: sent.parameters.repetition_penalty),
    "frequency_penalty": (0.5, lambda sent: sent.parameters.frequency_penalty),
    "presence_penalty": (0.5, lambda sent: sent.parameters.presence_penalty),
    "seed": (7, lambda sent: sent.parameters.seed),
    "max_tokens": (77, lambda sent: sent.parameters.max_tokens),
    "top_logprobs": (3, lambda sent: sent.parameters.logprobs),
    "stop": (["x"], lambda sent: list(sent.parameters.stop)),
}
"""Fields, new values, and where a request shows them."""


def changed(way: str, chat: ChatUrial, /, **update: Any) -> ChatUrial:
    """Return a chat model with changed settings: itself, or a copy."""
    if way == "copied":
        return chat.model_copy(update=update)
    if way == "deep":
        return chat.model_copy(update=update, deep=True)
    for name, value in update.items():
        setattr(chat, name, value)
    return chat


def chat_of(**fields: Any) -> ChatUrial:
    """Return a chat model around a fake."""
    return ChatUrial(llm=FakeModel(), **{"prompt": PROMPT, **fields})


WAYS = pytest.mark.parametrize("way", ["set", "copied", "deep"])


@WAYS
@pytest.mark.parametrize("name", CHANGES)
def test_a_parameter_applies_from_the_next_call_on(way: str, name: str) -> None:
    """It reaches the request, and a copy leaves the original as it was."""
    value, shown = CHANGES[name]
    chat = chat_of()
    other = changed(way, chat, **{name: value})
    other.invoke("Hi")
    assert shown(other.llm.requests[-1]) == value
    assert (getattr(chat, name) == value) is (way == "set")


@WAYS
def test_a_prompt_applies_from_the_next_call_on(way: str) -> None:
    """Its prefix begins the request, and the profile plans with what it leaves of the window."""
    chat = chat_of(context_window=4096)
    room = (chat.profile or {})["max_input_tokens"]
    other = changed(way, chat, prompt="short")
    other.invoke("Hi")
    assert other.llm.requests[-1].prompt.startswith(other.urial.prompt.prefix)
    assert other.urial.prompt.name == "short"
    assert (other.profile or {})["max_input_tokens"] < room


@WAYS
def test_other_settings_apply(way: str) -> None:
    """Window, overflow, prefill, log-probabilities, number and name."""
    other = changed(
        way, chat_of(), context_window=512, overflow="truncate", prefill=True, n=2, model_name="x"
    )
    assert (other.urial.context_window, other.urial.overflow) == (512, "truncate")
    assert (other.profile or {})["name"] == "x"
    result = other.generate([[HumanMessage("Hi"), AIMessage("Well")]])
    assert len(result.generations[0]) == 2
    assert other.llm.requests[-1].prompt.endswith("Well")
    assert (result.generations[0][0].generation_info or {})["model_name"] == "x"
    changed(way, other, logprobs=True)


@WAYS
def test_another_model_answers(way: str) -> None:
    """The model given is asked, and metadata has its name."""
    other = changed(way, chat_of(), llm=FakeModel("Other.", name="other"))
    message = other.invoke("Hi")
    assert message.text == "Other."
    assert message.response_metadata["model_name"] == other.model_name == "other"


@WAYS
def test_another_model_id_is_another_model(way: str) -> None:
    """Without ``llm``, name and options decide which model runs."""
    pytest.importorskip("torch")
    chat = ChatUrial(model="a/b", prompt=PROMPT)
    other = changed(way, chat, model_name="c/d", backend_options={"max_batch_size": 2})
    assert other.urial.model.name == "c/d"
    assert other.model_copy(update={"model": "e/f"}).urial.model.name == "e/f"
    assert other.model_copy(update={"max_batch_size": 3}).backend_options == {"max_batch_size": 3}


def test_the_model_stays() -> None:
    """Its caches live in it: what does not concern it, does not wrap it anew."""
    chat = chat_of()
    before = chat._wrapped
    chat.temperature = 0.5
    chat.prompt = "short"
    assert chat._wrapped is before


@WAYS
@pytest.mark.parametrize(
    ("update", "error"),
    [
        ({"temperature": -1.0}, ParameterError),
        ({"temperature": "hot"}, ValidationError),
        ({"prompt": "no such preset"}, PromptError),
        ({"overflow": "explode"}, ValidationError),
        ({"llm": 3}, UrialError),
        ({"timeout": 3.0}, ParameterError),
        ({"max_retries": 3}, ParameterError),
        ({"api_key": SecretStr("k")}, ParameterError),
        ({"no_such_field": 1}, (ParameterError, ValueError)),
    ],
)
def test_what_cannot_apply_is_refused(way: str, update: Any, error: Any) -> None:
    """The settings stay as they were."""
    chat = chat_of()
    with pytest.raises(error):
        changed(way, chat, **update)
    assert (chat.temperature, chat.prompt, chat.overflow) == (None, PROMPT, "error")
    assert chat.invoke("Hi").text == "Hello!"
