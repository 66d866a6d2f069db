"""What a prompt search found, and whether held-out pairs show that it is a gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from urial_core.analysis.bootstrap import Estimate
from urial_core.analysis.compare_report import written
from urial_core.analysis.prompt_search.pool_split import LEAST_PAIRS
from urial_core.analysis.prompt_search.search import Step
from urial_core.analysis.text_measures import Measure
from urial_core.prompts.prompt import Prompt

__all__ = ["PromptFit"]


@dataclass(frozen=True)
class PromptFit:
    """A fitted prompt, and how it compares with the one that the search started from.

    Attributes:
        output: The prompt file.
        prompt: The fitted prompt.
        start: The prompt that the search started from.
        measure: What was improved.
        steps: The changes that were made, in order, with what each did on the tuning pairs.
        start_score: The start's mean on the held-out pairs; None if none has a value.
        score: The fitted prompt's.
        difference: The mean difference of both, pair by pair.
        failed: On how many held-out pairs the judge failed, under either prompt.
    """

    output: Path
    prompt: Prompt
    start: Prompt
    measure: Measure
    steps: Sequence[Step]
    start_score: Estimate | None
    score: Estimate | None
    difference: Estimate | None
    failed: int = 0

    @property
    def gain_shown(self) -> bool:
        """Whether the held-out pairs show a gain.

        They do if the 95 % interval of the difference is on the better side of 0, and at least six
        pairs have values.
        """
        found = self.difference
        if found is None or found.count < LEAST_PAIRS:
            return False
        return found.low > 0 if self.measure.better == "higher" else found.high < 0

    @property
    def verdict(self) -> str:
        """Whether a gain is shown, with the held-out figures, in a sentence or two."""
        claim = "Gain shown" if self.gain_shown else "No gain shown"
        found = self.difference
        if self.score is None or self.start_score is None or found is None:
            return f"{claim}: the measure {self.measure.name!r} applies to no held-out pair."
        share = self.measure.unit == "share"
        start, fitted = (written(e.mean, share=share) for e in (self.start_score, self.score))
        ends = [_signed(value, share=share) for value in (found.mean, found.low, found.high)]
        text = (
            f"{claim} on {found.count} held-out pairs: {self.measure.title.lower()} {fitted}, "
            f"{start} under {self.start.name!r}; difference {ends[0]}, 95 % interval {ends[1]} to "
            f"{ends[2]}."
        )
        if found.count < LEAST_PAIRS:
            text += f" Fewer than {LEAST_PAIRS} pairs show nothing."
        if self.failed:
            text += f" The judge failed {self.failed} times."
        return text


def _signed(value: float, *, share: bool) -> str:
    return f"{'+' if value > 0 else ''}{written(value, share=share)}"
