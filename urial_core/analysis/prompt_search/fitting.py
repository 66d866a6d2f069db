"""Fitting: choose a prompt's instruction and examples from a pool, and test the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from urial_core.analysis.answering import Progress
from urial_core.analysis.bootstrap import mean_difference, mean_with_interval
from urial_core.analysis.example_pool import read_pool
from urial_core.analysis.method_names import base_model
from urial_core.analysis.prompt_search.measures import check_measure, prompt_measure
from urial_core.analysis.prompt_search.pool_split import Pair, split_pool
from urial_core.analysis.prompt_search.result import PromptFit
from urial_core.analysis.prompt_search.scoring import PromptScore, PromptScores, Scores
from urial_core.analysis.prompt_search.search import search_prompt
from urial_core.analysis.records import RecordFile
from urial_core.analysis.text_files import write_text
from urial_core.errors import MissingDependencyError, ParameterError
from urial_core.judge import Judge
from urial_core.parameters import GenerationParameters
from urial_core.prompts.loading import load_prompt
from urial_core.prompts.prompt import Example, Prompt
from urial_core.prompts.toml_writing import write_toml

__all__ = ["checked_start", "fit", "scores_file"]


def fit(
    pool: Path | Sequence[Example],
    *,
    model: object,
    output: Path,
    measure: str = "likelihood",
    judge: object = None,
    start: str | Path | Prompt = "default",
    instructions: Mapping[str, str] | None = None,
    examples: int = 3,
    keep: int = 0,
    candidates: int | None = None,
    tuning: int | None = None,
    held_out: int | None = None,
    seed: int = 0,
    parameters: GenerationParameters | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> PromptFit:
    """Choose a prompt's instruction and examples from a pool of good answers; write a prompt file.

    The pool is split into candidates, tuning pairs and held-out pairs. A greedy search (see
    ``search_prompt``) makes the changes that the tuning pairs are better with. The result is then
    compared with the start on the held-out pairs, which had no part in it. ``NAME.scores.jsonl``
    beside the file gets a row for each score; running again goes on where it was interrupted.

    Args:
        pool: Pairs of a question and a good answer, or a JSONL file of them (see ``read_pool``).
        model: The base model: a ``CompletionModel``, or a ``ChatUrial`` or ``UrialLLM`` around one.
        output: The prompt file, ``NAME.toml``.
        measure: What to improve. "likelihood": how probable the pairs' own answers are. Or a
            measure of the model's answers to the pairs' questions: "ended", "forged_turns",
            "repetition", "copied_from_prompt", "language_kept", "code_intact"; with a judge
            "helpfulness", "clarity", "factuality", "depth", "engagement", "safety", or "overall",
            their mean.
        judge: A LangChain chat model that scores answers.
        start: The prompt to start from: a preset's name, a prompt file's path or a prompt.
        instructions: Further instructions to try, by their names. The start's own and none are
            always tried.
        examples: The most examples in the prompt.
        keep: How many of the start's first examples stay, such as one that declines a harmful
            request.
        candidates: The most pairs that are tried as examples. Default: half of the pool.
        tuning: How many pairs to tune on; at least 6. Default: a quarter of the pool.
        held_out: How many pairs to hold out; at least 6. Default: a quarter of the pool.
        seed: Splits the pool.
        parameters: How answers are sampled.
        concurrency: How many pairs are scored at the same time; engines batch them.
        progress: Receives what is being done, how much of it, and of how much.

    Returns:
        The fitted prompt, the steps to it, and the held-out figures of both.

    Raises:
        AnalysisError: The pool is too small or invalid, the scores are of other settings, or the
            measure applies to no tuning pair.
        ContextOverflowError: The start does not fit the model's context window.
        ParameterError: An argument is invalid.
        PromptError: The start, or a pair's text in its format, is invalid.
        UnsupportedModelError: The model cannot score given texts, as likelihood needs.
    """
    MissingDependencyError.check("Fitting a prompt", "analysis", "numpy")
    prompt = checked_start(start, output, examples=examples, keep=keep)
    check_measure(measure, has_judge=judge is not None)
    if concurrency < 1:
        raise ParameterError(f"concurrency is {concurrency}: give a whole number of at least 1.")
    pairs = read_pool(pool) if isinstance(pool, Path) else list(pool)
    split = split_pool(pairs, prompt, seed, candidates=candidates, tuning=tuning, held_out=held_out)
    base = base_model(model, parameters)
    measuring = prompt_measure(measure, base, Judge(judge) if judge is not None else None)
    longest = max((*split.tuning, *split.held_out), key=_characters)
    measuring.request(prompt, longest)  # raises where it does not fit
    settings = {
        "model": base.settings,
        "measure": {"name": measure, **measuring.settings},
        "pool": sha256(repr(pairs).encode()).hexdigest(),
        "seed": seed,
    }
    with RecordFile(scores_file(output), PromptScore, settings) as records:
        scores = PromptScores(
            measuring,
            records,
            longest=longest,
            concurrency=concurrency,
            progress=progress or (lambda _what, _done, _total: None),
        )

        def score_on_tuning(what: str, changes: Mapping[str, Prompt]) -> Sequence[Scores | None]:
            return scores.of(what, changes, split.tuning)

        others = {"none": "", **(instructions or {})}
        fitted, steps = search_prompt(
            prompt,
            split.candidates,
            score_on_tuning,
            higher_is_better=measuring.measure.better == "higher",
            instructions={k: text for k, text in others.items() if text != prompt.instruction},
            examples=examples,
            keep=keep,
        )
        both = {"start": prompt, "fitted": fitted}
        before, after = (
            {str(pair): [value] for pair, value in (found or {}).items()}
            for found in scores.of("Held-out", both, split.held_out)
        )
        found = PromptFit(
            output,
            fitted,
            prompt,
            measuring.measure,
            steps,
            mean_with_interval(before),
            mean_with_interval(after),
            mean_difference(after, before),
            sum(scores.failures(one, split.held_out) for one in both.values()),
        )
    described = f"Fitted to {len(split.tuning)} pairs, from {prompt.name!r}. {found.verdict}"
    fitted = replace(fitted, name=output.stem, description=described)
    write_text(output, write_toml(fitted))
    return replace(found, prompt=fitted)


def scores_file(output: Path) -> Path:
    """Return where the scores of a prompt file are recorded."""
    return output.with_suffix(".scores.jsonl")


def checked_start(start: str | Path | Prompt, output: Path, *, examples: int, keep: int) -> Prompt:
    """Load the prompt to start from, and check that the output can be written.

    Args:
        start: A preset's name, a prompt file's path or a prompt.
        output: The prompt file to write.
        examples: The most examples.
        keep: How many of the start's first examples stay.

    Raises:
        ParameterError: A number is out of range, the start is kept as one text, or the output is no
            ``.toml`` file, or another prompt's.
        PromptError: There is no such prompt, or it is invalid.
    """
    if output.suffix.lower() != ".toml":
        raise ParameterError(f"output is {output}: name a .toml file.")
    if isinstance(start, Path) and start.resolve() == output.resolve():
        raise ParameterError(f"{output} is what the search starts from: name another output.")
    if output.exists() and not scores_file(output).exists():
        raise ParameterError(
            f"{output} exists, and has no {scores_file(output).name} beside it: name another file."
        )
    prompt = load_prompt(start)
    if prompt.verbatim is not None:
        raise ParameterError(
            f"Prompt {prompt.name!r} is one text, whose examples cannot be exchanged. Start from a "
            ".toml prompt file."
        )
    if not 0 <= keep <= min(examples, len(prompt.examples)):
        raise ParameterError(
            f"keep is {keep}: it may be at most {min(examples, len(prompt.examples))}, as the "
            f"prompt is to have at most {examples} examples, and {prompt.name!r} has "
            f"{len(prompt.examples)}."
        )
    return prompt


def _characters(pair: Pair) -> int:
    return len(pair.example.query) + len(pair.example.answer)
