"""Capabilities: how each of LangChain's completion LLM classes has to be called.

Every row was read from the class's source. Nothing else is relied on: replies are cut, and echoed
prompts removed, whatever the class does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.language_models import BaseLLM

from urial_core.backends import wrapping
from urial_core.backends.wrapping import find_class, likely_fields, same_names

__all__ = ["Capabilities", "capabilities_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities(wrapping.Capabilities):
    """How one class has to be called.

    Attributes:
        passes_stop: Whether to pass stop strings: not where they are joined to a regular
            expression, where each must be one token, or where they raise.
        call: Keyword arguments that every call needs.
        model_argument: The call's keyword argument that names another model; None without one.
        window_field: The class's field for the context window, where it has to be set for each
            request, since the engine silently truncates longer prompts; else None.
        greedy: The fields to set for temperature 0, where the engine refuses that number.
    """

    passes_stop: bool = True
    call: Mapping[str, Any] = field(default_factory=dict)
    model_argument: str | None = None
    window_field: str | None = None
    greedy: Mapping[str, Any] = field(default_factory=dict)


_OPENAI = Capabilities(max_stops=4, model_argument="model")
_HUGGINGFACE_SERVER = Capabilities(
    max_stops=4,
    greedy={  # anything else makes it sample
        "do_sample": False,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "typical_p": None,
    },
    json_schema=lambda schema: {"grammar": {"type": "json", "value": schema.schema}},
)
_OLLAMA = Capabilities(
    call={"raw": True},  # else the Modelfile's chat template is applied to the prompt
    model_argument="model",
    window_field="num_ctx",
    json_schema=lambda schema: {"format": schema.schema},
)
_LOCAL = Capabilities(thread_safe=False)
_LOCAL_WITHOUT_STOP = Capabilities(passes_stop=False, thread_safe=False)

_BY_CLASS = {
    "AzureOpenAI": _OPENAI,
    "OpenAI": _OPENAI,
    "VLLMOpenAI": _OPENAI,
    "OllamaLLM": _OLLAMA,
    "Ollama": replace(_OLLAMA, json_schema=None),
    "HuggingFaceEndpoint": _HUGGINGFACE_SERVER,
    "HuggingFaceTextGenInference": replace(_HUGGINGFACE_SERVER, json_schema=None),
    "VLLM": _LOCAL,
    "Together": Capabilities(model_argument="model"),
    "Bedrock": Capabilities(passes_stop=False),  # raises for some providers' models
    "BedrockLLM": Capabilities(passes_stop=False),
    "CTransformers": _LOCAL,
    "ExLlamaV2": _LOCAL_WITHOUT_STOP,
    "CTranslate2": _LOCAL_WITHOUT_STOP,
    "MLXPipeline": _LOCAL_WITHOUT_STOP,
    # These cut the text afterwards, with `re.split` on unescaped stop strings.
    "GPT4All": Capabilities(
        fields=same_names("max_tokens", "top_p", "top_k", temperature="temp"),
        passes_stop=False,
        thread_safe=False,
    ),
    "RWKV": Capabilities(
        fields=same_names("temperature", "top_p", max_tokens="max_tokens_per_generation"),
        passes_stop=False,
        thread_safe=False,
    ),
    "Petals": Capabilities(passes_stop=False),
}


def capabilities_of(llm: BaseLLM) -> Capabilities:
    """Look up the row of an object's class or base class; an unknown class has the defaults.

    Fields that a row leaves out are those of the class that have the parameters' usual names.
    """
    row = _BY_CLASS.get(find_class(llm, _BY_CLASS, "langchain") or "", Capabilities())
    return row if row.fields else replace(row, fields=likely_fields(type(llm).model_fields))
