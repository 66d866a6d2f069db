"""The shape of responses: a server's fields are of the types that are read from them, or an error.

Unknown fields pass; absent ones and nulls mean the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Required

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # before Python 3.12, pydantic takes no other

from urial_core.errors import GenerationError, shown

__all__ = ["checked"]

_Tokens = Annotated[int, Field(ge=0, le=1 << 53)]


class _Message(TypedDict, total=False):
    content: str | None


class _ChatAlternative(TypedDict):
    token: str
    logprob: float | None


class _ChatToken(_ChatAlternative, total=False):
    top_logprobs: list[_ChatAlternative] | None


class _Logprobs(TypedDict, total=False):
    content: list[_ChatToken] | None
    tokens: list[str] | None
    token_logprobs: list[float | None] | None
    top_logprobs: list[dict[str, float | None] | None] | None


class _PromptToken(TypedDict, total=False):
    logprob: Required[float]
    rank: Required[Annotated[int, Field(ge=1)]]
    decoded_token: str | None


class _Choice(TypedDict, total=False):
    index: int | None
    text: str | None
    message: _Message | None
    delta: _Message | None
    finish_reason: str | None
    logprobs: _Logprobs | None
    token_ids: list[_Tokens] | None
    prompt_logprobs: list[dict[str, _PromptToken] | None] | None


class _PromptDetails(TypedDict, total=False):
    cached_tokens: _Tokens | None


class _Usage(TypedDict, total=False):
    prompt_tokens: _Tokens | None
    completion_tokens: _Tokens | None
    prompt_tokens_details: _PromptDetails | None


class _Timings(TypedDict, total=False):
    cache_n: _Tokens | None
    prompt_n: _Tokens | None
    predicted_n: _Tokens | None


class _Verbose(TypedDict, total=False):
    stopping_word: str | None
    stop_type: str | None


_Response = TypedDict(
    "_Response",
    {
        "choices": list[_Choice] | None,
        "usage": _Usage | None,
        "timings": _Timings | None,
        "__verbose": _Verbose | None,
    },
    total=False,
)
_RESPONSE = TypeAdapter[Any](with_config(ConfigDict(extra="allow"))(_Response))


def checked(response: Any, text: str = "") -> dict[str, Any]:
    """Return a response or a stream's event, whose fields are of the right types.

    Args:
        response: What the server sent, as Python objects.
        text: The text so far, for the error.

    Raises:
        GenerationError: It is no object, or a field is of another type.
    """
    try:
        found: dict[str, Any] = _RESPONSE.validate_python(response)
    except (ValidationError, RecursionError) as error:
        raise GenerationError(f"The server sent {_fault(error)}. {_ADVICE}", text) from None
    return found


_ADVICE = "Is base_url that of an OpenAI-style completions API? If so, read the server's log."


def _fault(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "JSON that is nested too deeply"
    [fault, *_] = error.errors(include_url=False, include_context=False)
    place = ".".join(map(str, fault["loc"]))
    value = shown(fault["input"])
    if not place:
        return f"{value} instead of an object with choices"
    return f"{place} = {value} ({fault['msg']})"
