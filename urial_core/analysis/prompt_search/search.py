"""Greedy search for a prompt: one change at a time, as long as the tuning pairs get better.

The greedy choice is that of Zhao et al. 2025 (arXiv 2405.19874), who add to URIAL's examples the
one with which a judge scores answers highest, then the next. Here an example may also replace one
that the prompt starts with, and the order is searched as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from urial_core.analysis.prompt_search.pool_split import Pair
from urial_core.analysis.prompt_search.scoring import Scores
from urial_core.errors import AnalysisError
from urial_core.prompts.prompt import Example, Prompt

__all__ = ["ScorePrompts", "Step", "search_prompt"]

ScorePrompts = Callable[[str, Mapping[str, Prompt]], Sequence[Scores | None]]
"""From what is being done and the prompts, by what distinguishes them, to the scores of each; None
for a prompt that cannot be used."""


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the prompt that the tuning pairs are better with.

    Attributes:
        change: What was changed.
        difference: The mean difference that it made, over the tuning pairs.
    """

    change: str
    difference: float


def search_prompt(
    start: Prompt,
    candidates: Sequence[Pair],
    score: ScorePrompts,
    *,
    higher_is_better: bool,
    instructions: Mapping[str, str],
    examples: int,
    keep: int,
) -> tuple[Prompt, list[Step]]:
    """Change a prompt's instruction, its examples and their order, greedily.

    1. The best of the instructions is taken.
    2. In each place for an example, first to last, every candidate is tried: in place of the
       example there, or, after the last, as a further one. The best of them is taken.
    3. Each example is tried in every other place, and the best move is made, until none is better.

    A change is made only if the tuning pairs are better with it: by the mean difference over the
    pairs that have a value with and without it.

    Args:
        start: The prompt to start from; of its examples, at most ``examples`` are used.
        candidates: The pairs that may become examples.
        score: Scores prompts.
        higher_is_better: Whether higher scores are better.
        instructions: The instructions to try beside the start's own, by their names.
        examples: The most examples.
        keep: How many of the start's first examples stay as they are.

    Returns:
        The prompt, and the steps to it.

    Raises:
        AnalysisError: No pair has a value under the start.
    """
    begin = replace(start, examples=start.examples[:examples])
    search = _Search(begin, score, 1 if higher_is_better else -1)
    changed = {f"instruction {name}": text for name, text in instructions.items()}
    search.take_best(
        "Instruction", {k: replace(begin, instruction=text) for k, text in changed.items()}
    )
    for place in range(keep, examples):
        if place > len(search.prompt.examples):
            break  # no further example made it better
        current = search.prompt
        search.take_best(
            f"Example {place + 1} of {examples}",
            {
                f"example {place + 1}: pair {pair.number}": _with_example(current, place, pair)
                for pair in candidates
                if pair.example not in current.examples
            },
        )
    while search.take_best("Order", _moves(search.prompt, keep)):
        pass
    return search.prompt, search.steps


class _Search:
    """The best prompt so far."""

    def __init__(self, prompt: Prompt, score: ScorePrompts, sign: int) -> None:
        self.prompt = prompt
        self.steps = list[Step]()
        self._score = score
        self._sign = sign
        [scores] = score("Start", {"start": prompt})
        if not scores:
            raise AnalysisError(
                f"No tuning pair has a value under {prompt.name!r}: the measure applies to none of "
                "the answers, or the judge failed on all. The rows of scores say why."
            )
        self._scores = scores

    def take_best(self, what: str, changes: Mapping[str, Prompt]) -> bool:
        """Take the best of some prompts if it is better; return whether it is."""
        if not changes:
            return False
        scores = self._score(what, changes)
        gains = [self._sign * _difference(own, self._scores) for own in scores]
        best = max(range(len(gains)), key=gains.__getitem__)  # of equals, the first
        if not gains[best] > 0:
            return False
        change, self.prompt = [*changes.items()][best]
        self._scores = scores[best] or {}
        self.steps.append(Step(change, self._sign * gains[best]))
        return True


def _difference(scores: Scores | None, others: Scores) -> float:
    """Return the mean difference over the pairs with both values; 0 if there are none."""
    differences = [value - others[pair] for pair, value in (scores or {}).items() if pair in others]
    return mean(differences) if differences else 0.0


def _with_example(prompt: Prompt, place: int, pair: Pair) -> Prompt:
    examples = (*prompt.examples[:place], pair.example, *prompt.examples[place + 1 :])
    return replace(prompt, examples=examples)


def _moves(prompt: Prompt, keep: int) -> dict[str, Prompt]:
    """Return the prompts in which one example stands in another place."""
    moves = dict[str, Prompt]()
    known = {prompt.examples}
    count = len(prompt.examples)
    for place in range(keep, count):
        others: list[Example] = [*prompt.examples]
        example = others.pop(place)
        for target in range(keep, count):
            examples = (*others[:target], example, *others[target:])
            if examples not in known:
                known.add(examples)
                change = f"order: example {place + 1} in place {target + 1}"
                moves[change] = replace(prompt, examples=examples)
    return moves
