"""Nudging: when the aligned model writes, what it is asked, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    Completion,
    CompletionRequest,
    GenerationParameters,
    JsonSchema,
    Message,
    Nudging,
    ParameterError,
    TokenLogprob,
    Tool,
    ToolUse,
    UnsupportedModelError,
    UrialChat,
    Usage,
    load_prompt,
)
from urial_core.replies import Reply
from urial_core.testing import FakeModel

PROMPT = load_prompt("short")
SCHEMA = JsonSchema.of({"type": "object", "properties": {"a": {"type": "integer"}}})
TOOLS = ToolUse((Tool("find", "Finds.", '{"type": "object", "properties": {}}'),))
ANSWER = "The river is long, and it is cold in winter."


class Writer(FakeModel):
    """Goes on with an answer by words, and is unsure of some of them.

    Words that it does not know are the next one's place all the same.
    """

    def __init__(self, answer: str, unsure: Sequence[int] = ()) -> None:
        super().__init__()
        self._words = re.findall(r"\s*\S+", answer)
        self._unsure = unsure

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Write the words after those that the prompt has of the answer already."""
        self.requests += requests
        return [self._write(request) for request in requests]

    def _write(self, request: CompletionRequest) -> Completion:
        done = len(request.prefill.split())
        words = self._words[done : done + request.max_tokens]
        is_over = done + len(words) >= len(self._words)
        tokens = tuple(self._token(done + place, word) for place, word in enumerate(words))
        usage = Usage(5, len(tokens), 0)
        return Completion("".join(words), "stop" if is_over else "length", usage, tokens)

    def _token(self, place: int, word: str) -> TokenLogprob:
        value = log(0.1 if place in self._unsure else 0.9)
        return TokenLogprob(word, value, ((word, value),))


def answer(
    base: FakeModel, nudge_with: Any, messages: Sequence[Message] = (), **settings: Any
) -> Reply:
    decoding = Nudging(nudge_with=nudge_with, **{"tokens_at_once": 4, **settings})
    chat = UrialChat(base, PROMPT, decoding=decoding)
    request = chat.request(
        messages or [Message("user", "How?")], GenerationParameters(max_tokens=40)
    )
    return chat.reply([request])[0]


def continuing(text: str) -> Callable[[Sequence[Message], str], str]:
    """Return an aligned model that goes on with a text, wherever the answer stands."""
    words = re.findall(r"\s*\S+", text)
    return lambda _, so_far: "".join(words[len(so_far.split()) :])


@given(unsure=st.sets(st.integers(0, 10)), at_once=st.integers(1, 12))
def test_a_model_like_the_base_changes_nothing(unsure: set[int], at_once: int) -> None:
    """Nudged by a model that writes the same, the reply is the base model's own."""
    reply = answer(Writer(ANSWER, [*unsure]), continuing(ANSWER), tokens_at_once=at_once)
    assert reply.text == ANSWER
    assert reply.end.decoding is not None
    assert reply.end.decoding["nudged_words"] == len(unsure & set(range(len(ANSWER.split()))))


@given(unsure=st.sets(st.integers(0, 10)))
def test_a_model_that_repeats_the_answer_so_far(unsure: set[int]) -> None:
    """What a server's continuation repeats of the answer is not written twice."""
    reply = answer(Writer(ANSWER, [*unsure]), lambda *_: ANSWER)
    assert reply.text == ANSWER


def test_no_space_where_a_repeated_answer_has_none() -> None:
    """A model that repeats the answer so far decides itself whether a space follows it."""
    base = Writer(ANSWER, [1])
    other = ANSWER.replace("The river", "The's river")
    reply = answer(base, lambda _, so_far: other if so_far == "The" else f"{so_far} river")
    assert reply.text.startswith("The's river is long")


@pytest.mark.parametrize(("written", "text"), [(",", "The, river is"), ("lake", "The lake is")])
def test_a_space_before_words_alone(written: str, text: str) -> None:
    """A word without its space gets one; a comma or a full stop follows at once."""
    base = Writer(ANSWER, [1])
    reply = answer(base, lambda _, so_far: written if so_far == "The" else " river")
    assert reply.text.startswith(f"{text} long")


def test_the_words_of_which_the_base_is_unsure_are_replaced() -> None:
    """The aligned model writes one word at each such place, and the base model goes on."""
    other = "Our brook was short: but so was cold during summer!"
    reply = answer(Writer(ANSWER, [1, 5]), continuing(other))
    assert reply.text == "The brook is long, and so is cold in winter."
    assert reply.end.decoding == {
        "strategy": "nudge",
        "nudged_words": 2,
        "nudged_share": round(2 / 10, 4),
    }


def test_the_aligned_model_may_end_the_reply() -> None:
    """An aligned model with nothing more to write ends the reply."""
    reply = answer(Writer(ANSWER, [4]), lambda *_: "  ")
    assert reply.text == "The river is long,"
    assert reply.end.finish_reason == "stop"


def test_the_opener_needs_no_probabilities() -> None:
    """With an opener alone, the aligned model is asked once, and the base writes the rest."""
    asked = list[str]()

    def opener(conversation: Sequence[Message], so_far: str) -> str:
        asked.append(conversation[-1].text + so_far)
        return "Gladly! Let me see what I know."

    base = FakeModel([" know: it is long."])
    reply = answer(base, opener, threshold=0, opener=3)
    assert reply.text == "Gladly! Let me know: it is long."
    assert asked == ["How?"]
    assert len(base.requests) == 1
    assert base.requests[0].parameters.logprobs is None


def test_the_limit_counts_nudged_words() -> None:
    """A reply whose tokens and nudged words reach ``max_tokens`` ends there, for that reason."""
    decoding = Nudging(nudge_with=continuing(ANSWER), tokens_at_once=3)
    chat = UrialChat(Writer(ANSWER, [1, 2]), PROMPT, decoding=decoding)
    request = chat.request([Message("user", "How?")], GenerationParameters(max_tokens=5))
    reply = chat.reply([request])[0]
    assert (reply.text, reply.end.reason) == ("The river is long, and", "length")


def test_a_nudge_can_forge_no_turn() -> None:
    """A word that looks like the fence is escaped in the prompt, and comes out as written."""
    reply = answer(Writer(ANSWER, [0]), lambda *_: "````")
    assert reply.text.startswith("````")
    assert reply.end.reason == "end_of_text"


class LangChainModel:
    """Is called as LangChain's chat models are."""

    def __init__(self) -> None:
        self.asked = list[Any]()
        self.text = "Our lake"

    def invoke(self, messages: Any) -> LangChainModel:
        """Return a message, which has a text."""
        self.asked.append(messages)
        return self


def test_a_chat_model_gets_the_conversation_and_the_answer_so_far() -> None:
    """A chat model of LangChain is asked with the messages and the answer to be continued."""
    model = LangChainModel()
    messages = [Message("system", "Be brief."), Message("user", "How?")]
    reply = answer(Writer(ANSWER, [0, 1]), model, messages)
    assert reply.text.startswith("Our lake is long,")
    assert model.asked[0] == [("system", "Be brief."), ("user", "How?")]
    assert model.asked[1] == [("system", "Be brief."), ("user", "How?"), ("assistant", "Our")]


@pytest.mark.parametrize("structured", [{"tools": TOOLS}, {"response_format": SCHEMA}])
def test_tools_and_typed_output_are_refused(structured: dict[str, Any]) -> None:
    """Tools and typed output are refused before a model runs."""
    base = Writer(ANSWER)
    chat = UrialChat(base, PROMPT, decoding=Nudging(nudge_with=str))
    with pytest.raises(ParameterError, match="replies in text"):
        chat.reply([chat.request([Message("user", "Hi")], **structured)])
    assert base.requests == []


def test_a_base_model_without_log_probabilities() -> None:
    """Where the base model reports none, the error names the form that needs none."""
    with pytest.raises(UnsupportedModelError, match="opener=8"):
        answer(FakeModel("Yes."), lambda *_: "x")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"nudge_with": 3}, "nudge_with"),
        ({"threshold": 1.5}, "threshold"),
        ({"opener": -1}, "opener"),
        ({"tokens_at_once": 0}, "tokens_at_once"),
        ({"threshold": 0}, "both 0"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], named: str) -> None:
    """A setting out of range is an error that names it."""
    with pytest.raises(ParameterError, match=named):
        Nudging(**{"nudge_with": str, **settings})
