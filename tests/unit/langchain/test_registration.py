"""Registration: ``init_chat_model("urial:...")`` works when asked for, and only then."""

from __future__ import annotations

import sys

import pytest

from langchain_urial import ChatUrial, register
from urial_core.errors import MissingDependencyError

base = pytest.importorskip("langchain.chat_models.base")
init_chat_model = base.init_chat_model


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore LangChain's own table."""
    monkeypatch.setattr(base, "_BUILTIN_PROVIDERS", dict(base._BUILTIN_PROVIDERS))
    clear = getattr(base._get_chat_model_creator, "cache_clear", lambda: None)
    clear()


def test_importing_registers_nothing() -> None:
    """The provider is unknown until ``register()`` was called."""
    assert "urial" not in base._BUILTIN_PROVIDERS
    with pytest.raises(ValueError, match="urial"):
        init_chat_model("urial:some/model")


@pytest.mark.needs("torch")
def test_registered_models_can_be_named_in_one_string() -> None:
    """After ``register()`` the string names provider and model, and the rest are fields."""
    register()
    register()
    chat = init_chat_model("urial:some/model", temperature=0, max_tokens=9)
    assert isinstance(chat, ChatUrial)
    assert (chat.model_name, chat.temperature, chat.max_tokens) == ("some/model", 0, 9)
    chat = init_chat_model("some/model", model_provider="urial")
    assert isinstance(chat, ChatUrial)


@pytest.mark.needs("torch")
def test_registered_models_can_be_configured() -> None:
    """A model that is named at the call only is a ChatUrial then."""
    register()
    chat = init_chat_model(configurable_fields=("model", "model_provider", "temperature"))
    config = {"configurable": {"model": "urial:some/model", "temperature": 0.5}}
    made = chat._model(config)
    assert isinstance(made, ChatUrial)
    assert (made.model_name, made.temperature) == ("some/model", 0.5)


def test_a_langchain_without_the_table_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where LangChain is missing or has changed, the error says what to install."""
    monkeypatch.delattr(base, "_BUILTIN_PROVIDERS")
    with pytest.raises(MissingDependencyError, match="pip install -U langchain"):
        register()
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(MissingDependencyError, match="pip install -U langchain"):
        register()
