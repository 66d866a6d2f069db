"""Split a pool of question-and-answer pairs: candidates, tuning and held-out pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from urial_core.errors import AnalysisError
from urial_core.prompts.escaping import check_needs_no_escaping
from urial_core.prompts.prompt import Example, Prompt

__all__ = ["LEAST_PAIRS", "Pair", "Split", "split_pool"]

LEAST_PAIRS = 6
"""Fewest pairs to tune on, and to hold out. If all of fewer differed in the same direction by
chance, that would still happen in more than 5 % of cases (sign test, two-sided)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and a good answer to it.

    Attributes:
        number: Its place in the pool, from 1.
        example: The question and the answer.
    """

    number: int
    example: Example


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a pool; no pair is in two of them.

    Attributes:
        candidates: Pairs that may become examples of the prompt.
        tuning: Pairs whose scores choose among prompts.
        held_out: Pairs that the chosen prompt is compared on with the start.
    """

    candidates: Sequence[Pair]
    tuning: Sequence[Pair]
    held_out: Sequence[Pair]


def split_pool(
    pool: Sequence[Example],
    start: Prompt,
    seed: int,
    *,
    candidates: int | None = None,
    tuning: int | None = None,
    held_out: int | None = None,
) -> Split:
    """Split a pool at random. Pairs whose question the start holds already are left out.

    Args:
        pool: The pairs.
        start: The prompt that the search starts from.
        seed: The same seed splits the same pool in the same way.
        candidates: How many candidates at most. Default: all that the other parts leave.
        tuning: How many tuning pairs. Default: a quarter.
        held_out: How many held-out pairs. Default: a quarter.

    Raises:
        AnalysisError: Two pairs ask the same, or there are too few.
        PromptError: A candidate holds a line that looks like a delimiter of the prompt.
    """
    pairs = _outside(pool, start.examples)
    shuffled = Random(seed).sample(pairs, len(pairs))  # noqa: S311 - no secret
    quarter = len(pairs) // 4
    last = quarter if held_out is None else held_out
    first = last + (quarter if tuning is None else tuning)
    others = shuffled[first:]
    split = Split(
        _in_order(others if candidates is None else others[:candidates]),
        _in_order(shuffled[last:first]),
        _in_order(shuffled[:last]),
    )
    if not split.candidates or min(first - last, last) < LEAST_PAIRS:
        raise AnalysisError(
            f"{len(pairs)} pairs of the pool are new to the prompt, and {first - last} are for "
            f"tuning, {last} held out: there must be at least {LEAST_PAIRS} of each, and one more "
            f"as a candidate. Give a pool of {4 * LEAST_PAIRS} pairs or more."
        )
    for pair in split.candidates:
        for name, text in (("question", pair.example.query), ("answer", pair.example.answer)):
            place = f"Pair {pair.number} of the pool: its {name}"
            check_needs_no_escaping(text, start.format, place)
    return split


def _in_order(pairs: Iterable[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: pair.number)


def _outside(pool: Sequence[Example], examples: Sequence[Example]) -> list[Pair]:
    """Return the pairs of a pool that are no examples yet.

    Raises:
        AnalysisError: Two pairs ask the same, so one could be held out and the other be chosen.
    """
    first = dict[str, int]()
    for number, example in enumerate(pool, 1):
        if (other := first.setdefault(_normalized(example.query), number)) != number:
            raise AnalysisError(
                f"Pairs {other} and {number} of the pool ask the same: keep one of them, since "
                "what is held out must not stand in the prompt."
            )
    known = {_normalized(example.query) for example in examples}
    return [
        Pair(number, example)
        for number, example in enumerate(pool, 1)
        if _normalized(example.query) not in known
    ]


def _normalized(text: str) -> str:
    return " ".join(text.casefold().split())
