"""The greedy search and the split of the pool: pure functions, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import isclose
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core import Example, Prompt
from urial_core.analysis.prompt_search.pool_split import LEAST_PAIRS, Pair, split_pool
from urial_core.analysis.prompt_search.scoring import Scores
from urial_core.analysis.prompt_search.search import search_prompt
from urial_core.errors import AnalysisError, PromptError

START = Prompt(name="start", instruction="Be kind.")
PAIRS = [Pair(number, Example(f"Question {number}?", str(number))) for number in range(1, 11)]


def search(
    score: Mapping[str, float] | None = None,
    *,
    start: Prompt = START,
    seed: int | None = None,
    higher_is_better: bool = True,
    examples: int = 3,
    keep: int = 0,
    instructions: Mapping[str, str] | None = None,
) -> tuple[Prompt, list[float], dict[str, float]]:
    """Search with fixed qualities of texts, or values drawn from a seed.

    Examples are best in the order of their numbers: each pair in another order costs a little.

    Returns:
        The prompt, the differences of its steps, and the value of every prompt that was scored.
    """
    values = dict[str, float]()

    def value(prompt: Prompt) -> float:
        if seed is not None:
            return crc32(f"{seed}{prompt.prefix}".encode()) % 1000 / 100
        texts = [example.answer for example in prompt.examples]
        wrong = sum(int(a) > int(b) for a, b in combinations(texts, 2))
        quality = sum((score or {}).get(text, 0.0) for text in (prompt.instruction, *texts))
        return quality - wrong / 100

    def scored(_: str, changes: Mapping[str, Prompt]) -> Sequence[Scores | None]:
        values.update({prompt.prefix: value(prompt) for prompt in changes.values()})
        return [{pair: value(prompt) + pair for pair in range(3)} for prompt in changes.values()]

    prompt, steps = search_prompt(
        start,
        PAIRS,
        scored,
        higher_is_better=higher_is_better,
        instructions=instructions or {},
        examples=examples,
        keep=keep,
    )
    return prompt, [step.difference for step in steps], values


def answers(prompt: Prompt) -> list[str]:
    return [example.answer for example in prompt.examples]


@given(qualities=st.permutations(range(-3, 7)), examples=st.integers(0, 5))
def test_the_best_examples_in_the_best_order(qualities: list[int], examples: int) -> None:
    """From no examples, those that help most are found, as many as are asked for, in order."""
    score = {str(number): float(quality) for number, quality in enumerate(qualities, 1)}
    best = sorted((n for n in range(1, 11) if score[str(n)] > 0), key=lambda n: -score[str(n)])
    prompt, _, _ = search(score, examples=examples)
    assert answers(prompt) == [str(number) for number in sorted(best[:examples])]


def test_an_example_is_replaced_by_a_better_one() -> None:
    """The start's examples stay where no candidate is better, and give way where one is."""
    own = (Example("Own?", "11"), Example("Own, too?", "12"))
    start = replace(START, examples=own)
    prompt, _, _ = search({"11": 1, "12": 5, "4": 3, "7": 2}, start=start, examples=2)
    assert answers(prompt) == ["4", "12"]
    prompt, _, _ = search({"11": 9, "12": 8, "4": 3}, start=start, examples=2)
    assert prompt == start


def test_kept_examples_stay() -> None:
    """What is kept is neither replaced nor moved, however bad it is."""
    start = replace(START, examples=(Example("Own?", "11"), Example("Own, too?", "12")))
    prompt, _, _ = search({"11": -9, "4": 3, "2": 1}, start=start, keep=1)
    assert answers(prompt)[0] == "11"
    assert answers(prompt)[1:] == ["2", "4"]


def test_the_best_instruction() -> None:
    """The best of all instructions is taken; without a better one, the start's stays."""
    others = {"none": "", "mine": "Be brief."}
    prompt, _, _ = search({"Be brief.": 2, "": 1}, instructions=others, examples=0)
    assert prompt.instruction == "Be brief."
    prompt, _, _ = search({"Be kind.": 2, "": 2}, instructions=others, examples=0)
    assert prompt.instruction == "Be kind."


def test_further_examples_of_the_start_are_left_out() -> None:
    """No prompt has more examples than are asked for, nor has the one that is begun with."""
    prompt, _, _ = search(
        start=replace(START, examples=(PAIRS[0].example, PAIRS[1].example)), examples=1
    )
    assert answers(prompt) == ["1"]


@given(seed=st.integers(), higher=st.booleans(), examples=st.integers(0, 4))
def test_the_measure_never_gets_worse(seed: int, higher: bool, examples: int) -> None:
    """Whatever the scores are: each step is a gain, and together they are the whole difference."""
    prompt, steps, values = search(
        seed=seed, higher_is_better=higher, examples=examples, instructions={"none": ""}
    )
    assert all(step > 0 if higher else step < 0 for step in steps)
    assert isclose(values[prompt.prefix] - values[START.prefix], sum(steps), abs_tol=1e-6)
    assert len(prompt.examples) <= examples
    assert len(set(prompt.examples)) == len(prompt.examples)


def test_a_prompt_that_cannot_be_used() -> None:
    """A prompt without scores, since it does not fit, is never taken; nor one without values."""

    def scored(_: str, changes: Mapping[str, Prompt]) -> list[Scores | None]:
        return [
            {1: 0.0} if p == START else None if len(answers(p)) > 1 else {}
            for p in changes.values()
        ]

    prompt, steps = search_prompt(
        START, PAIRS, scored, higher_is_better=True, instructions={}, examples=2, keep=0
    )
    assert (prompt, steps) == (START, [])


POOL = [Example(f"Question {number}?", f"Answer {number}.") for number in range(1, 41)]


@given(seed=st.integers(), size=st.integers(24, 40))
def test_the_parts_of_a_pool(seed: int, size: int) -> None:
    """No pair is in two parts, all are in one, and the same seed gives the same parts."""
    split = split_pool(POOL[:size], START, seed)
    parts = (split.candidates, split.tuning, split.held_out)
    numbers = [pair.number for part in parts for pair in part]
    assert sorted(numbers) == list(range(1, size + 1))
    assert len(split.tuning) == len(split.held_out) == size // 4
    assert all(POOL[pair.number - 1] is pair.example for part in parts for pair in part)
    assert split == split_pool(POOL[:size], START, seed)


def test_sizes_of_the_parts() -> None:
    """Sizes can be given; what is held out does not depend on the others."""
    split = split_pool(POOL, START, 1, candidates=3, tuning=8, held_out=9)
    assert [len(part) for part in (split.candidates, split.tuning, split.held_out)] == [3, 8, 9]
    assert split.held_out == split_pool(POOL, START, 1, held_out=9).held_out


def test_what_the_start_holds_is_left_out() -> None:
    """A pair whose question the start asks already is in no part: it would be in every prompt."""
    start = replace(START, examples=(Example("question  1?", "Other."),))
    split = split_pool(POOL, start, 0)
    assert 1 not in {p.number for p in (*split.candidates, *split.tuning, *split.held_out)}


@pytest.mark.parametrize(
    ("pool", "sizes", "message"),
    [
        (POOL[:23], {}, "23 pairs .* 5 are for tuning, 5 held out"),
        (POOL, {"held_out": LEAST_PAIRS - 1}, "5 held out"),
        (POOL, {"tuning": 25, "held_out": 15}, "at least 6 of each, and one more"),
        ([*POOL, Example("question 3?", "Other.")], {}, "Pairs 3 and 41 of the pool ask the same"),
    ],
)
def test_pools_that_cannot_be_split(
    pool: list[Example], sizes: dict[str, int], message: str
) -> None:
    """A pool that is too small, or asks the same twice, is refused with what to do."""
    with pytest.raises(AnalysisError, match=message):
        split_pool(pool, START, 0, **sizes)


def test_a_candidate_that_would_break_the_prompt() -> None:
    """A candidate with a line like a delimiter is refused by its place in the pool."""
    pool = [replace(example, answer="So:\n# Query:\nHm") for example in POOL]
    with pytest.raises(PromptError, match=r"Pair \d+ of the pool: its answer holds a line"):
        split_pool(pool, START, 0)
