"""Scores by other models: a chat model as a judge, or a reranker."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from math import inf, isfinite
from statistics import fmean
from typing import Any

from urial_core.composing import ReplyRequest
from urial_core.errors import GenerationError
from urial_core.judge import Exchange, Judge
from urial_core.messages import Message
from urial_core.replies import Reply

__all__ = ["judged", "reranked"]


def judged(
    judge: Judge, request: ReplyRequest, samples: Sequence[Reply], known: Sequence[float] = ()
) -> list[float]:
    """Return each sample's mean over the judge's six aspects, from 1 to 5.

    Samples are judged at the same time. One at which the judge fails has minus infinity.

    Raises:
        GenerationError: It failed at all of them, and no earlier sample has a score either.
    """
    *before, (question, _) = _exchanges(request.conversation) or [("", "")]

    def score(answer: str) -> float | Exception:
        try:
            assessment = judge.assess([*before, (question, answer)])
        except Exception as error:  # noqa: BLE001 - whatever the model's provider raises
            return error
        return fmean(aspect.score for _, aspect in assessment)

    answers = [_text(sample) for sample in samples]
    with ThreadPoolExecutor(max(len(answers), 1)) as pool:  # each with the caller's callbacks
        runs = [pool.submit(copy_context().run, score, answer) for answer in answers if answer]
    found = iter([run.result() for run in runs])
    results = [next(found) if answer else -inf for answer in answers]
    errors = [result for result in results if isinstance(result, Exception)]
    if errors and len(errors) == len(runs) and not any(map(isfinite, known)):
        raise GenerationError(f"The judge failed at every answer: {errors[0]!r}") from errors[0]
    return [-inf if isinstance(result, Exception) else result for result in results]


def reranked(reranker: Any, request: ReplyRequest, samples: Sequence[Reply]) -> list[float]:
    """Return each sample's relevance by a reranker, as if it were a document.

    Where it reports no scores, its order counts. A sample that it leaves out has minus infinity.

    Raises:
        GenerationError: It left all of them out.
    """
    texts = [_text(sample) for sample in samples]
    if hasattr(reranker, "compress_documents"):  # LangChain's
        document = sys.modules["langchain_core.documents"].Document
        given = [document(text, metadata={_PLACE: at}) for at, text in enumerate(texts) if text]
        kept = [
            (one.metadata[_PLACE], one.metadata.get("relevance_score"))
            for one in reranker.compress_documents(given, request.question)
        ]
    else:
        schema = sys.modules["llama_index.core.schema"]
        nodes = [
            schema.NodeWithScore(node=schema.TextNode(text=text, metadata={_PLACE: at}))
            for at, text in enumerate(texts)
            if text
        ]
        kept = [
            (one.node.metadata[_PLACE], one.score)
            for one in reranker.postprocess_nodes(nodes, query_str=request.question)
        ]
    if not kept and any(texts):
        raise GenerationError(f"{type(reranker).__name__} left out all {len(texts)} answers.")
    scores = [-inf] * len(texts)
    has_scores = all(isinstance(score, int | float) for _, score in kept)
    for rank, (place, score) in enumerate(kept):
        scores[place] = float(score) if has_scores else float(-rank)
    return scores


_PLACE = "urial_answer"


def _text(sample: Reply) -> str:
    calls = (f"{call.name}({call.arguments})" for call in sample.tool_calls)
    return sample.text or "\n".join(calls)


def _exchanges(conversation: Sequence[Message]) -> list[Exchange]:
    """Return a conversation as pairs of what the user said and the reply to it."""
    found = list[Exchange]()
    for message in conversation:
        if message.role == "user":
            found.append((message.text, ""))
        elif message.role == "assistant" and found and message.text:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{message.text}".strip())
    return found
