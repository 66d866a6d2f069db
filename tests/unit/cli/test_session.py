"""The session: which messages it keeps, and which prompts it sends."""

from __future__ import annotations

import pytest

from urial_core import (
    ContextOverflowError,
    GenerationError,
    Message,
    UrialChat,
    Usage,
    load_prompt,
)
from urial_core.cli.session import AnswerEnd, ChatSession
from urial_core.composing import Overflow
from urial_core.replies import ReplyEnd, TextDelta
from urial_core.testing import FakeModel


def short_session(model: FakeModel, system: str = "") -> ChatSession:
    return ChatSession(UrialChat(model, load_prompt("short"), "truncate"), system=system)


def answer(session: ChatSession, text: str) -> str:
    """Ask a question and return the whole answer."""
    return "".join(event.text for event in session.ask(text) if isinstance(event, TextDelta))


def test_a_conversation_is_kept() -> None:
    """Repeat every answered question in the prompts that follow, in order."""
    model = FakeModel("One.", "Two.")
    session = short_session(model, system="Be brief.")
    assert [answer(session, "First?"), answer(session, "Second?")] == ["One.", "Two."]
    assert session.messages == [
        Message("user", "First?"),
        Message("assistant", "One."),
        Message("user", "Second?"),
        Message("assistant", "Two."),
    ]
    prompt = model.requests[1].prompt
    positions = [prompt.index(text) for text in ("Be brief.", "First?", "One.", "Second?")]
    assert positions == sorted(positions)


def test_the_last_event_is_the_end() -> None:
    """Yield an answer's text in pieces, then its end once."""
    *deltas, end = short_session(FakeModel(["Hel", "lo ", "you"])).ask("?")
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert isinstance(end, AnswerEnd)
    assert 0 <= end.first_token_seconds <= end.seconds


def test_closing_stops_the_model_and_keeps_the_text() -> None:
    """Stop the model when the events are closed early; keep the text so far."""
    model = FakeModel([f"word{n} " for n in range(100)])
    session = short_session(model)
    events = session.ask("Go on.")
    pieces = [event.text for event in (next(events), next(events)) if isinstance(event, TextDelta)]
    events.close()
    assert model.closed == 1
    assert model.chunks_sent < 20
    assert session.messages[-1] == Message("assistant", "".join(pieces))


def test_a_question_without_answer_is_removed() -> None:
    """Leave the conversation unchanged after an error before any text."""
    model = FakeModel([GenerationError("broken")], "Fine.")
    session = short_session(model)
    with pytest.raises(GenerationError):
        answer(session, "Lost?")
    assert session.messages == []
    assert answer(session, "Again?") == "Fine."
    assert "Lost?" not in model.requests[-1].prompt


@pytest.mark.parametrize("overflow", ["truncate", "error"])
def test_overflow(overflow: Overflow) -> None:
    """Remove the oldest turns of a conversation that is too long and report it, or refuse it."""
    prompt = load_prompt("short")
    window = len(prompt.prefix.split()) + 64 + 40
    model = FakeModel("word " * 12, context_window=window)
    session = ChatSession(UrialChat(model, prompt, overflow))
    answer(session, "one " * 12)
    if overflow == "error":
        with pytest.raises(ContextOverflowError):
            answer(session, "two " * 12)
        assert len(session.messages) == 2
    else:
        end = list(session.ask("two " * 12))[-1]
        assert isinstance(end, AnswerEnd)
        assert end.truncated == 2
        assert end.summary().endswith("2 messages truncated")
        assert len(session.messages) == 4


def test_last_prompt() -> None:
    """Return the last request's prompt byte for byte, markup included."""
    model = FakeModel("[bold]One[/bold].", "Two.")
    session = short_session(model, system="Rules.")
    assert session.last_prompt().startswith(session.chat.prompt.prefix)
    assert "Rules." in session.last_prompt()
    for question in ("[red]First?[/red]", "Second?"):
        answer(session, question)
        assert session.last_prompt() == model.requests[-1].prompt


def test_switching_the_prompt_keeps_the_conversation() -> None:
    """Write the same conversation with another prompt."""
    model = FakeModel("One.", "Two.")
    session = short_session(model)
    answer(session, "First?")
    session.run_command("/prompt instruction_only")
    assert session.last_prompt().startswith(session.chat.prompt.prefix)
    answer(session, "Second?")
    assert model.requests[-1].prompt.startswith(session.chat.prompt.prefix)
    assert "First?" in model.requests[-1].prompt


def test_reset() -> None:
    """Send no earlier message after a reset, but the system message."""
    model = FakeModel("One.", "Two.")
    session = short_session(model, system="Rules.")
    answer(session, "First?")
    session.run_command("/reset")
    answer(session, "Second?")
    assert "First?" not in model.requests[-1].prompt
    assert "Rules." in model.requests[-1].prompt


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (
            AnswerEnd(ReplyEnd("delimiter", usage=Usage(1022, 84, 999)), 0.09, 3.28),
            "23 tokens in, 999 cached · 84 out · first token 0.09 s · 26 tokens/s · stop",
        ),
        (
            AnswerEnd(ReplyEnd("length", usage=Usage(10, 1)), 1.0, 1.0),
            "10 tokens in · 1 out · first token 1.00 s · length limit",
        ),
        (AnswerEnd(ReplyEnd("end_of_text"), 0.5, 1.0), "first token 0.50 s · stop"),
        (AnswerEnd(ReplyEnd("template"), 0.5, 1.0), "first token 0.50 s · stop: template"),
    ],
)
def test_summary(end: AnswerEnd, expected: str) -> None:
    """Summarize what is known of an answer; an end that a user may not expect is named."""
    assert end.summary() == expected


def test_warm_up() -> None:
    """Cache the prompt prefix by a request for one token; the conversation stays empty."""
    model = FakeModel("Unheard.", "One.")
    session = short_session(model)
    session.warm_up()
    assert session.messages == []
    assert model.requests[0].max_tokens == 1
    assert answer(session, "First?") == "One."
    assert "Hello" not in model.requests[1].prompt[model.requests[1].prefix_length :]
