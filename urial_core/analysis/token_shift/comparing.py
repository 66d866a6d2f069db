"""Have the aligned side answer conversations, and compare both sides' predictions of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from urial_core.analysis.token_shift.rows import TokenShift
from urial_core.analysis.token_shift.sides import AlignedSide, base_request
from urial_core.backends.transformers import TransformersModel
from urial_core.completion import Completion, CompletionRequest
from urial_core.decoding.reply_decoder import reply_decoder
from urial_core.errors import (
    GenerationError,
    MissingDependencyError,
    ModelLoadError,
    UnsupportedModelError,
    UrialError,
)
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.prompt_format import PromptFormat

if TYPE_CHECKING:
    from urial_core.backends.transformers.scoring import AnswerPair, Position, Prediction
    from urial_core.backends.transformers.tokenization import Tokenization

__all__ = ["ComparedAnswer", "answer_and_compare"]

_NO_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot hold, as in the OpenAI API."""

_FATAL = (MissingDependencyError, ModelLoadError, UnsupportedModelError)
"""Errors after which no other answer can succeed either."""


@dataclass(frozen=True, slots=True)
class ComparedAnswer:
    """An answer of the aligned side.

    Attributes:
        text: Its text, as a user would get it.
        end_reason: Why it ended: "delimiter", "end_of_text" or "length".
        tokens: Its tokens, those that end it included.
    """

    text: str
    end_reason: str
    tokens: tuple[TokenShift, ...]


def answer_and_compare(
    side: AlignedSide,
    base: TransformersModel,
    conversations: Sequence[Sequence[Message]],
    parameters: GenerationParameters,
) -> list[ComparedAnswer | UrialError]:
    """Answer conversations with the aligned side, and compare it with the base model.

    All are in the same batch.

    Args:
        side: Who answers.
        base: The base model.
        conversations: The conversations; each ends with a user's message.
        parameters: How the aligned side samples.

    Returns:
        For each conversation, its answer, or the error that came instead.

    Raises:
        ModelError: The model cannot be loaded, or has no chat template.
    """

    def answer(messages: Sequence[Message]) -> tuple[CompletionRequest, Completion] | UrialError:
        try:
            request = side.request(messages, parameters)
            return request, side.model.complete([request])[0]
        except _FATAL:
            raise
        except UrialError as error:
            return error

    with ThreadPoolExecutor(len(conversations)) as pool:  # the engine batches them
        answered = list(pool.map(answer, conversations))
    return _compared(side, base, conversations, answered)


def _compared(
    side: AlignedSide,
    base: TransformersModel,
    conversations: Sequence[Sequence[Message]],
    answered: Sequence[tuple[CompletionRequest, Completion] | UrialError],
) -> list[ComparedAnswer | UrialError]:
    from urial_core.backends.transformers.scoring import AnswerPair

    pairs = [
        AnswerPair(given[0], base_request(side, messages), given[1].token_ids)
        for messages, given in zip(conversations, answered, strict=True)
        if not isinstance(given, UrialError)
    ]
    compared = iter(_positions(side.model, base, pairs))
    tokenization = base.run(lambda engine: engine.tokenization)
    found = list[ComparedAnswer | UrialError]()
    for given in answered:
        if isinstance(given, UrialError):
            found.append(given)
            continue
        positions = next(compared)
        if isinstance(positions, UrialError):
            found.append(positions)
        else:
            found.append(_described(*given, positions, tokenization, side.answer_format))
    return found


def _positions(
    aligned: TransformersModel, base: TransformersModel, pairs: Sequence[AnswerPair]
) -> list[list[Position] | UrialError]:
    """Compare answers in one batch; if that fails, one by one, so that only some fail."""
    from urial_core.backends.transformers.scoring import compare_sides

    try:
        return [*compare_sides(aligned, base, pairs)] if pairs else []
    except Exception as error:  # noqa: BLE001 - such as running out of memory
        if len(pairs) > 1:
            return [one for pair in pairs for one in _positions(aligned, base, [pair])]
        return [GenerationError(f"{base.name} failed to score an answer: {error}")]


def _described(
    request: CompletionRequest,
    completion: Completion,
    positions: Sequence[Position],
    tokenization: Tokenization,
    answer_format: PromptFormat | None,
) -> ComparedAnswer:
    decoder = reply_decoder(request)
    text = decoder.feed(completion.text)
    text += decoder.flush(cut=completion.finish == "length")
    texts = _token_texts(request, completion, tokenization)
    starts = [0, *accumulate(map(len, texts))]
    length = _length(completion, answer_format)
    tokens = (
        _token(token, piece, position, tokenization, ends=start >= length)
        for token, piece, position, start in zip(
            completion.token_ids, texts, positions, starts, strict=False
        )
    )
    return ComparedAnswer(text, decoder.end_reason(completion.finish), tuple(tokens))


def _token_texts(
    request: CompletionRequest, completion: Completion, tokenization: Tokenization
) -> list[str]:
    """Return the text that each token adds; an end-of-text token's own name."""
    from urial_core.backends.transformers.sequence import TokenRequest

    if isinstance(request, TokenRequest):
        prompt: Sequence[int] = request.prompt_ids
    else:
        prompt = tokenization.encode(request.prompt)
    step = tokenization.decoder(prompt)
    return [
        tokenization.decode(token) if token in tokenization.end_of_text else step(token)
        for token in completion.token_ids
    ]


def _length(completion: Completion, answer_format: PromptFormat | None) -> int:
    """Return how many characters of a completion precede what ends it."""
    if completion.finish == "length" or answer_format is None:
        return len(completion.text) + (completion.finish == "length")
    delimiters = tuple(filter(None, (answer_format.fence, *answer_format.headers)))
    lines = completion.text.splitlines(keepends=True)
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith(delimiters)):
        lines.pop()
    return len("".join(lines).rstrip("\n"))


def _token(
    token: int, text: str, position: Position, tokenization: Tokenization, *, ends: bool
) -> TokenShift:
    base, aligned = position.base, position.aligned

    def top(prediction: Prediction) -> tuple[tuple[str, float], ...]:
        return tuple((tokenization.decode(one), _rounded(p)) for one, p in prediction.top)

    return TokenShift(
        id=token,
        text=text,
        rank=base.rank,
        logprob=_rounded(base.logprob),
        aligned_rank=aligned.rank,
        aligned_logprob=_rounded(aligned.logprob),
        kl=_rounded(position.kl),
        top=top(base),
        aligned_top=top(aligned),
        ends=ends,
    )


def _rounded(value: float) -> float:
    return round(max(value, _NO_LOGPROB), 6)
