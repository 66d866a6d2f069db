"""Score given answers on a server that reports ``prompt_logprobs``, as vLLM does. Pure exchanges.

Prompts and answers are token ids here: the tokens that are scored are those that were generated,
which an answer's text, encoded again, need not give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from urial_core.backends.completions_server.exchanges import (
    MISSING,
    Exchange,
    HttpRequest,
    Server,
    encode,
)
from urial_core.backends.completions_server.payload import completion_payload
from urial_core.backends.completions_server.response import completion_of
from urial_core.backends.completions_server.shape import checked
from urial_core.completion import Completion, CompletionRequest, TokenLogprob, TokenRequest
from urial_core.errors import GenerationError, UnsupportedModelError

__all__ = ["ScoredToken", "check_scoring", "encode_chat", "score", "scored_as_written", "write"]

_TOP = 5
"""How many of the most probable tokens are asked for at each position."""


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of an answer, as the model predicts it.

    Attributes:
        text: The token's text; empty where a later token completes the character.
        rank: Its rank by probability: 1, and 1 for each token more probable.
        logprob: Its natural log-probability.
        top: The five most probable tokens' texts with their log-probabilities, best first.
    """

    text: str
    rank: int
    logprob: float
    top: tuple[tuple[str, float], ...]


def check_scoring(server: Server) -> Exchange[None]:
    """Check with one short prompt that a server can score answers.

    Raises:
        UnsupportedModelError: It offers no tokenizer, or does not report the token ids of a
            completion and the log-probabilities of a prompt.
    """
    if server.tokenizes:
        ids = yield from encode("a b", server)
        body = {**_scoring(ids, server), "return_token_ids": True}
        choice = _choice((yield HttpRequest(body)))
        if choice.get("token_ids") and _entries(choice, ids) is not None:
            return
    raise UnsupportedModelError(
        f"The server at {server.root} cannot score the tokens of given answers: that takes "
        "/tokenize, return_token_ids and prompt_logprobs, as vLLM has them. Serve the model with a "
        "recent vLLM; or name it as a hub id, a folder or a .gguf file, to run it in this process "
        "on transformers."
    )


def encode_chat(messages: Sequence[Mapping[str, str]], server: Server) -> Exchange[list[int]]:
    """Encode a conversation with the served model's chat template, up to where its reply begins.

    Args:
        messages: ``role`` and ``content`` of each message.
        server: The server.

    Raises:
        UnsupportedModelError: The model has no chat template, or it refuses the conversation.
    """
    body = {"model": server.model, "messages": list(messages), "add_generation_prompt": True}
    response = yield HttpRequest(body, f"{server.root}/tokenize", optional=MISSING)
    ids = response.get("tokens") if isinstance(response, Mapping) else None
    if not isinstance(ids, list) or not all(isinstance(token, int) for token in ids):
        raise UnsupportedModelError(
            f"{server.model} at {server.root} has no chat template that writes the conversation: "
            "compare with a tuned model, or with a prompt."
        )
    return ids


def write(request: CompletionRequest, server: Server) -> Exchange[Completion]:
    """Complete a request; the completion has its token ids and their log-probabilities.

    Raises:
        GenerationError: The server gave up, or sent no token ids.
    """
    request = replace(request, parameters=request.parameters.replace(logprobs=_TOP))
    body = completion_payload(request, server.model, server.dialect)
    body |= {"prompt": (yield from _prompt_ids(request, server)), "return_token_ids": True}
    response = yield HttpRequest(body)
    completion = completion_of(response, request, server.dialect)
    ids = _choice(response).get("token_ids")
    if not ids:
        raise GenerationError("The server sent no token ids with its answer.", completion.text)
    return replace(completion, token_ids=tuple(ids))


def scored_as_written(completion: Completion) -> list[ScoredToken] | None:
    """Return what the model predicted at each token while it wrote them.

    That costs nothing, whereas ``score`` reads the whole prompt, in which no prefix cache helps.

    Args:
        completion: What ``write`` returned.

    Returns:
        The tokens; None where the five most probable ones leave a token's rank open: it is not
        among the first four, or two have the same text, so that the response holds one of them.
    """
    found = [_as_written(token) for token in completion.logprobs]
    certain = all(token.rank < _TOP == len(token.top) for token in found)
    return found if certain and len(found) == len(completion.token_ids) else None


def score(
    request: CompletionRequest, answer: Sequence[int], server: Server
) -> Exchange[list[ScoredToken]]:
    """Return what the model predicts at each token of an answer.

    The server reads prompt and answer as one prompt, and writes a token that is thrown away.

    Args:
        request: The request whose prompt precedes the answer.
        answer: The answer's tokens.
        server: The server.

    Raises:
        ContextOverflowError: Prompt, answer and one token do not fit the context window.
        GenerationError: The server did not report the tokens' log-probabilities.
    """
    ids = [*(yield from _prompt_ids(request, server)), *answer]
    entries = _entries(_choice((yield HttpRequest(_scoring(ids, server)))), ids)
    if entries is None:
        raise GenerationError("The server sent no log-probabilities of the answer's tokens.")
    start = len(ids) - len(answer)
    return [
        _scored(entry, str(token)) for entry, token in zip(entries[start:], answer, strict=True)
    ]


def _prompt_ids(request: CompletionRequest, server: Server) -> Exchange[list[int]]:
    if isinstance(request, TokenRequest):
        return list(request.prompt_ids)
    return (yield from encode(request.prompt, server))


def _as_written(token: TokenLogprob) -> ScoredToken:
    rank = 1 + sum(logprob > token.logprob for _, logprob in token.top)
    return ScoredToken(token.token, rank, token.logprob, token.top)


def _scoring(ids: Sequence[int], server: Server) -> dict[str, Any]:
    return {
        "model": server.model,
        "prompt": list(ids),
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": _TOP,
    }


def _choice(response: Any) -> Mapping[str, Any]:
    choices = checked(response).get("choices") or [{}]
    found: Mapping[str, Any] = choices[0]
    return found


def _entries(
    choice: Mapping[str, Any], ids: Sequence[int]
) -> list[Mapping[str, Mapping[str, Any]]] | None:
    """Return what is reported at each token of a prompt; None unless that is complete.

    The first token, which nothing precedes, has no entry in the response, and an empty one here.
    """
    entries = [entry or {} for entry in choice.get("prompt_logprobs") or ()]
    if len(entries) != len(ids):
        return None
    following = zip(entries[1:], ids[1:], strict=True)
    return entries if all(str(token) in entry for entry, token in following) else None


def _scored(entry: Mapping[str, Mapping[str, Any]], token: str) -> ScoredToken:
    """Return a token's figures from the entry at its position.

    The server's rank counts tokens that are as probable as this one, so it is used only below the
    most probable tokens; among these, the more probable ones are counted.
    """
    own = entry[token]
    best = sorted(entry.values(), key=lambda one: -one["logprob"])[:_TOP]
    above = sum(one["logprob"] > own["logprob"] for one in best)
    rank = above + 1 if above < _TOP else own["rank"]
    top = tuple((one.get("decoded_token") or "", one["logprob"]) for one in best)
    return ScoredToken(own.get("decoded_token") or "", rank, own["logprob"], top)
