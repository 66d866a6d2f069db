"""Behind long tool results the question is repeated, before the answer only."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from urial_core import (
    ContextOverflowError,
    Message,
    Prompt,
    Tool,
    ToolCall,
    ToolUse,
    UrialChat,
    compose,
)
from urial_core.completion import ModelFeatures
from urial_core.composing import TokenBudget
from urial_core.prompts.tool_examples import ToolExamples
from urial_core.testing import FakeModel

PROMPT = Prompt(name="tiny", instruction="Be kind.", tool_examples=ToolExamples("", (), ()))
TOOLS = ToolUse((Tool("search", "Finds passages."),))
ASKED = Message("user", "# Query:\nWho?")
CALLED = Message("assistant", tool_calls=(ToolCall("search", "{}", "1"),))
LONG, SHORT = "A passage. " * 20, "Bob."
ANSWER, CALL = "# Answer:\n````\n", "# Tool call:\n````\n"
AGAIN = "# Query:\n````\n\\# Query:\nWho?\n````\n\n"


def conversation(result: str) -> Sequence[Message]:
    """Return a question, a call, and its result."""
    return [ASKED, CALLED, Message("tool", result, tool_call_id="1")]


@pytest.mark.parametrize(("result", "again"), [(LONG, AGAIN), (SHORT, "")], ids=["long", "short"])
def test_the_answer_follows_the_question(result: str, again: str) -> None:
    """The choice between answer and call is made without it; then it stands, escaped."""
    features = ModelFeatures(enforces_choices=True, enforces_json=True)
    model = FakeModel(ANSWER, "Bob did.\n````\n", features=features)
    chat = UrialChat(model, PROMPT)
    request = chat.request(conversation(result), tools=TOOLS)
    assert chat.reply([request])[0].text == "Bob did."
    decision, answer = (sent.prompt for sent in model.requests)
    assert decision == request.prompt
    assert answer == f"{decision}{again}{ANSWER}"


def test_nothing_is_repeated_without_a_choice() -> None:
    """Where a call is required, or nothing can be called, the prompt is as it was."""
    for tools in (None, ToolUse(TOOLS.tools, choice="required"), ToolUse(TOOLS.tools, "none")):
        assert not compose(PROMPT, conversation(LONG), tools=tools).question_again


def test_a_later_question_is_the_one_that_counts() -> None:
    """Results before the last question are behind it already; a blank one is none."""
    messages = [*conversation(LONG), Message("assistant", "Bob."), Message("user", "When?")]
    assert not compose(PROMPT, messages, tools=TOOLS).question_again
    blank = [Message("user", " "), *conversation(LONG)[1:]]
    assert not compose(PROMPT, blank, tools=TOOLS).question_again


def test_it_fits_the_window() -> None:
    """What is repeated counts with the prompt, so that prompt and answer fit the window."""

    def needed(question: str) -> int:
        messages = [Message("user", question), *conversation(LONG)[1:]]
        with pytest.raises(ContextOverflowError) as caught:
            compose(PROMPT, messages, tools=TOOLS, budget=TokenBudget(100, len))
        return caught.value.prompt_tokens

    assert needed("Who? " * 4) - needed("Who? ") == 2 * 15
