"""Best of n: sample several replies and take the one with the best score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from urial_core.completion import ModelFeatures
from urial_core.composing import ReplyRequest
from urial_core.decoding.steps import total_usage
from urial_core.errors import ParameterError, shown
from urial_core.judge import Judge
from urial_core.replies import Reply
from urial_core.strategies.scores import AgreementKey, Score, kind_of, score_steps
from urial_core.strategies.strategy import DecodingStrategy, StrategySteps, WriteReplies

__all__ = ["BestOfN"]

_SEEDS_APART = 1_000_003
"""Between the seeds of two samples, so that they are not those of ``n`` replies."""


@dataclass(frozen=True, kw_only=True, repr=False)
class BestOfN(DecodingStrategy):
    """Sample up to n replies and take the one with the best score; the first of equals.

    Where the samples so far agree in their scores, within ``tolerance``, the rest is not sampled.

    With tools or a response format, samples are compared by "agreement" or a function of one's own:
    the other scores would compare a value's few tokens.

    Attributes:
        n: The most samples, at least 2.
        score: What is best:

            - "logprob": the mean log-probability of the reply's tokens.
            - "relevance": the same, less the mean log-probability that the tokens have without
              prompt and conversation (maximum mutual information, Li et al. 2016,
              arXiv 1510.03055); needs a model that scores choices, see ``ModelFeatures``.
            - "agreement": how far the other samples agree (self-consistency, Wang et al. 2023,
              arXiv 2203.11171). Exactly, as ``key`` makes them alike; or, with ``embeddings``, by
              their mean similarity.
            - a chat model of LangChain or an LLM of LlamaIndex, which judges each reply in six
              aspects by structured output (``urial_core.judge``): their mean, from 1 to 5. It gets
              more than the replies' number of tokens to write, so let it be a fast one.
            - a reranker: a document compressor of LangChain or a node postprocessor of LlamaIndex.
            - a function from the question and the replies' texts to their scores.
        temperature: The samples' temperature where none is set, or 0. Default 0.7.
        round_size: Samples generated together; after each round it is seen whether scores agree.
            Default 4: on a CPU, four take hardly longer than one.
        tolerance: By how much scores may differ that agree. Default 0.05.
        key: For "agreement", a function from a reply's text to what has to agree, such as the
            number in it. Default: its words, in lower case.
        embeddings: For "agreement", an embedding model of LangChain or LlamaIndex, or a function
            from texts to vectors.
    """

    n: int = 8
    score: Score = "logprob"
    temperature: float = 0.7
    round_size: int = 4
    tolerance: float = 0.05
    key: AgreementKey | None = None
    embeddings: Any = None

    def __post_init__(self) -> None:
        if self.n < 2 or self.round_size < 1:
            raise ParameterError(
                f"n is {self.n} and round_size {self.round_size}: give at least 2 and 1."
            )
        if not self.temperature > 0:
            raise ParameterError(
                f"temperature is {self.temperature}: give more than 0, or all samples are equal."
            )
        if not self.kind:
            raise ParameterError(
                f"score is {shown(self.score)}: use 'logprob', 'relevance', 'agreement', a chat "
                "model, a reranker, or a function from the question and the answers to their "
                "scores."
            )
        if self.kind == "judge":
            Judge(self.score)
        if self.score != "agreement" and (self.key or self.embeddings is not None):
            raise ParameterError("key and embeddings are for score='agreement' only.")

    @property
    def kind(self) -> str:
        """What scores: a name such as "logprob", or "judge", "reranker" or "function"."""
        return kind_of(self.score)

    def lacking(self, features: ModelFeatures) -> str:
        """Return what the score needs a model to report and this one does not; "" for nothing."""
        if self.score == "relevance" and not features.scores_texts:
            return "the log-probability of a given text (for score='relevance')"
        return super().lacking(features)

    def steps(self, request: ReplyRequest) -> StrategySteps:
        """Sample in rounds, and return the reply with the best score.

        Raises:
            ParameterError: Values or calls would be compared by log-probability.
            UnsupportedModelError: The model reports no log-probabilities.
            GenerationError: A judge or a reranker scored no reply of the first round.
        """
        is_structured = request.tools is not None or request.response_format is not None
        if is_structured and self.score in ("logprob", "relevance"):
            raise ParameterError(
                f"Best of n with score={self.score!r} compares replies in text, and this call has "
                "tools or a response format: use BestOfN(score='agreement') or a function."
            )
        samples = list[Reply]()
        scores = list[float]()
        while len(samples) < self.n and not self._agree(scores):
            count = min(self.round_size, self.n - len(samples))
            requests = [self._sample(request, len(samples) + more) for more in range(count)]
            samples += yield WriteReplies(requests)
            scores = yield from score_steps(self, request, samples, scores)
        best = max(range(len(samples)), key=scores.__getitem__)
        return self._chosen(request, samples, scores, best)

    def _agree(self, scores: Sequence[float]) -> bool:
        if len(scores) < 2:
            return False
        best = 1.0 if self.score == "agreement" else max(scores)
        return best - min(scores) <= self.tolerance

    def _sample(self, request: ReplyRequest, number: int) -> ReplyRequest:
        """Return the request of a sample: other seed, temperature, log-probabilities if needed."""
        own = request.parameters
        seed = None if own.seed is None else own.seed + _SEEDS_APART * number
        parameters = replace(own, seed=seed, temperature=own.temperature or self.temperature)
        if self.score in ("logprob", "relevance") and own.logprobs is None:
            parameters = replace(parameters, logprobs=0)
        return replace(request, parameters=parameters)

    def _chosen(
        self,
        request: ReplyRequest,
        samples: Sequence[Reply],
        scores: Sequence[float],
        best: int,
    ) -> Reply:
        """Return the best sample, with what all of them took and why it was chosen."""
        reply = samples[best]
        decoding: dict[str, Any] = {
            "strategy": "best_of_n",
            "score": self.kind,
            "samples": len(samples),
            "chosen": best,
            "scores": [round(score, 4) if isfinite(score) else None for score in scores],
        }
        unscored = sum(
            bool(sample.text or sample.tool_calls) and not isfinite(score)
            for sample, score in zip(samples, scores, strict=True)
        )
        if unscored:
            decoding["unscored"] = unscored
        usage = total_usage([sample.end.usage for sample in samples])
        return replace(
            reply,
            end=replace(reply.end, usage=usage, decoding=decoding),
            logprobs=() if request.parameters.logprobs is None else reply.logprobs,
        )
