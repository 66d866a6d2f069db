"""Payloads: the request bodies that a server is sent, in its dialect of the API. Pure.

Servers ignore a field that they do not know, and answer with status 200 all the same. Batch systems
that send requests themselves, such as Ray Data, use these functions together with ``reply_of``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from urial_core.completion import CompletionRequest
from urial_core.composing import ReplyRequest
from urial_core.errors import ParameterError
from urial_core.messages import Message
from urial_core.parameters import DRY, GenerationParameters
from urial_core.structured.constraints import Choice, JsonSchema
from urial_core.structured.json_schema import map_subschemas

__all__ = [
    "DIALECTS",
    "GENERIC",
    "LLAMA_CPP",
    "VLLM",
    "Dialect",
    "chat_payload",
    "completion_payload",
]

_MAX_REPETITIONS = 1000
"""Most characters of a string that a llama.cpp grammar is to count: it refuses 2000."""
_SEEDS = (1 << 32) - 1
"""Seeds that every server takes. llama.cpp reads this number as "random", and vLLM reads -1 so."""
_OPENAI = {
    name: name for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed")
}


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
        dry: Returns the fields of the DRY sampler, from parameters of which all are set; None if
            there is none.
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
    dry: Callable[[GenerationParameters], dict[str, Any]] | None = None
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
    optional_sampling={name: name for name in ("top_k", "repetition_penalty", *DRY)},
    streaming={"stream_options": {"include_usage": True}},
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
    streaming={"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    max_stops=4,  # since 0.32
    json_schema=lambda constraint: {
        "structured_outputs": {"json": constraint.schema, "disable_any_whitespace": True}
    },
    choice=lambda constraint: {"structured_outputs": {"choice": list(constraint.options)}},
    scores_any_token=True,
    tokenize=lambda text, begin: {"prompt": text, "add_special_tokens": begin},
)
"""vLLM's OpenAI-compatible server."""

_WHOLE_CONTEXT = 1 << 20
"""More tokens than any window has: llama.cpp's completions API refuses its own -1 for "all"."""


def _llama_cpp_dry(parameters: GenerationParameters) -> dict[str, Any]:
    """Return DRY's fields; it counts the whole context, whoever wrote it."""
    return {
        **parameters.under_names({name: name for name in DRY}),
        "dry_sequence_breakers": ["\n", *(parameters.dry_sequence_breakers or ())],
        "dry_penalty_last_n": _WHOLE_CONTEXT,
    }


LLAMA_CPP = Dialect(
    name="llama.cpp",
    sampling={**_OPENAI, "top_k": "top_k", "repetition_penalty": "repeat_penalty"},
    always={
        "min_p": 0.0,
        # The tokens that a penalty counts; llama.cpp's own default. They reach into the question at
        # first. With fewer, replies quote a short passage better, and run on and loop more often.
        "repeat_last_n": 64,
        "verbose": True,  # reports the stop string that ended the completion
    },
    penalizes_recent_only=True,
    dry=_llama_cpp_dry,
    streaming={"timings_per_token": True},  # without it, usage comes only with the last event
    min_logprobs=1,
    json_schema=lambda constraint: {"json_schema": _for_gbnf(constraint.schema)},
    choice=lambda constraint: {"grammar": _gbnf_of(constraint)},
    tokenize=lambda text, begin: {"content": text, "add_special": begin, "parse_special": False},
    tokenizes_as_text=True,
    slots=True,
)
"""llama.cpp's ``llama-server``."""

DIALECTS = {dialect.name: dialect for dialect in (GENERIC, VLLM, LLAMA_CPP)}
"""All dialects, by name."""


def completion_payload(
    request: CompletionRequest, model: str, dialect: Dialect = GENERIC, *, stream: bool = False
) -> dict[str, Any]:
    """Return the body of ``POST /v1/completions`` for a request.

    ``max_tokens`` and the sampling fields are always sent, since servers have other defaults. A
    seed that a server would refuse, or take for "random", is sent as another one, always the same.
    ``repetition_penalty`` is off unless set, where servers count the prompt's tokens too: it would
    keep the model from the style that the few-shot examples teach. It is also off for JSON and
    choices, which repeat what the user asked for, and where DRY is on, which ends loops without it:
    the last example is among the tokens that it counts, so a model would not greet as that does.
    The prompt has no begin-of-text token; servers add it.

    Args:
        request: The request; a constraint that the dialect has no fields for is left out.
        model: The model's name on the server.
        dialect: Which fields the server understands.
        stream: Whether the completion is to be streamed.
    """
    parameters, resolved = request.parameters, request.parameters.resolved()
    is_free = request.constraint is None
    dry = dialect.dry if is_free and resolved.dry_multiplier else None
    default_improves = dialect.penalizes_recent_only and is_free and not dry
    if parameters.repetition_penalty is None and not default_improves:
        resolved = resolved.replace(repetition_penalty=1.0)
    payload: dict[str, Any] = {
        "model": model,
        "prompt": request.prompt,
        "max_tokens": request.max_tokens,
        **resolved.under_names(dialect.sampling),
        **parameters.under_names(dialect.optional_sampling),
        **dialect.always,
    }
    if parameters.seed is not None:
        payload["seed"] = parameters.seed % _SEEDS
    if dry:
        payload |= dry(resolved)
    if constraint := _constraint_fields(request, dialect):
        payload |= constraint  # it ends by itself; a stop string could cut it
    else:
        payload["stop"] = list(dict.fromkeys(request.stop))[: dialect.max_stops]
    if parameters.logprobs is not None:
        payload["logprobs"] = max(parameters.logprobs, dialect.min_logprobs)
    if stream:
        payload |= {"stream": True, **dialect.streaming}
    return payload


def chat_payload(
    request: ReplyRequest, messages: Sequence[Message], model: str, dialect: Dialect = GENERIC
) -> dict[str, Any]:
    """Return the body of ``POST /v1/chat/completions``, for runners that take chats only.

    The server needs the request's prompt as its chat template (see ``urial template``) and then
    composes the prompt itself. ``vllm run-batch`` is such a runner.

    Args:
        request: The composed messages, for the stop strings, which no template has, the length
            limit and the sampling parameters.
        messages: The conversation, in text.
        model: The model's name on the server.
        dialect: Which fields the server understands.

    Raises:
        ParameterError: The request has tools or a response format, or is plain text.
    """
    if request.tools or request.response_format or request.format is None:
        raise ParameterError(
            "The request has tools or a response format, or is plain text, which a chat template "
            "cannot write: send completion_payload to /v1/completions."
        )
    payload = completion_payload(request, model, dialect)
    del payload["prompt"]
    chat = [{"role": message.role, "content": message.text} for message in messages]
    if request.prefill:
        payload |= {"add_generation_prompt": False, "continue_final_message": True}
    if (alternatives := payload.pop("logprobs", None)) is not None:
        payload |= {"logprobs": True, "top_logprobs": alternatives}
    return {**payload, "messages": chat}


def _constraint_fields(request: CompletionRequest, dialect: Dialect) -> dict[str, Any]:
    """Return the fields that constrain a completion; none where the dialect has none."""
    match request.constraint:
        case Choice() as choice if dialect.choice:
            return dialect.choice(choice)
        case JsonSchema() as schema if dialect.json_schema:
            return dialect.json_schema(schema)
    return {}


def _for_gbnf(schema: Any) -> Any:
    """Return a schema without what llama.cpp refuses to translate into its grammars."""
    if not isinstance(schema, dict):
        return schema
    new = map_subschemas(schema, _for_gbnf)
    pattern = str(new.get("pattern", "^$"))
    if not (pattern.startswith("^") and pattern.endswith("$")) or "(?" in pattern:
        del new["pattern"]
    if new.get("maxLength", 0) > _MAX_REPETITIONS:
        del new["maxLength"]
    return new


def _gbnf_of(choice: Choice) -> str:
    """Return the choice as a GBNF grammar, whose strings are escaped as JSON's are."""
    options = " | ".join(json.dumps(text, ensure_ascii=False) for text in choice.options)
    return f"root ::= {options}"
