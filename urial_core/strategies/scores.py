"""Scores of sampled replies: log-probability, relevance, agreement, or another model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from math import inf, isfinite, sqrt
from typing import Any, Literal, Protocol

from urial_core.completion import Completion
from urial_core.composing import ReplyRequest
from urial_core.errors import ParameterError, UnsupportedModelError
from urial_core.judge import Judge
from urial_core.prompts.escaping import escape
from urial_core.replies import Reply
from urial_core.strategies.model_scores import judged, reranked
from urial_core.strategies.strategy import Compute, StrategyStep, WriteCompletions
from urial_core.structured.constraints import Choice

__all__ = ["NAMES", "AgreementKey", "Score", "ScoreFunction", "Scoring", "kind_of", "score_steps"]

ScoreFunction = Callable[[str, Sequence[str]], Sequence[float]]
"""From the question and the replies' texts to their scores; more is better."""

Score = Literal["logprob", "relevance", "agreement"] | ScoreFunction | Any
"""What the best reply is best at; Any stands for a chat model or a reranker."""

NAMES = ("logprob", "relevance", "agreement")
"""Scores that have a name."""

AgreementKey = Callable[[str], object]
"""From a reply's text to what has to agree."""

_ADVICE = (
    "reports no log-probabilities of its replies: use BestOfN(score='agreement') or a function, or "
    "a backend that reports them (transformers, llama.cpp, vLLM)."
)


class Scoring(Protocol):
    """How samples are scored; see ``BestOfN``."""

    @property
    def score(self) -> Score:
        """What is best."""

    @property
    def key(self) -> AgreementKey | None:
        """What has to agree."""

    @property
    def embeddings(self) -> Any:
        """An embedding model."""


def kind_of(score: Any) -> str:
    """Return what scores: one of ``NAMES``, "judge", "reranker", "function"; or "", for nothing."""
    if isinstance(score, str):
        return score if score in NAMES else ""
    if any(hasattr(score, name) for name in ("with_structured_output", "as_structured_llm")):
        return "judge"
    if any(hasattr(score, name) for name in ("compress_documents", "postprocess_nodes")):
        return "reranker"
    return "function" if callable(score) else ""


def score_steps(
    scoring: Scoring, request: ReplyRequest, samples: Sequence[Reply], known: Sequence[float] = ()
) -> Generator[StrategyStep, Any, list[float]]:
    """Score samples of one request. An empty reply is worst, and so is one without a score.

    Args:
        scoring: How.
        request: What the samples reply to.
        samples: All samples.
        known: The scores of the first of them, from an earlier round; they are computed again where
            they depend on the others.

    Raises:
        UnsupportedModelError: Log-probabilities are needed, and the model reports none.
        ParameterError: A function returned something other than a score for each sample.
        GenerationError: A judge or a reranker scored none of the samples.
    """
    new = samples[len(known) :]
    match kind_of(scoring.score):
        case "logprob":
            scores = [*known, *map(_mean_logprob, new)]
        case "relevance":
            scores = [*known, *(yield from _relevance(request, new))]
        case "judge":
            judge = Judge(scoring.score)
            scores = [*known, *(yield Compute(lambda: judged(judge, request, new, known)))]
        case "reranker":
            scores = yield Compute(lambda: reranked(scoring.score, request, samples))
        case "agreement" if scoring.embeddings is None:
            scores = _exact_agreement([_compared(sample, scoring.key) for sample in samples])
        case _:
            scores = yield Compute(lambda: _computed(scoring, request, samples))
    empty = (not sample.text and not sample.tool_calls for sample in samples)
    return [-inf if is_empty else score for is_empty, score in zip(empty, scores, strict=True)]


def _mean_logprob(sample: Reply) -> float:
    if not sample.text:
        return -inf
    if not sample.logprobs:
        raise UnsupportedModelError(f"The model {_ADVICE}")
    return sum(token.logprob for token in sample.logprobs) / len(sample.logprobs)


def _relevance(
    request: ReplyRequest, samples: Sequence[Reply]
) -> Generator[StrategyStep, Any, list[float]]:
    """Return what prompt and conversation add to each reply's mean log-probability."""
    own = [_mean_logprob(sample) for sample in samples]
    start = request.format.open_turn("assistant") if request.format else "\n"
    texts = [
        escape(sample.text, request.format) if request.format else sample.text for sample in samples
    ]
    alone = [
        replace(
            request,
            prompt=start,
            prefix_length=0,
            own_spans=(),
            prefill="",
            constraint=Choice((text,)),
        )
        for text in texts
        if text
    ]
    completions: Iterator[Completion] = iter((yield WriteCompletions(alone)) if alone else ())
    return [
        value - next(completions).logprobs[0].logprob / len(sample.logprobs)
        if sample.text
        else -inf
        for value, sample in zip(own, samples, strict=True)
    ]


def _compared(sample: Reply, key: AgreementKey | None) -> object:
    if key is not None:
        return key(sample.text)
    calls = tuple((call.name, str(call.values)) for call in sample.tool_calls)
    return (*sample.text.casefold().split(), *calls)


def _exact_agreement(keys: Sequence[object]) -> list[float]:
    """Return the share of samples that each agrees with, itself included."""
    counts = Counter(keys)
    return [counts[key] / len(keys) for key in keys]


def _computed(scoring: Scoring, request: ReplyRequest, samples: Sequence[Reply]) -> list[float]:
    texts = [sample.text for sample in samples]
    if not callable(scoring.score):
        return _similarity(_embed(scoring.embeddings, texts))
    given = scoring.score(request.question, texts)
    scores = [float(score) for score in given]
    if len(scores) != len(texts) or not all(map(isfinite, scores)):
        raise ParameterError(
            f"The function given as score returned {scores}: it must return a finite number for "
            f"each of the {len(texts)} answers."
        )
    return scores


def _embed(embeddings: Any, texts: list[str]) -> list[Sequence[float]]:
    """Embed texts with a model of LangChain or LlamaIndex, or a function."""
    for name in ("embed_documents", "get_text_embedding_batch"):
        if (method := getattr(embeddings, name, None)) is not None:
            return list(method(texts))
    return list(embeddings(texts))


def _similarity(vectors: Sequence[Sequence[float]]) -> list[float]:
    """Return each vector's mean cosine similarity to the others."""
    units = [[x / (sqrt(sum(y * y for y in v)) or 1.0) for x in map(float, v)] for v in vectors]
    others = max(len(units) - 1, 1)
    return [
        sum(
            sum(x * y for x, y in zip(one, other, strict=True))
            for place, other in enumerate(units)
            if place != own
        )
        / others
        for own, one in enumerate(units)
    ]
