"""Capabilities: what each of LlamaIndex's LLM classes really does with a plain text.

Every row was read from the class's source. What a row does not say is assumed of no class: the
reply is cut, and an echoed prompt truncated, whatever the class does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.llms import CustomLLM
from llama_index.core.llms.llm import LLM

from urial_core.backends.field_names import likely_fields

__all__ = ["Capabilities", "capabilities_of", "class_in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """How one class is to be called.

    Attributes:
        fields: This project's parameter names and the class's own fields for them. A request sets
            them on a copy of the LLM, so they take effect whichever way the class builds its calls.
        arguments: This project's parameter names and the keyword arguments that a call takes for
            them.
        stop: The keyword argument of a call for stop strings, or None if there is none.
        max_stops: The most that are accepted, or None.
        bare: The class's field of further parameters, in which stop strings must not stand, since
            they would go before those of the call; or None.
        json_schema: The keyword argument of a call for a JSON schema, or None if there is none.
        completes_plain: Whether it hands a text to its model as it is, although it calls itself a
            chat model.
        knows_window: Whether the window in its metadata is the model's.
        streams: Whether it streams.
        is_async: Whether its async methods leave the event loop free.
        thread_safe: Whether calls may overlap. In-process engines keep one state.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    stop: str | None = None
    max_stops: int | None = None
    bare: str | None = None
    json_schema: str | None = None
    completes_plain: bool = False
    knows_window: bool = True
    streams: bool = True
    is_async: bool = True
    thread_safe: bool = True


def _same(*names: str, **others: str) -> dict[str, str]:
    return {**{name: name for name in names}, **others}


_VLLM = _same(
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "max_tokens",
)

_OPENAI = Capabilities(
    fields=_same("temperature", "max_tokens"),  # these go before a call's arguments
    arguments=_same("top_p", "frequency_penalty", "presence_penalty", "seed"),
    stop="stop",
    max_stops=4,
    bare="additional_kwargs",
)

_BY_CLASS = {
    "OpenAI": _OPENAI,
    "OpenAILike": _OPENAI,
    "Vllm": Capabilities(
        arguments=_VLLM,
        stop="stop",
        knows_window=False,
        streams=False,
        is_async=False,
        thread_safe=False,
    ),
    "VllmServer": Capabilities(arguments=_VLLM, stop="stop", knows_window=False, is_async=False),
    "Llamafile": Capabilities(
        arguments=_same(
            "temperature",
            "top_p",
            "top_k",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            max_tokens="n_predict",
            repetition_penalty="repeat_penalty",
        ),
        stop="stop",
        json_schema="json_schema",
        completes_plain=True,
        knows_window=False,
        is_async=False,
    ),
}


def class_in(llm: object, names: Mapping[str, Any] | tuple[str, ...]) -> str | None:
    """The name, among these, of a LlamaIndex integration's class that an object is of."""
    for base in type(llm).__mro__:
        if base.__name__ in names and base.__module__.startswith("llama_index."):
            return base.__name__
    return None


def capabilities_of(llm: LLM) -> Capabilities:
    """Look a class or one of its bases up; probe an unknown one."""
    if (name := class_in(llm, _BY_CLASS)) is not None:
        return _BY_CLASS[name]
    is_async = (
        next(kind for kind in type(llm).__mro__ if "acomplete" in vars(kind)) is not CustomLLM
    )
    return Capabilities(
        fields=likely_fields(type(llm).model_fields),
        stop="stop" if "stop" in type(llm).model_fields else None,
        is_async=is_async,
        thread_safe=is_async,
    )
