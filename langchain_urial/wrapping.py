"""Wrapping: make a completion model of whatever a LangChain user has for a base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.runnables import RunnableBinding

from langchain_urial.capabilities import capabilities_of
from langchain_urial.completion_llm import CompletionLLM
from urial_core.backends.llama_cpp_python import LlamaModel
from urial_core.backends.wrapping import PARAMETERS, WrappedModel, find_class, wrap_transformers
from urial_core.completion import is_completion_model
from urial_core.errors import UnsupportedModelError

__all__ = ["wrap"]

_UNLIMITED = (None, -1, -2)
"""Values by which LLMs set no limit."""
_LLAMA_SETTINGS = ("temperature", "top_p", "top_k", "repeat_penalty", "grammar")


def wrap(llm: object, encode: Callable[[str], list[int]] | None = None) -> WrappedModel:
    """Make a completion model of a LangChain LLM, a binding of one, or a completion model.

    Args:
        llm: The object.
        encode: Its tokenizer, if known.

    Raises:
        UnsupportedModelError: It is a chat model, or does not complete text.
    """
    bound: Mapping[str, Any] = {}
    if isinstance(llm, RunnableBinding):
        bound = llm.kwargs
        llm = llm.bound
    elif is_completion_model(llm) and not isinstance(llm, BaseLLM):
        return WrappedModel(llm)
    if isinstance(llm, BaseChatModel):
        raise UnsupportedModelError(
            f"{type(llm).__name__} is a chat model already: it takes messages and has its own "
            "template. ChatUrial is for base models, which continue text. Use the chat model as "
            "it is, or wrap the completion class of the same provider."
        )
    if not isinstance(llm, BaseLLM):
        raise UnsupportedModelError(
            f"{type(llm).__name__} is not a completion LLM: pass a LangChain LLM (a BaseLLM, or "
            ".bind(...) of one), a CompletionModel of urial_core, or model='id'. Put .with_retry() "
            "and .with_fallbacks() around ChatUrial, not inside."
        )
    if type(llm).__name__ == "HuggingFacePipeline":
        return _wrap_pipeline(llm, bound)
    parameters = {name: value for name, value in bound.items() if name in PARAMETERS}
    call = {name: value for name, value in bound.items() if name not in PARAMETERS}
    is_llama = find_class(llm, ("LlamaCpp",), "langchain")
    model = _llama(llm, call) if is_llama else CompletionLLM(llm, call, encode)
    return WrappedModel(model, {**_own_parameters(llm), **parameters})


def _own_parameters(llm: BaseLLM) -> dict[str, Any]:
    """Return the token limit and the stop strings that the LLM's owner set on it."""
    limit = capabilities_of(llm).fields.get("max_tokens", "max_tokens")
    own = {
        ours: getattr(llm, theirs, None)
        for ours, theirs in (("max_tokens", limit), ("stop", "stop"))
        if theirs in llm.model_fields_set
    }
    return {name: value for name, value in own.items() if value not in _UNLIMITED}


def _llama(llm: Any, call: Mapping[str, Any]) -> LlamaModel:
    """Call the object inside: the class reports neither why a text ended nor its tokens."""
    defaults = llm._default_params  # noqa: SLF001 - LangChain's extension point
    return LlamaModel(
        llm.client,
        name=str(llm.model_path),
        cache_key={"backend": "LlamaCpp", **llm._identifying_params},  # noqa: SLF001 - as above
        settings={name: defaults[name] for name in _LLAMA_SETTINGS if name in defaults},
        call=call,
    )


def _wrap_pipeline(llm: Any, bound: Mapping[str, Any]) -> WrappedModel:
    options = {**(llm.pipeline_kwargs or {}), **bound, **bound.get("pipeline_kwargs", {})}
    return wrap_transformers(llm.pipeline.model, llm.pipeline.tokenizer, options)
