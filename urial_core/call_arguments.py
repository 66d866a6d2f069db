"""Arguments of other chat models: what theirs are called here, and what has no effect."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping
from typing import Any

from urial_core.errors import ParameterError

__all__ = [
    "IGNORED_ARGUMENTS",
    "NESTED_ARGUMENTS",
    "RENAMED_ARGUMENTS",
    "REPLACED_ARGUMENTS",
    "accepted_arguments",
    "flattened_arguments",
    "refuse_replaced_arguments",
]

RENAMED_ARGUMENTS = {
    "max_completion_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "stop_sequences": "stop",
}
"""Other names of arguments, and this project's for them."""

IGNORED_ARGUMENTS = frozenset(
    {
        # a provider's account, routing and storage
        *("service_tier", "user", "user_id", "safety_identifier", "metadata", "store", "container"),
        *("prompt_cache_key", "prompt_cache_retention", "cache_control", "keep_alive", "betas"),
        *("inference_geo", "include", "truncation", "context_management", "safety_settings"),
        # how a tuned model thinks
        *("reasoning", "reasoning_effort", "reasoning_format", "thinking", "thinking_budget"),
        *("include_thoughts", "effort", "verbosity", "strict"),
        # the HTTP request, and the form of the answer
        *("extra_headers", "extra_query", "timeout", "request_timeout", "max_retries"),
        *("stream_options", "stream_usage", "include_usage", "modalities", "output_version"),
        *("use_responses_api", "ls_structured_output_format", "api_version", "reuse_client"),
        # what a class of LlamaIndex is told of its model
        *("is_chat_model", "should_use_structured_outputs", "audio_config", "prompt_key"),
    }
)
"""Arguments without which a reply means the same. Any other unknown one is an error."""

REPLACED_ARGUMENTS = {"functions": "tools", "function_call": "tool_choice"}
"""The OpenAI API's former arguments for tools, and what replaced them: the form is another."""

NESTED_ARGUMENTS = ("additional_kwargs", "generate_kwargs")
"""Dictionaries of further arguments, which constructors of LlamaIndex's LLMs take."""

_UNSET: Mapping[str, Any] = {"n": 1, "logit_bias": {}, "extra_body": {}}
"""Values of arguments that mean the same as leaving them out."""

_warned = set[str]()


def accepted_arguments(given: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Return what was given under this project's names, without what has no effect here.

    A warning lists what is left out, once for each name, unless its value says as much.

    Args:
        given: The arguments.
        known: Names that keep their own meaning.
    """
    given = {
        name: value
        for name, value in given.items()
        if name in known or name not in _UNSET or value != _UNSET[name]
    }
    accepted = dict(given)
    for name in given:
        if name in known:
            continue
        if (ours := RENAMED_ARGUMENTS.get(name)) is not None:
            value = accepted.pop(name)
            accepted.setdefault(ours, value)
        elif name in IGNORED_ARGUMENTS:
            del accepted[name]
    ignored = given.keys() - accepted.keys() - RENAMED_ARGUMENTS.keys()
    if new := sorted(ignored - _warned):
        _warned.update(new)
        warnings.warn(
            f"{', '.join(new)}: without effect, since a base model has nothing of the kind.",
            stacklevel=3,
        )
    return accepted


def refuse_replaced_arguments(given: Container[str]) -> None:
    """Raise if an argument is of the OpenAI API's former function calling.

    No model takes one, a wrapped one neither: it would ignore the functions.

    Raises:
        ParameterError: One is; the error names what to use.
    """
    used = {old: new for old, new in REPLACED_ARGUMENTS.items() if old in given}
    if used:
        raise ParameterError(
            f"{', '.join(used)}: the OpenAI API's former function calling. Use "
            f"{', '.join(f'{new}=' for new in used.values())}, or what sets them. In LangChain: "
            "bind_tools(tools, tool_choice=...), create_agent or create_tool_calling_agent rather "
            "than create_openai_functions_agent, and with_structured_output rather than "
            "create_extraction_chain. In LlamaIndex: chat_with_tools or FunctionAgent."
        )


def flattened_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with those of ``NESTED_ARGUMENTS`` beside them, if they are not given too.

    ``do_sample=False`` among those is a temperature of 0, as in transformers.
    """
    flat = dict(given)
    for nested in NESTED_ARGUMENTS:
        if not isinstance(given.get(nested, {}), Mapping | None):
            continue  # left to be refused
        further = flat.pop(nested, None) or {}
        inner = {name: value for name, value in further.items() if value is not None}
        if inner.pop("do_sample", True) is False:
            inner["temperature"] = 0.0
        for name, value in inner.items():
            flat.setdefault(RENAMED_ARGUMENTS.get(name, name), value)
    return flat
