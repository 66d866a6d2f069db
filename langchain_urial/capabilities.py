"""Capabilities: what each of LangChain's completion LLM classes really does.

Every row was read from the class's source. What a row does not say is assumed of no class: the
reply is cut, and an echoed prompt truncated, whatever the class does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.language_models import BaseLLM

from urial_core.backends.field_names import likely_fields
from urial_core.structured.constraints import JsonSchema

__all__ = ["Capabilities", "capabilities_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """How one class is to be called.

    Attributes:
        fields: This project's parameter names and the class's own fields for them. A request sets
            them on a copy of the LLM, so they take effect however the class builds its calls.
        passes_stop: Whether stop strings help. Not where they are joined to a regular expression,
            where each must be one token, or where they raise.
        max_stops: The most that are accepted, or None.
        call: Keyword arguments every call needs.
        model_argument: The call's keyword argument that names another model, if there is one.
        window_field: The class's field for the context window, where it must be set to fit, since
            the engine drops the front of longer pages without a word; or None.
        greedy: The fields to set for temperature 0, where the engine refuses that number.
        thread_safe: Whether calls may overlap. In-process engines keep one state.
        json_schema: Makes the keyword arguments that hold a call to a JSON schema; or None.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    passes_stop: bool = True
    max_stops: int | None = None
    call: Mapping[str, Any] = field(default_factory=dict)
    model_argument: str | None = None
    window_field: str | None = None
    greedy: Mapping[str, Any] = field(default_factory=dict)
    thread_safe: bool = True
    json_schema: Callable[[JsonSchema], Mapping[str, Any]] | None = None


def _same(*names: str, **others: str) -> dict[str, str]:
    return {**{name: name for name in names}, **others}


def _without_seed(row: Capabilities) -> Capabilities:
    """The row of an older class that has no field for it."""
    return replace(row, fields={k: v for k, v in row.fields.items() if k != "seed"})


_OPENAI = Capabilities(
    fields=_same(
        "max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty", "seed"
    ),
    max_stops=4,
    model_argument="model",
)
_HUGGINGFACE_SERVER = Capabilities(
    fields=_same(
        "temperature", "top_p", "top_k", "repetition_penalty", "seed", max_tokens="max_new_tokens"
    ),
    max_stops=4,
    greedy={  # anything else asks for sampling
        "do_sample": False,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "typical_p": None,
    },
    json_schema=lambda schema: {"grammar": {"type": "json", "value": schema.schema}},
)
_OLLAMA = Capabilities(
    fields=_same(
        "temperature",
        "top_p",
        "top_k",
        "seed",
        max_tokens="num_predict",
        repetition_penalty="repeat_penalty",
    ),
    call={"raw": True},  # else the Modelfile's chat template is applied around the page
    model_argument="model",
    window_field="num_ctx",
    json_schema=lambda schema: {"format": schema.schema},
)
_LOCAL_WITHOUT_STOP = Capabilities(passes_stop=False, thread_safe=False)

_BY_CLASS = {
    "AzureOpenAI": _OPENAI,
    "OpenAI": _OPENAI,
    "VLLMOpenAI": _without_seed(_OPENAI),
    "OllamaLLM": _OLLAMA,
    "Ollama": replace(_without_seed(_OLLAMA), json_schema=None),
    "HuggingFaceEndpoint": _HUGGINGFACE_SERVER,
    "HuggingFaceTextGenInference": replace(_HUGGINGFACE_SERVER, json_schema=None),
    "VLLM": Capabilities(
        fields=_same(
            "temperature",
            "top_p",
            "top_k",
            "frequency_penalty",
            "presence_penalty",
            max_tokens="max_new_tokens",
        ),
        thread_safe=False,
    ),
    "LlamaCpp": Capabilities(
        fields=_same(
            "max_tokens", "temperature", "top_p", "top_k", repetition_penalty="repeat_penalty"
        ),
        thread_safe=False,
    ),
    "Together": Capabilities(
        fields=_same("max_tokens", "temperature", "top_p", "top_k", "repetition_penalty"),
        model_argument="model",
    ),
    "Bedrock": Capabilities(passes_stop=False),  # raises for some providers' models
    "BedrockLLM": Capabilities(passes_stop=False),
    "CTransformers": Capabilities(thread_safe=False),
    "ExLlamaV2": _LOCAL_WITHOUT_STOP,
    "CTranslate2": _LOCAL_WITHOUT_STOP,
    "MLXPipeline": _LOCAL_WITHOUT_STOP,
    # These cut their text afterwards, with `re.split` on unescaped stop strings.
    "GPT4All": Capabilities(
        fields=_same("max_tokens", "top_p", "top_k", temperature="temp"),
        passes_stop=False,
        thread_safe=False,
    ),
    "RWKV": Capabilities(
        fields=_same("temperature", "top_p", max_tokens="max_tokens_per_generation"),
        passes_stop=False,
        thread_safe=False,
    ),
    "Petals": Capabilities(
        fields=_same("temperature", "top_p", "top_k", max_tokens="max_new_tokens"),
        passes_stop=False,
    ),
}


def capabilities_of(llm: BaseLLM) -> Capabilities:
    """Look a class or one of its bases up; probe the fields of an unknown one."""
    for base in type(llm).__mro__:
        if base.__name__ in _BY_CLASS and base.__module__.partition(".")[0].startswith("langchain"):
            return _BY_CLASS[base.__name__]
    return Capabilities(fields=likely_fields(type(llm).model_fields))
