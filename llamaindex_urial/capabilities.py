"""Capabilities: how each of LlamaIndex's LLM classes has to be called to continue a plain text.

Every row was read from the class's source. Nothing else is relied on: replies are cut, and echoed
prompts removed, whatever the class does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llama_index.core.llms import CustomLLM
from llama_index.core.llms.llm import LLM

from urial_core.backends import wrapping
from urial_core.backends.wrapping import find_class, likely_fields, same_names
from urial_core.parameters import DRY, RULES, SAMPLING

__all__ = ["PACKAGE", "Capabilities", "capabilities_of"]

PACKAGE = "llama_index."
"""How the modules of LlamaIndex's classes begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities(wrapping.Capabilities):
    """How one class has to be called.

    Attributes:
        arguments: This project's parameter names, with the call's keyword arguments for them.
        stop: The call's keyword argument for stop strings; None without one.
        extra_field: The class's field of further parameters, from which stop strings have to be
            removed, since they would override those of the call; else None.
        completes_plain: Whether it passes a text to its model unchanged, although it calls itself
            a chat model.
        knows_window: Whether the window in its metadata is the model's.
        streams: Whether it streams.
        is_async: Whether its async methods do not block the event loop.
    """

    arguments: Mapping[str, str] = field(default_factory=dict)
    stop: str | None = None
    extra_field: str | None = None
    completes_plain: bool = False
    knows_window: bool = True
    streams: bool = True
    is_async: bool = True


_VLLM = same_names(*(name for name in SAMPLING if name not in (*DRY, *RULES)))
_OPENAI = Capabilities(
    fields=same_names("temperature", "max_tokens"),  # these override a call's arguments
    arguments=same_names("top_p", "frequency_penalty", "presence_penalty", "seed"),
    stop="stop",
    max_stops=4,
    extra_field="additional_kwargs",
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
        arguments=same_names(
            *(name for name in SAMPLING if name not in RULES),
            max_tokens="n_predict",
            repetition_penalty="repeat_penalty",
        ),
        stop="stop",
        json_schema=lambda schema: {"json_schema": schema.schema},
        completes_plain=True,
        knows_window=False,
        is_async=False,
    ),
}


def capabilities_of(llm: LLM) -> Capabilities:
    """Look up the row of an object's class or base class; derive one for an unknown class."""
    if (name := find_class(llm, _BY_CLASS, PACKAGE)) is not None:
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
