"""Reply: what comes back to a request's payload, as the reply. Pure.

For whatever sends requests itself, such as Ray Data or ``vllm run-batch``: one response makes one
reply, so there is no second attempt at an empty or unfitting one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from urial_core.backends.completions_server.answer import completion_of
from urial_core.backends.completions_server.dialect import GENERIC, Dialect
from urial_core.composing import ReplyRequest
from urial_core.decoding.text_reply import decode_completion
from urial_core.decoding.turn_decoder import TurnDecoder
from urial_core.errors import ConversationError, GenerationError, ServerError
from urial_core.replies import Reply, ReplyEnd
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_scanner import JsonValue
from urial_core.structured.json_validation import validate_json

__all__ = ["reply_of"]


def reply_of(response: Any, request: ReplyRequest, dialect: Dialect = GENERIC) -> Reply:
    """Read the reply out of a server's response.

    Args:
        response: The body that came back, as Python objects: of a completion, or of a chat.
            Members that are None count as absent, since tables of rows fill them in.
        request: The request whose payload was sent.
        dialect: That of the payload.

    Returns:
        The reply: its text cut where it ends, why it ended, and the server's usage. With
        ``request.response_format``, the text is JSON that fits the schema.

    Raises:
        ServerError: The server refused the request, or failed.
        GenerationError: It broke off, this is no response, or the text does not fit the form asked
            for; the text is in the error's ``text``.
        ConversationError: The request has tools. Such replies take several requests:
            ``urial_core.UrialChat`` sends them.
    """
    if request.tools and request.tools.callable and not request.prefill:
        raise ConversationError(
            "A reply that may call tools takes several requests, and this is the response to one: "
            "use ChatUrial, UrialLLM or UrialChat, which send them."
        )
    if not isinstance(response, Mapping):
        raise GenerationError(f"The server's response is {response!r}, and no JSON object.")
    response = _without_none(response)
    _raise_refusal(response)
    completion = completion_of(_as_completion(response), request, dialect)
    if request.response_format is None:
        return decode_completion(request, completion)
    cut = completion.finish == "length"
    text = _fitting(completion.text, request, request.response_format, cut=cut)
    return Reply(text, ReplyEnd("end_of_text", usage=completion.usage), completion.logprobs)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(member) for key, member in value.items() if member is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _raise_refusal(response: Mapping[str, Any]) -> None:
    """Raise what servers send in place of choices: an error, in one of two shapes."""
    error = response.get("error")
    if not error and response.get("object") == "error":
        error = response
    if not error or response.get("choices"):
        return
    details = error if isinstance(error, Mapping) else {"message": error}
    code = str(details.get("code"))
    status = int(code) if code.isdecimal() else None
    answered = f"answered {status}" if status else "refused the request"
    raise ServerError(f"The server {answered}: {details.get('message') or error}", status)


def _as_completion(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """A chat's response in the shape of a completion's."""
    choices = response.get("choices")
    if not isinstance(choices, Sequence) or isinstance(choices, str):
        return response
    return {**response, "choices": [_with_text(choice) for choice in choices]}


def _with_text(choice: Any) -> Any:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        return choice
    return {**choice, "text": message.get("content") or ""}


def _fitting(written: str, request: ReplyRequest, output: JsonSchema, *, cut: bool) -> str:
    """The JSON text that was written, behind what the page already held of it, if it fits."""
    assert request.format is not None  # noqa: S101 - plain texts have no response format
    section = TurnDecoder(request.format, request.prefill)
    value = JsonValue()
    value.feed(request.prefill + section.feed(written) + section.flush())
    text, wrong = validate_json(value.text.strip(), output.text)
    if not value.complete and wrong:
        why = "It was cut at max_tokens: raise it." if cut else wrong
        raise GenerationError(f"The reply is not whole JSON. {why}", text)
    if wrong:
        raise GenerationError(f"The reply does not fit its schema: {wrong}.", text)
    return text.removeprefix(request.prefill)
