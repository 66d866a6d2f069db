"""The field ``decoding`` of ChatUrial."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_urial import ChatUrial
from urial_core import (
    BestOfN,
    CompletionChunk,
    GenerationError,
    ModelFeatures,
    Nudging,
    ParameterError,
    TokenLogprob,
    UnsupportedModelError,
    Usage,
    load_prompt,
)
from urial_core.judge import ASPECTS
from urial_core.testing import FakeModel


class NamedModel(FakeListChatModel):
    """A chat model with a name, as providers' classes have."""

    model: str


def chat_of(decoding: Any, **fields: Any) -> ChatUrial:
    """Return a chat model that samples replies of rising log-probability."""
    samples = [
        [CompletionChunk(text, "stop", Usage(5, 1, 0), (TokenLogprob(text, value),))]
        for text, value in (("one", -3.0), ("two", -2.0), ("three", -1.0))
    ]
    model = FakeModel(*samples)
    return ChatUrial(llm=model, prompt=load_prompt("short"), decoding=decoding, **fields)


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_the_chosen_reply_and_its_metadata(way: str) -> None:
    """Called in any way, the best sample is the message; usage counts all samples."""
    chat = chat_of(BestOfN(n=3))
    match way:
        case "invoke":
            message: AIMessage = chat.invoke("Hi")
        case "ainvoke":
            message = await chat.ainvoke("Hi")
        case "stream":
            message = sum(chat.stream("Hi"), start=AIMessageChunk(content=""))
        case _:
            chunks = [chunk async for chunk in chat.astream("Hi")]
            message = sum(chunks, start=AIMessageChunk(content=""))
    assert message.text == "three"
    decoding = message.response_metadata["decoding"]
    assert (decoding["strategy"], decoding["chosen"]) == ("best_of_n", 2)
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] == 3


def test_a_call_may_set_it() -> None:
    """The call's strategy takes precedence over the setting, which may be a name."""
    chat = chat_of("best_of_n")
    assert chat.invoke("Hi", decoding=BestOfN(n=2)).text == "two"
    assert len(chat.llm.requests) == 2


def test_an_unknown_strategy_is_refused_at_once() -> None:
    """An unknown name is an error of the constructor."""
    with pytest.raises(ParameterError, match="best_of_n"):
        chat_of("best")


def test_it_is_part_of_the_cache_key() -> None:
    """Chat models with different strategies share no cached replies."""
    keys = {chat_of(value)._get_llm_string() for value in (None, BestOfN(n=2), BestOfN(n=3))}
    assert len(keys) == 3


def test_a_chat_model_of_langchain_nudges() -> None:
    """A chat model writes the opener, given the conversation."""
    aligned = FakeListChatModel(responses=["Gladly! And so on."])
    decoding = Nudging(nudge_with=aligned, threshold=0, opener=1)
    model = FakeModel([" It is."])
    chat = ChatUrial(llm=model, prompt=load_prompt("short"), decoding=decoding)
    assert chat.invoke("Is it?").text == "Gladly! It is."


@pytest.mark.parametrize("has_scores", [True, False])
def test_a_reranker_of_langchain_chooses(*, has_scores: bool) -> None:
    """A document compressor ranks the answers, by its scores or its order; the first is chosen."""
    chat = chat_of(BestOfN(n=3, score=ShortestFirst(has_scores=has_scores)))
    message = chat.invoke("Hi")
    assert message.text == "one"
    decoding = message.response_metadata["decoding"]
    assert decoding["score"] == "reranker"
    assert decoding["scores"] == ([-3.0, -3.0, -5.0] if has_scores else [0.0, -1.0, -2.0])


def test_an_answer_that_a_reranker_leaves_out_is_not_chosen() -> None:
    """Answers without a score are counted; where none has one, that is an error."""
    message = chat_of(BestOfN(n=3, score=ShortestFirst(top_n=2))).invoke("Hi")
    decoding = message.response_metadata["decoding"]
    assert (message.text, decoding["unscored"], decoding["scores"][2]) == ("one", 1, None)
    with pytest.raises(GenerationError, match="left out all 3"):
        chat_of(BestOfN(n=3, score=ShortestFirst(top_n=0))).invoke("Hi")


def test_a_chat_model_of_langchain_judges() -> None:
    """A chat model with structured output scores the answers; one without is refused at once."""
    rated = [assessment(score) for score in (2, 5, 3)]
    judge = ChatUrial(
        llm=FakeModel(*rated, features=ModelFeatures(enforces_json=True)),
        prompt=load_prompt("short"),
    )
    message = chat_of(BestOfN(n=3, round_size=1, tolerance=-1, score=judge)).invoke("Hi")
    assert (message.text, message.response_metadata["decoding"]["score"]) == ("two", "judge")
    assert message.response_metadata["decoding"]["scores"] == [2.0, 5.0, 3.0]
    with pytest.raises(UnsupportedModelError, match="cannot judge"):
        BestOfN(score=FakeListChatModel(responses=["5"]))


def assessment(score: int) -> list[str]:
    """Return a judge's answer in which each aspect has this score."""
    return [json.dumps({name: {"reason": "So.", "score": score} for name in ASPECTS})]


class ShortestFirst(BaseDocumentCompressor):
    """Ranks documents by their length."""

    has_scores: bool = True
    top_n: int = 3

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Any = None,
    ) -> Sequence[Document]:
        """Return the shortest documents, with their scores where it has some."""
        ranked = sorted(documents, key=lambda one: len(one.page_content))[: self.top_n]
        if self.has_scores:
            for one in ranked:
                one.metadata["relevance_score"] = -len(one.page_content)
        return ranked


def test_nudging_by_its_name() -> None:
    """``decoding="nudge"`` with a model in ``nudge_with`` is that strategy, set or for one call."""
    aligned = FakeListChatModel(responses=["Gladly! And so on."])
    sure = CompletionChunk(" It is.", "stop", logprobs=(TokenLogprob(" It is.", -0.1),))
    chat = ChatUrial(
        llm=FakeModel([sure]),
        prompt=load_prompt("short"),
        decoding="nudge",
        nudge_with=aligned,
    )
    assert chat.urial.decoding == Nudging(nudge_with=aligned)
    assert copy.deepcopy(chat).nudge_with is aligned
    assert chat.invoke("Is it?").response_metadata["decoding"]["strategy"] == "nudge"
    plain = chat_of(None)
    nudged = plain.invoke("Is it?", decoding="nudge", nudge_with=lambda *_: "Gladly!")
    assert nudged.response_metadata["decoding"]["nudged_words"] == 1


def test_a_call_may_set_another_strategy_than_nudging() -> None:
    """The call's strategy takes precedence, and leaves the model that would nudge unused."""
    chat = chat_of("nudge", nudge_with=str)
    assert chat.invoke("Hi", decoding=BestOfN(n=2)).text == "two"


@pytest.mark.parametrize("fields", [{"decoding": "nudge"}, {"nudge_with": str}])
def test_nudging_needs_both_its_fields(fields: dict[str, Any]) -> None:
    """The name without a model, and a model without the name, are errors of the constructor."""
    with pytest.raises(ParameterError, match="nudge_with"):
        ChatUrial(llm=FakeModel(), prompt=load_prompt("short"), **fields)
    with pytest.raises(ParameterError, match="nudge_with"):
        chat_of(None).invoke("Hi", **fields)


def test_the_aligned_model_is_part_of_the_cache_key_and_of_no_dump() -> None:
    """Chat models with different aligned models share no replies; no dump holds the model."""
    one, other = (
        chat_of("nudge", nudge_with=NamedModel(responses=["Yes."], model=name))
        for name in ("small", "large")
    )
    assert one._get_llm_string() != other._get_llm_string()
    assert "small" in one._get_llm_string()
    assert "nudge_with" not in one.model_dump()
