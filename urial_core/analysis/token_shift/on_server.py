"""Both sides' models on servers: each token's rank and log-probability, by ``prompt_logprobs``.

A server reports the most probable tokens and the answer's own, not the whole distribution, so there
is no divergence.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from urial_core.analysis.token_shift.rows import TokenShift, rounded
from urial_core.analysis.token_shift.scoring import FATAL, WrittenAnswer
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.backends.completions_server.exchanges import encode
from urial_core.backends.completions_server.prompt_logprobs import (
    ScoredToken,
    check_scoring,
    score,
    scored_as_written,
    write,
)
from urial_core.completion import Completion, CompletionRequest
from urial_core.errors import UnsupportedModelError, UrialError

__all__ = ["ServerScorer"]

_SAMPLE = "Hello! Here are 3 things: naïve cafés, 東京 and <b>x += 1</b>.\n"
"""A text that different tokenizers encode differently."""


@dataclass(frozen=True)
class ServerScorer:
    """Scores answers with models behind servers.

    Attributes:
        aligned: The model that writes the answers.
        base: The base model; may be the same.
    """

    aligned: CompletionsServerModel
    base: CompletionsServerModel

    def check(self) -> None:
        """Check that the servers report what is needed, and encode a text alike."""
        self.base.run(check_scoring)
        if self.aligned is not self.base:
            self.aligned.run(check_scoring)
            if self.aligned.run(partial(encode, _SAMPLE)) != self.base.run(
                partial(encode, _SAMPLE)
            ):
                raise self._different(_SAMPLE)

    def write(self, request: CompletionRequest) -> Completion:
        """Complete a request; the server batches those of all threads."""
        return self.aligned.run(partial(write, request))

    def compare(
        self, answers: Sequence[WrittenAnswer]
    ) -> list[tuple[TokenShift, ...] | UrialError]:
        """Compare all answers at the same time; the server batches them."""

        def compared(answer: WrittenAnswer) -> tuple[TokenShift, ...] | UrialError:
            try:
                return self._tokens(answer)
            except FATAL:
                raise
            except UrialError as error:
                return error

        if not answers:
            return []
        with ThreadPoolExecutor(len(answers)) as pool:
            return list(pool.map(compared, answers))

    def _tokens(self, answer: WrittenAnswer) -> tuple[TokenShift, ...]:
        ids = answer.completion.token_ids
        aligned = scored_as_written(answer.completion)
        if aligned is None:
            aligned = self.aligned.run(partial(score, answer.request, ids))
        base = self.base.run(partial(score, answer.base, ids))
        return tuple(map(self._token, ids, aligned, base))

    def _token(self, token: int, aligned: ScoredToken, base: ScoredToken) -> TokenShift:
        if aligned.text != base.text:
            raise self._different(aligned.text)
        return TokenShift(
            id=token,
            text=aligned.text,
            rank=base.rank,
            logprob=rounded(base.logprob),
            aligned_rank=aligned.rank,
            aligned_logprob=rounded(aligned.logprob),
            kl=None,
            top=_top(base),
            aligned_top=_top(aligned),
        )

    def _different(self, example: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"{self.aligned.name} and {self.base.name} have different vocabularies ({example!r} is "
            "not the same on both servers), so their distributions cannot be compared: use a model "
            "and one that was tuned from it."
        )


def _top(scored: ScoredToken) -> tuple[tuple[str, float], ...]:
    return tuple((text, rounded(logprob)) for text, logprob in scored.top)
