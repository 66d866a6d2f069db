"""Score prompts on pairs; each score is recorded at once, and found again by a later run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from urial_core.analysis.answering import Progress, ProgressCounter, in_threads
from urial_core.analysis.prompt_search.measures import PromptMeasure
from urial_core.analysis.prompt_search.pool_split import Pair
from urial_core.analysis.records import RecordFile
from urial_core.errors import ContextOverflowError
from urial_core.prompts.prompt import Prompt

__all__ = ["PromptScore", "PromptScores", "Scores"]

Scores = Mapping[int, float]
"""A prompt's values, by the numbers of the pairs that have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptScore:
    """How a prompt does on a pair: a row of ``NAME.scores.jsonl``.

    Attributes:
        prompt: The prompt's digest.
        change: What distinguishes it from the best prompt so far, when it was scored.
        pair: The pair's place in the pool, from 1.
        value: The measure's value; None where it does not apply, or the judge failed.
        answer: What the model answered; empty if nothing was generated.
        error: Why the judge failed; empty if it did not.
    """

    prompt: str
    change: str
    pair: int
    value: float | None = None
    answer: str = ""
    error: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """What was scored."""
        return (self.prompt, self.pair)


class PromptScores:
    """The scores of prompts, from earlier runs or computed when they are asked for."""

    def __init__(
        self,
        measure: PromptMeasure,
        records: RecordFile[PromptScore],
        *,
        longest: Pair,
        concurrency: int,
        progress: Progress,
    ) -> None:
        """Take what has been scored.

        Args:
            measure: The measure.
            records: Where scores are recorded, and those of earlier runs are found.
            longest: The pair that takes the most room in a context window.
            concurrency: How many pairs are scored at the same time; the engine batches them.
            progress: Receives the progress.
        """
        self._measure = measure
        self._records = records
        self._rows = {row.key: row for row in records.rows}
        self._longest = longest
        self._concurrency = concurrency
        self._progress = progress

    def of(
        self, what: str, changes: Mapping[str, Prompt], pairs: Sequence[Pair]
    ) -> list[Scores | None]:
        """Return the scores of prompts, one prompt after the other.

        Args:
            what: What is being done, for the progress.
            changes: The prompts, by what distinguishes them.
            pairs: The pairs on which they are scored.

        Returns:
            The scores of each prompt; None if the context window is too small for it.
        """
        missing = {
            change: [pair for pair in pairs if not self._is_scored(prompt, pair)]
            for change, prompt in changes.items()
        }
        total = len(changes) * len(pairs)
        done = total - sum(map(len, missing.values()))
        counter = ProgressCounter(what, done, total, self._progress)
        found = list[Scores | None]()
        for change, prompt in changes.items():
            if not self._fits(prompt):
                found.append(None)
                continue
            self._score(change, prompt, missing[change], counter)
            values = {pair.number: self._rows[prompt.digest, pair.number].value for pair in pairs}
            found.append({pair: value for pair, value in values.items() if value is not None})
        return found

    def failures(self, prompt: Prompt, pairs: Sequence[Pair]) -> int:
        """Return on how many pairs the judge failed."""
        rows = (self._rows.get((prompt.digest, pair.number)) for pair in pairs)
        return sum(row is not None and bool(row.error) for row in rows)

    def _is_scored(self, prompt: Prompt, pair: Pair) -> bool:
        row = self._rows.get((prompt.digest, pair.number))
        return row is not None and not row.error

    def _score(
        self, change: str, prompt: Prompt, pairs: Sequence[Pair], counter: ProgressCounter
    ) -> None:
        def score(pair: Pair) -> None:
            found = self._measure.score(prompt, pair)
            row = PromptScore(
                prompt=prompt.digest,
                change=change,
                pair=pair.number,
                value=found.value,
                answer=found.answer,
                error=found.error,
            )
            self._records.append(row)
            self._rows[row.key] = row
            counter.add()

        for pair in pairs[:1]:
            score(pair)  # alone, so that the others find the prompt in the prefix cache
        in_threads(score, pairs[1:], self._concurrency)

    def _fits(self, prompt: Prompt) -> bool:
        try:
            self._measure.request(prompt, self._longest)
        except ContextOverflowError:
            return False
        return True
