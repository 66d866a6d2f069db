"""A judge as the score of best of n: what it is asked, and what its failures do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from urial_core import (
    BestOfN,
    GenerationError,
    Message,
    ParameterError,
    Reply,
    ToolCall,
    UrialChat,
    load_prompt,
)
from urial_core.judge import ASPECTS, Assessment
from urial_core.testing import FakeModel


class FakeJudge:
    """A chat model that scores a transcript by a function; its structured output is an object."""

    def __init__(self, score: Callable[[str], int]) -> None:
        self.texts = list[str]()
        self._score = score

    def with_structured_output(self, schema: type) -> FakeJudge:
        """Return itself; it answers with assessments only."""
        del schema
        return self

    def invoke(self, messages: Sequence[tuple[str, str]]) -> object:
        """Assess the last answer."""
        text = messages[-1][1]
        self.texts.append(text)
        aspect = {"reason": "So.", "score": self._score(text)}
        return Assessment.model_validate(dict.fromkeys(ASPECTS, aspect))


def answer(
    score: Callable[[str], int] | FakeJudge,
    *texts: str,
    messages: Sequence[Message] = (Message("user", "How?"),),
    **settings: Any,
) -> Reply:
    judge = score if isinstance(score, FakeJudge) else FakeJudge(score)
    settings = {"n": len(texts), "tolerance": -1, **settings}
    model = FakeModel(*[[f"{text}\n````\n"] for text in texts])
    chat = UrialChat(model, load_prompt("short"), decoding=BestOfN(score=judge, **settings))
    return chat.reply([chat.request(messages)])[0]


def length(text: str) -> int:
    """Return a score from 1 to 5 that rises with the last answer's length."""
    return min(len(text.rpartition("<answer>")[2].split()) - 1, 5)


def test_the_answer_that_the_judge_prefers_is_chosen() -> None:
    """The mean over the aspects decides, and the end has all of them."""
    reply = answer(length, "one", "one two three", "one two")
    assert reply.text == "one two three"
    assert reply.end.decoding is not None
    assert (reply.end.decoding["score"], reply.end.decoding["scores"]) == ("judge", [1, 3, 2])
    assert "unscored" not in reply.end.decoding


def test_each_answer_is_judged_once_in_its_conversation() -> None:
    """Over several rounds, no answer is judged again; the judge sees the earlier exchanges."""
    judge = FakeJudge(length)
    before = [Message("user", "Who?"), Message("assistant", "Ann."), Message("user", "Why?")]
    answer(judge, "a", "b b", "c", "d", "e", round_size=2, messages=before)
    assert len(judge.texts) == 5
    assert "<query>\nWho?\n</query>\n\n<answer>\nAnn.\n</answer>" in judge.texts[0]
    assert judge.texts[0].endswith("<query>\nWhy?\n</query>\n\n<answer>\na\n</answer>")


def test_the_judge_reads_text_beside_calls_once() -> None:
    """An earlier message with text and calls is in the judge's transcript once."""
    judge = FakeJudge(length)
    spoken = Message("assistant", "I look it up.", tool_calls=(ToolCall("look", id="1"),))
    found = Message("tool", "Ann.", tool_call_id="1")
    who, why = Message("user", "Who?"), Message("user", "Why?")
    answer(judge, "a", "b", messages=[who, spoken, found, why])
    assert [text.count("I look it up.") for text in judge.texts] == [1, 1]


def test_an_answer_at_which_the_judge_failed_is_not_chosen() -> None:
    """It is counted in the metadata, and one with a score is chosen, however low that is."""

    def score(text: str) -> int:
        if "two" in text:
            raise ConnectionError
        return 1

    reply = answer(score, "one two", "one", "two", round_size=2)
    assert reply.text == "one"
    assert reply.end.decoding is not None
    assert reply.end.decoding["unscored"] == 2
    assert reply.end.decoding["scores"] == [None, 1.0, None]


@pytest.mark.parametrize("score", [7, "five"])
def test_a_judge_that_fails_at_every_answer(score: Any) -> None:
    """Where nothing could be judged, no answer is passed off as the best."""
    with pytest.raises(GenerationError, match="failed at every answer"):
        answer(lambda _: score, "one", "two")


def test_a_word_is_no_judge() -> None:
    """What scores has to be given itself: its kind's name alone is refused."""
    for name in ("judge", "reranker", "function"):
        with pytest.raises(ParameterError, match="score"):
            BestOfN(score=name)
