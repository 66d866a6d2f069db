"""Wrapping: make a completion model of whatever a LlamaIndex user has for a base model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.llms.llm import LLM

from llamaindex_urial.capabilities import PACKAGE, capabilities_of
from llamaindex_urial.completion_llm import CompletionLLM, OllamaModel
from urial_core.backends.llama_cpp_python import LlamaModel
from urial_core.backends.wrapping import WrappedModel, find_class, wrap_transformers
from urial_core.completion import is_completion_model
from urial_core.errors import MissingDependencyError, UnsupportedModelError, install_hint

__all__ = ["wrap"]


def wrap(llm: object) -> WrappedModel:
    """Make a completion model of a LlamaIndex LLM, a LangChain LLM, or a completion model.

    Args:
        llm: The object.

    Raises:
        UnsupportedModelError: It is a chat model, or does not complete text.
        MissingDependencyError: It is a LangChain LLM, and ``langchain-core`` is not installed.
    """
    if isinstance(llm, LLM):
        return _wrap_llm(llm)
    modules = (base.__module__ for base in type(llm).__mro__)
    if type(llm).__module__.startswith("langchain") or any(
        module.startswith("langchain_core.") for module in modules
    ):
        return _wrap_langchain(llm)
    if is_completion_model(llm):
        return WrappedModel(llm)
    raise UnsupportedModelError(
        f"{type(llm).__name__} is not a completion LLM: pass a LlamaIndex LLM, a LangChain LLM (a "
        "BaseLLM), a CompletionModel of urial_core, or model='id'."
    )


def _wrap_langchain(llm: object) -> WrappedModel:
    try:
        from langchain_urial.wrapping import wrap as wrap_langchain
    except ImportError as error:
        raise MissingDependencyError(
            f"Wrapping a LangChain LLM needs langchain-core: {install_hint('langchain')}"
        ) from error
    return wrap_langchain(llm)


def _wrap_llm(llm: LLM) -> WrappedModel:
    name = find_class(llm, _WRAPPERS, PACKAGE)
    if name is None and not capabilities_of(llm).completes_plain and _is_chat_model(llm):
        raise UnsupportedModelError(
            f"{type(llm).__name__} is a chat model: it applies its own chat template to every "
            "text. UrialLLM is for base models, which continue text. Use the chat model as it is; "
            "or, for a base model behind an OpenAI-compatible server, pass "
            "OpenAILike(is_chat_model=False)."
        )
    _warn_about_templates(llm)
    return _WRAPPERS[name](llm) if name else WrappedModel(CompletionLLM(llm), _own_parameters(llm))


def _is_chat_model(llm: LLM) -> bool:
    return getattr(llm, "openai_like", False) or llm.metadata.is_chat_model  # VllmServer's switch


def _wrap_huggingface(llm: Any) -> WrappedModel:
    options = {"max_new_tokens": llm.max_new_tokens, **llm.generate_kwargs}
    return wrap_transformers(llm._model, llm._tokenizer, options)  # noqa: SLF001


def _wrap_llama_cpp(llm: Any) -> WrappedModel:
    """Call the object inside: the class drops a call's arguments and is not thread-safe."""
    model = LlamaModel(
        llm._model,  # noqa: SLF001 - the class offers no other way to it
        name=str(llm.model_path),
        cache_key={
            "backend": "LlamaCPP",
            "model_path": llm.model_path,
            "generate_kwargs": repr(llm.generate_kwargs),
            "model_kwargs": repr(llm.model_kwargs),
        },
        settings={k: v for k, v in llm.generate_kwargs.items() if k not in ("stop", "stream")},
    )
    return WrappedModel(model, {"max_tokens": llm.max_new_tokens})


def _wrap_ollama(llm: Any) -> WrappedModel:
    limit = llm.additional_kwargs.get("num_predict")
    return WrappedModel(OllamaModel(llm), {"max_tokens": limit} if (limit or 0) > 0 else {})


_WRAPPERS: Mapping[str, Callable[[Any], WrappedModel]] = {
    "HuggingFaceLLM": _wrap_huggingface,
    "LlamaCPP": _wrap_llama_cpp,
    "Ollama": _wrap_ollama,
    # LlamaIndex's own wrapper does not work with today's LangChain.
    "LangChainLLM": lambda llm: _wrap_langchain(llm.llm),
}


def _own_parameters(llm: LLM) -> dict[str, Any]:
    """Return the token limit and the stop strings that the LLM's owner set on it."""
    limit = next((n for n in ("max_tokens", "max_new_tokens") if n in type(llm).model_fields), "")
    more = getattr(llm, capabilities_of(llm).extra_field or "", None) or {}
    own = {
        "max_tokens": getattr(llm, limit, None),
        "stop": getattr(llm, "stop", None) or more.get("stop"),
    }
    return {name: value for name, value in own.items() if value}


def _warn_about_templates(llm: LLM) -> None:
    """Warn that the wrapped LLM's own templates are not used."""
    names = ("system_prompt", "completion_to_prompt", "messages_to_prompt")
    found = [name for name in names if _is_set_by_user(getattr(llm, name))]
    if found:
        warnings.warn(
            f"{' and '.join(found)} of the {type(llm).__name__} given have no effect: UrialLLM "
            "writes the whole prompt. Set system_prompt on UrialLLM, and leave the others out.",
            stacklevel=14,
        )


def _is_set_by_user(template: object) -> bool:
    """Return whether a text or function was set by the user, and not by the class itself."""
    return bool(template) and not getattr(template, "__module__", "").startswith("llama_index.")
