"""Wrapping: what both adapters use to make a completion model of another library's LLM object."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from pydantic import BaseModel

from urial_core.backends.transformers import TransformersModel
from urial_core.completion import CompletionModel
from urial_core.parameters import GenerationParameters
from urial_core.structured.constraints import JsonSchema

__all__ = [
    "PARAMETERS",
    "Capabilities",
    "WrappedModel",
    "find_class",
    "likely_fields",
    "same_names",
    "with_fields",
    "wrap_transformers",
]

PARAMETERS = frozenset(field.name for field in fields(GenerationParameters))
"""Names of all generation parameters."""

_LIKELY = {
    "max_tokens": ("max_tokens", "max_new_tokens", "num_predict", "n_predict", "max_output_tokens"),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "repetition_penalty": ("repetition_penalty", "repeat_penalty"),
    "frequency_penalty": ("frequency_penalty",),
    "presence_penalty": ("presence_penalty",),
    "dry_multiplier": ("dry_multiplier",),
    "dry_base": ("dry_base",),
    "dry_allowed_length": ("dry_allowed_length",),
    "seed": ("seed", "random_seed"),
}


@dataclass(frozen=True, slots=True)
class WrappedModel:
    """A completion model, and what its owner had set on the object that it wraps.

    Attributes:
        model: The model.
        parameters: Generation parameters by name. Settings of the chat model and arguments of a
            call take precedence over them.
    """

    model: CompletionModel
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """How an LLM class of a framework has to be called; the adapters add what is particular.

    Attributes:
        fields: This project's parameter names, with the class's own fields for them. A request sets
            them on a copy of the LLM, so they take effect however the class builds its calls.
        max_stops: The most stop strings that are accepted; None for no limit.
        thread_safe: Whether calls may overlap. Engines in this process keep one state.
        json_schema: Makes the keyword arguments that constrain a call to a JSON schema; None where
            the class cannot.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    max_stops: int | None = None
    thread_safe: bool = True
    json_schema: Callable[[JsonSchema], Mapping[str, Any]] | None = None


def same_names(*names: str, **others: str) -> dict[str, str]:
    """Map names to themselves, and the keywords, which take precedence, to their values."""
    return {**{name: name for name in names}, **others}


def likely_fields(present: Container[str]) -> dict[str, str]:
    """Map this project's parameter names to those fields of an unknown class that mean the same.

    Args:
        present: Names of the class's fields.
    """
    return {
        ours: next(name for name in theirs if name in present)
        for ours, theirs in _LIKELY.items()
        if any(name in present for name in theirs)
    }


def find_class(llm: object, names: Container[str], package: str) -> str | None:
    """Return the first name, among these, of a class or base class of an object.

    Args:
        llm: The object.
        names: Class names to look for.
        package: How the class's module must begin, so that a namesake elsewhere is not found.
    """
    return next(
        (
            base.__name__
            for base in type(llm).__mro__
            if base.__name__ in names and base.__module__.startswith(package)
        ),
        None,
    )


_LLM = TypeVar("_LLM", bound=BaseModel)


def with_fields(llm: _LLM, changes: Mapping[str, Any]) -> _LLM:
    """Return a copy of a pydantic object with changed fields, or itself if nothing changes."""
    changed = {name: value for name, value in changes.items() if getattr(llm, name) != value}
    return llm.model_copy(update=changed) if changed else llm


def wrap_transformers(model: Any, tokenizer: Any, options: Mapping[str, Any]) -> WrappedModel:
    """Run a loaded transformers model in this project's engine.

    The frameworks' own classes for one ignore stop strings, compute the constant prompt prefix
    anew for each call and cannot be cancelled.

    Args:
        model: The causal language model.
        tokenizer: Its fast tokenizer.
        options: What was set for ``generate``: its generation parameters are kept.
    """
    parameters = {name: options[name] for name in PARAMETERS & options.keys()}
    if "max_new_tokens" in options:
        parameters.setdefault("max_tokens", options["max_new_tokens"])
    if options.get("do_sample") is False:
        parameters["temperature"] = 0.0
    return WrappedModel(TransformersModel(model, tokenizer), parameters)
