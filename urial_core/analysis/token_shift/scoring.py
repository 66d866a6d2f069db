"""What an analysis needs of both sides' models, wherever they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from urial_core.analysis.token_shift.rows import TokenShift
from urial_core.completion import Completion, CompletionRequest
from urial_core.errors import (
    MissingDependencyError,
    ModelLoadError,
    UnsupportedModelError,
    UrialError,
)

__all__ = ["FATAL", "AnswerScorer", "WrittenAnswer"]

FATAL = (MissingDependencyError, ModelLoadError, UnsupportedModelError)
"""Errors after which no other answer can succeed either."""


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """An answer of the aligned side.

    Attributes:
        request: The request that it answers.
        base: The request in which the base model sees the same conversation.
        completion: The answer, with its token ids.
    """

    request: CompletionRequest
    base: CompletionRequest
    completion: Completion


class AnswerScorer(Protocol):
    """The models of both sides: writes answers, and says what both predict of their tokens."""

    def check(self) -> None:
        """Check that the models can be compared, before any answer is written.

        Raises:
            UnsupportedModelError: They cannot.
        """

    def write(self, request: CompletionRequest) -> Completion:
        """Complete a request with the aligned side's model; the completion has its token ids.

        Many threads may call at the same time.
        """

    def compare(
        self, answers: Sequence[WrittenAnswer]
    ) -> list[tuple[TokenShift, ...] | UrialError]:
        """Return the tokens of each answer, or the error that came instead.

        Which tokens end the answer is not known here.
        """
