"""Wrap whatever a user calls a base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.runnables import RunnableBinding

from langchain_urial.capabilities import capabilities_of
from langchain_urial.completion_llm import CompletionLLM
from urial_core.backends.llama_cpp_python import Llama, LlamaModel
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.wrapped import WrappedModel
from urial_core.completion import is_completion_model
from urial_core.errors import UnsupportedModelError
from urial_core.parameters import GenerationParameters

__all__ = ["wrap"]

_PARAMETERS = {field.name for field in fields(GenerationParameters)}

_UNLIMITED = (None, -1, -2)
"""What LLMs call no limit of their own."""


def wrap(llm: object, encode: Callable[[str], list[int]] | None = None) -> WrappedModel:
    """Make a completion model of a LangChain LLM, a binding of one, or a completion model.

    Args:
        llm: The object.
        encode: Its tokenizer, if known.

    Raises:
        UnsupportedModelError: It is a chat model, or nothing that completes text.
    """
    if isinstance(llm, RunnableBinding):
        return _wrap_llm(llm.bound, llm.kwargs, encode)
    if is_completion_model(llm) and not isinstance(llm, BaseLLM):
        return WrappedModel(llm)
    return _wrap_llm(llm, {}, encode)


def _wrap_llm(
    llm: object, bound: Mapping[str, Any], encode: Callable[[str], list[int]] | None
) -> WrappedModel:
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
    parameters = {name: value for name, value in bound.items() if name in _PARAMETERS}
    call = {name: value for name, value in bound.items() if name not in _PARAMETERS}
    if type(llm).__name__ == "HuggingFacePipeline":
        return _wrap_pipeline(llm, {**call, **parameters})
    kept = _own(llm)
    model = _llama(llm, call) if _is_a(llm, "LlamaCpp") else CompletionLLM(llm, call, encode)
    return WrappedModel(model, {**kept, **parameters})


def _is_a(llm: BaseLLM, name: str) -> bool:
    """Whether an LLM is of this class of LangChain's, or of one made from it."""
    return any(
        base.__name__ == name and base.__module__.startswith("langchain")
        for base in type(llm).__mro__
    )


def _own(llm: BaseLLM) -> dict[str, Any]:
    """The limit and the stop strings that the LLM's owner set on it."""
    limit = capabilities_of(llm).fields.get("max_tokens", "max_tokens")
    own = {
        ours: getattr(llm, theirs, None)
        for ours, theirs in (("max_tokens", limit), ("stop", "stop"))
        if theirs in llm.model_fields_set
    }
    return {name: value for name, value in own.items() if value not in _UNLIMITED}


def _llama(llm: Any, call: Mapping[str, Any]) -> LlamaModel:
    """Call the object inside: the class tells neither why a text ended nor what it took."""
    defaults = {**llm._default_params}
    settings = ("temperature", "top_p", "top_k", "repeat_penalty", "grammar")
    llama = Llama(
        model=llm.client,
        name=str(llm.model_path),
        cache_key={"engine": "LlamaCpp", **llm._identifying_params},
        settings={name: defaults[name] for name in settings if name in defaults},
    )
    return LlamaModel(llama, call)


def _wrap_pipeline(llm: Any, bound: Mapping[str, Any]) -> WrappedModel:
    """Run the pipeline's own model in our engine.

    The pipeline itself ignores stop strings, repeats the prompt, computes the constant page anew
    for each call and cannot be stopped.
    """
    options = {**(llm.pipeline_kwargs or {}), **bound, **bound.get("pipeline_kwargs", {})}
    parameters = {name: options[name] for name in _PARAMETERS & options.keys()}
    if "max_new_tokens" in options:
        parameters.setdefault("max_tokens", options["max_new_tokens"])
    if options.get("do_sample") is False:
        parameters["temperature"] = 0.0
    pipeline = llm.pipeline
    return WrappedModel(TransformersModel(pipeline.model, pipeline.tokenizer), parameters)
