"""Both sides' models in this process: whole distributions of both, reduced position by position."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from urial_core.analysis.token_shift.rows import TokenShift, rounded
from urial_core.analysis.token_shift.scoring import WrittenAnswer
from urial_core.backends.transformers import TransformersModel
from urial_core.completion import Completion, CompletionRequest, TokenRequest
from urial_core.errors import GenerationError, UrialError

if TYPE_CHECKING:
    from urial_core.backends.transformers.scoring import AnswerPair, Position, Prediction
    from urial_core.backends.transformers.tokenization import Tokenization

__all__ = ["InProcessScorer"]


@dataclass(frozen=True)
class InProcessScorer:
    """Scores answers with models of the transformers backend.

    Attributes:
        aligned: The model that writes the answers.
        base: The base model; may be the same.
    """

    aligned: TransformersModel
    base: TransformersModel

    def check(self) -> None:
        """Check that both models have the same tokens under the same ids; load both."""
        from urial_core.backends.transformers.scoring import check_same_vocabulary

        check_same_vocabulary(self.aligned, self.base)

    def write(self, request: CompletionRequest) -> Completion:
        """Complete a request; the engine batches those of all threads."""
        return self.aligned.complete([request])[0]

    def compare(
        self, answers: Sequence[WrittenAnswer]
    ) -> list[tuple[TokenShift, ...] | UrialError]:
        """Compare all answers in one batch."""
        from urial_core.backends.transformers.scoring import AnswerPair

        pairs = [AnswerPair(one.request, one.base, one.completion.token_ids) for one in answers]
        tokenization = self.base.run(lambda engine: engine.tokenization)
        return [
            found if isinstance(found, UrialError) else tuple(_tokens(one, found, tokenization))
            for one, found in zip(answers, self._positions(pairs), strict=True)
        ]

    def _positions(self, pairs: Sequence[AnswerPair]) -> list[list[Position] | UrialError]:
        """Compare answers in one batch; if that fails, one by one, so that only some fail."""
        from urial_core.backends.transformers.scoring import compare_sides

        try:
            return [*compare_sides(self.aligned, self.base, pairs)] if pairs else []
        except Exception as error:  # noqa: BLE001 - such as running out of memory
            if len(pairs) > 1:
                return [one for pair in pairs for one in self._positions([pair])]
            return [GenerationError(f"{self.base.name} failed to score an answer: {error}")]


def _tokens(
    answer: WrittenAnswer, positions: Sequence[Position], tokenization: Tokenization
) -> Generator[TokenShift]:
    texts = _token_texts(answer.request, answer.completion, tokenization)
    ids = answer.completion.token_ids
    for token, text, position in zip(ids, texts, positions, strict=False):
        base, aligned = position.base, position.aligned
        yield TokenShift(
            id=token,
            text=text,
            rank=base.rank,
            logprob=rounded(base.logprob),
            aligned_rank=aligned.rank,
            aligned_logprob=rounded(aligned.logprob),
            kl=rounded(position.kl),
            top=_top(base, tokenization),
            aligned_top=_top(aligned, tokenization),
        )


def _top(prediction: Prediction, tokenization: Tokenization) -> tuple[tuple[str, float], ...]:
    return tuple((tokenization.decode(one), rounded(logprob)) for one, logprob in prediction.top)


def _token_texts(
    request: CompletionRequest, completion: Completion, tokenization: Tokenization
) -> list[str]:
    """Return the text that each token adds; an end-of-text token's own name."""
    if isinstance(request, TokenRequest):
        prompt: Sequence[int] = request.prompt_ids
    else:
        prompt = tokenization.encode(request.prompt)
    step = tokenization.decoder(prompt)
    return [
        tokenization.decode(token) if token in tokenization.end_of_text else step(token)
        for token in completion.token_ids
    ]
