"""Dialects: what servers with one and the same API really want, and do not say when they ignore."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from urial_core.errors import ParameterError
from urial_core.structured.constraints import Choice, JsonSchema

__all__ = ["DIALECTS", "GENERIC", "LLAMA_CPP", "VLLM", "Dialect", "dialect_named"]

_STANDARD = {
    name: name for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one kind of server is spoken to.

    Attributes:
        name: What to call it.
        sampling: This project's parameter names and the server's for them. Those are always sent:
            servers have defaults of their own, such as a temperature of 0.8.
        sampling_if_said: As ``sampling``, for what a strict server would refuse: sent only where
            somebody said it.
        always: Fields that every request carries.
        streaming: Fields that every streamed request carries.
        penalizes_recent: Whether a repetition penalty counts a few recent tokens only, and not the
            whole page's. Only then is the default one of use.
        max_stops: The most stop strings that are accepted; None for any number.
        least_logprobs: The least number of alternatives to ask for; with fewer there are none at
            all.
        lists: Whether prompts alike go as one request with a list of them. If not, each goes by
            itself, all at once.
        json_schema: The fields that hold a completion to a schema; None if there are none.
        choice: The fields that hold a completion to one of a few texts; None if there are none.
        tells_any_token: Whether it tells the log-probabilities of tokens that are asked for.
        tokenize: The body for ``/tokenize``, of a text and whether begin-of-text belongs before it;
            None if there is no such path.
        keeps_text: Whether that leaves special tokens spelled out in a text as text; pages are then
            sent as tokens, so that nobody can slip one in.
        slots: Whether the state of a page is kept per slot, and not for all requests.
    """

    name: str
    sampling: Mapping[str, str]
    sampling_if_said: Mapping[str, str] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    streaming: Mapping[str, Any] = field(default_factory=dict)
    penalizes_recent: bool = False
    max_stops: int | None = None
    least_logprobs: int = 0
    lists: bool = False
    json_schema: Callable[[JsonSchema], dict[str, Any]] | None = None
    choice: Callable[[Choice], dict[str, Any]] | None = None
    tells_any_token: bool = False
    tokenize: Callable[[str, bool], dict[str, Any]] | None = None
    keeps_text: bool = False
    slots: bool = False


GENERIC = Dialect(
    name="generic",
    sampling=_STANDARD,
    sampling_if_said={"top_k": "top_k", "repetition_penalty": "repetition_penalty"},
    streaming={"stream_options": {"include_usage": True}},
    max_stops=4,
    lists=True,  # where requests are counted, a batch should be one; its usage is one sum, though
)
"""Any server with ``/v1/completions``: only what OpenAI's own API knows is sent unasked."""

VLLM = Dialect(
    name="vllm",
    sampling={**_STANDARD, "top_k": "top_k", "repetition_penalty": "repetition_penalty"},
    always={
        "min_p": 0.0,
        "include_stop_str_in_output": True,  # so that a reply's end is seen, and which it was
    },
    streaming={"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    max_stops=4,  # since 0.32
    json_schema=lambda wanted: {
        "structured_outputs": {"json": wanted.schema, "disable_any_whitespace": True}
    },
    choice=lambda wanted: {"structured_outputs": {"choice": list(wanted.options)}},
    tells_any_token=True,
    tokenize=lambda text, begins: {"prompt": text, "add_special_tokens": begins},
)
"""vLLM's OpenAI-compatible server."""

LLAMA_CPP = Dialect(
    name="llama.cpp",
    sampling={**_STANDARD, "top_k": "top_k", "repetition_penalty": "repeat_penalty"},
    always={
        "min_p": 0.0,
        "repeat_last_n": 64,  # the tokens that a penalty counts; llama.cpp's own default, relied on
        "verbose": True,  # tells the stop string that was met
    },
    penalizes_recent=True,
    streaming={"timings_per_token": True},  # usage comes unasked, but only at the end
    least_logprobs=1,
    json_schema=lambda wanted: {"json_schema": wanted.schema},
    choice=lambda wanted: {"grammar": _grammar_of(wanted)},
    tokenize=lambda text, begins: {
        "content": text,
        "add_special": begins,
        "parse_special": False,
    },
    keeps_text=True,
    slots=True,
)
"""llama.cpp's ``llama-server``."""

DIALECTS = {dialect.name: dialect for dialect in (GENERIC, VLLM, LLAMA_CPP)}
"""All of them, by name."""


def dialect_named(name: str) -> Dialect:
    """Look a dialect up.

    Raises:
        ParameterError: There is none of that name.
    """
    if name not in DIALECTS:
        raise ParameterError(f"dialect is {name!r}: use one of {', '.join(DIALECTS)}.")
    return DIALECTS[name]


def _grammar_of(choice: Choice) -> str:
    """The choice in llama.cpp's notation for grammars (GBNF), whose strings escape as JSON's do."""
    options = " | ".join(json.dumps(text, ensure_ascii=False) for text in choice.options)
    return f"root ::= {options}"
