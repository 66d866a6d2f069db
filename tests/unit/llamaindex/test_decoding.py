"""The field ``decoding`` of UrialLLM."""

from __future__ import annotations

import json

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from llamaindex_urial import UrialLLM
from urial_core import (
    BestOfN,
    CompletionChunk,
    ModelFeatures,
    Nudging,
    ParameterError,
    TokenLogprob,
    Usage,
    load_prompt,
)
from urial_core.judge import ASPECTS
from urial_core.testing import FakeModel


def llm_of(**fields: object) -> UrialLLM:
    """Return an LLM that samples replies of rising log-probability."""
    samples = [
        [CompletionChunk(text, "stop", Usage(5, 1, 0), (TokenLogprob(text, value),))]
        for text, value in (("one", -3.0), ("two", -2.0), ("three", -1.0))
    ]
    return UrialLLM(llm=FakeModel(*samples), prompt=load_prompt("short"), **fields)


@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_the_chosen_reply_and_its_metadata(way: str) -> None:
    """Called in any way, the best sample is the response; usage counts all samples."""
    llm, messages = llm_of(decoding=BestOfN(n=3)), [ChatMessage("Hi")]
    match way:
        case "chat":
            response = llm.chat(messages)
        case "achat":
            response = await llm.achat(messages)
        case "stream_chat":
            *_, response = llm.stream_chat(messages)
        case _:
            *_, response = [part async for part in await llm.astream_chat(messages)]
    assert response.message.content == "three"
    assert response.raw["decoding"]["chosen"] == 2
    assert response.raw["usage"]["completion_tokens"] == 3


def test_a_completion_has_it_too() -> None:
    """A prompt is answered, or continued as it is, by the same strategy."""
    llm = llm_of(decoding="best_of_n")
    assert llm.complete("Hi", decoding=BestOfN(n=3)).text == "three"
    assert llm.complete("Hi", formatted=True, decoding=BestOfN(n=3)).text == "three"


def test_an_llm_of_llamaindex_nudges() -> None:
    """An LLM of LlamaIndex writes the opener, given the conversation."""
    aligned = UrialLLM(llm=FakeModel(["Gladly! And so on."]), prompt=load_prompt("short"))
    decoding = Nudging(nudge_with=aligned, threshold=0, opener=1)
    llm = UrialLLM(llm=FakeModel([" It is."]), prompt=load_prompt("short"), decoding=decoding)
    assert llm.chat([ChatMessage("Is it?")]).message.content == "Gladly! It is."


def test_an_llm_of_llamaindex_judges() -> None:
    """An LLM scores the answers by structured prediction, and the best is chosen."""
    rated = [json.dumps({name: {"reason": "So.", "score": n} for name in ASPECTS}) for n in (2, 4)]
    features = ModelFeatures(enforces_json=True)
    judge = UrialLLM(llm=FakeModel(*rated, features=features), prompt=load_prompt("short"))
    llm = llm_of(decoding=BestOfN(n=2, round_size=1, tolerance=-1, score=judge))
    response = llm.chat([ChatMessage("Is {this} it?")])
    assert (response.message.content, response.raw["decoding"]["scores"]) == ("two", [2.0, 4.0])


class LongestFirst(BaseNodePostprocessor):
    """Scores nodes by their length."""

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        assert query_bundle is not None
        for node in nodes:
            node.score = float(len(node.text))
        return sorted(nodes, key=lambda node: -len(node.text))


def test_a_reranker_of_llamaindex_chooses() -> None:
    """A node postprocessor scores the answers, and the best is chosen."""
    llm = llm_of(decoding=BestOfN(n=3, score=LongestFirst()))
    response = llm.chat([ChatMessage("Hi")])
    assert response.message.content == "three"
    assert response.raw["decoding"]["scores"] == [3.0, 3.0, 5.0]


def test_nudging_by_its_name() -> None:
    """``decoding="nudge"`` with a model in ``nudge_with`` is that strategy, set or for one call."""
    aligned = UrialLLM(llm=FakeModel(["Gladly! And so on."]), prompt=load_prompt("short"))
    llm = llm_of(decoding="nudge", nudge_with=aligned)
    assert llm.urial.decoding == Nudging(nudge_with=aligned)
    assert "nudge_with" not in llm.to_dict()
    response = llm_of().chat([ChatMessage("Hi")], decoding="nudge", nudge_with=aligned)
    assert response.raw["decoding"]["strategy"] == "nudge"
    with pytest.raises(ParameterError, match="nudge_with"):
        llm_of(nudge_with=aligned)
