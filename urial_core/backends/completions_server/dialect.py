"""Dialects: what servers of one and the same API understand differently.

Servers ignore a field that they do not know, and answer with status 200 all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from urial_core.errors import ParameterError
from urial_core.structured.constraints import Choice, JsonSchema

__all__ = ["DIALECTS", "GENERIC", "LLAMA_CPP", "VLLM", "Dialect", "dialect_named"]

_OPENAI = {
    name: name for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed")
}
_USAGE_IN_STREAM = {"include_usage": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Describe the request fields of one kind of server.

    Attributes:
        name: The dialect's name.
        sampling: This project's parameter names and the server's. These are always sent: servers
            have other defaults, such as a temperature of 0.8.
        optional_sampling: The same for parameters that a strict server may refuse: sent only if
            set.
        always: Fields of every request.
        streaming: Fields of every streamed request.
        penalizes_recent_only: Whether a repetition penalty counts a few recent tokens and not the
            whole prompt. Only then does the default penalty improve replies.
        max_stops: The number of stop strings that are accepted; None for any number.
        min_logprobs: The least number of alternatives to ask for; below it, no log-probabilities
            are reported at all.
        prompt_lists: Whether requests that differ only in their prompt are sent as one request with
            a list of prompts. Otherwise each is sent by itself, concurrently.
        json_schema: Returns the fields that constrain a completion to a schema; None if there are
            none.
        choice: Returns the fields that constrain a completion to one of several texts; None if
            there are none.
        scores_any_token: Whether it reports the log-probabilities of tokens given by their ids.
        tokenize: Returns the body for ``/tokenize``, from a text and whether the begin-of-text
            token precedes it; None if there is no such path.
        tokenizes_as_text: Whether ``/tokenize`` can treat special tokens spelled out in a text as
            plain text. Prompts are then sent as token ids, so that no message can inject one.
        slots: Whether the prefix cache is kept per slot rather than shared by all requests.
    """

    name: str
    sampling: Mapping[str, str]
    optional_sampling: Mapping[str, str] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    streaming: Mapping[str, Any] = field(default_factory=dict)
    penalizes_recent_only: bool = False
    max_stops: int | None = None
    min_logprobs: int = 0
    prompt_lists: bool = False
    json_schema: Callable[[JsonSchema], dict[str, Any]] | None = None
    choice: Callable[[Choice], dict[str, Any]] | None = None
    scores_any_token: bool = False
    tokenize: Callable[[str, bool], dict[str, Any]] | None = None
    tokenizes_as_text: bool = False
    slots: bool = False


GENERIC = Dialect(
    name="generic",
    sampling=_OPENAI,
    optional_sampling={"top_k": "top_k", "repetition_penalty": "repetition_penalty"},
    streaming={"stream_options": _USAGE_IN_STREAM},
    max_stops=4,
    prompt_lists=True,  # one request where rate limits count requests; usage is only a sum then
)
"""Any server with ``/v1/completions``: by default, only fields of OpenAI's own API are sent."""

VLLM = Dialect(
    name="vllm",
    sampling={**_OPENAI, "top_k": "top_k", "repetition_penalty": "repetition_penalty"},
    always={
        "min_p": 0.0,
        "include_stop_str_in_output": True,  # the decoder recognizes the reply's end by it
    },
    streaming={"stream_options": {**_USAGE_IN_STREAM, "continuous_usage_stats": True}},
    max_stops=4,  # since 0.32
    json_schema=lambda constraint: {
        "structured_outputs": {"json": constraint.schema, "disable_any_whitespace": True}
    },
    choice=lambda constraint: {"structured_outputs": {"choice": list(constraint.options)}},
    scores_any_token=True,
    tokenize=lambda text, begin: {"prompt": text, "add_special_tokens": begin},
)
"""vLLM's OpenAI-compatible server."""

LLAMA_CPP = Dialect(
    name="llama.cpp",
    sampling={**_OPENAI, "top_k": "top_k", "repetition_penalty": "repeat_penalty"},
    always={
        "min_p": 0.0,
        "repeat_last_n": 64,  # the tokens that a penalty counts; llama.cpp's own default
        "verbose": True,  # reports the stop string that ended the completion
    },
    penalizes_recent_only=True,
    streaming={"timings_per_token": True},  # without it, usage comes only with the last event
    min_logprobs=1,
    json_schema=lambda constraint: {"json_schema": constraint.schema},
    choice=lambda constraint: {"grammar": _gbnf_of(constraint)},
    tokenize=lambda text, begin: {"content": text, "add_special": begin, "parse_special": False},
    tokenizes_as_text=True,
    slots=True,
)
"""llama.cpp's ``llama-server``."""

DIALECTS = {dialect.name: dialect for dialect in (GENERIC, VLLM, LLAMA_CPP)}
"""All dialects, by name."""


def dialect_named(name: str) -> Dialect:
    """Return the dialect of a name.

    Raises:
        ParameterError: There is no dialect of that name.
    """
    if name not in DIALECTS:
        raise ParameterError(f"dialect is {name!r}: use one of {', '.join(DIALECTS)}.")
    return DIALECTS[name]


def _gbnf_of(choice: Choice) -> str:
    """Return the choice as a GBNF grammar, whose strings are escaped as JSON's are."""
    options = " | ".join(json.dumps(text, ensure_ascii=False) for text in choice.options)
    return f"root ::= {options}"
