"""The session: what a conversation remembers, and what it sends."""

from __future__ import annotations

import pytest

from urial_core import ContextOverflowError, GenerationError, Message, Usage, load_prompt
from urial_core.cli.answer_end import AnswerEnd
from urial_core.cli.session import ChatSession
from urial_core.replies import ReplyEnd, TextDelta
from urial_core.testing import FakeModel


def answer(session: ChatSession, text: str) -> str:
    """Ask and collect the whole answer."""
    return "".join(event.text for event in session.ask(text) if isinstance(event, TextDelta))


def test_a_conversation_is_remembered() -> None:
    """Every answered question stands on the pages that follow, in order."""
    model = FakeModel("One.", "Two.")
    session = ChatSession(model, load_prompt("short"), system="Be brief.")
    assert [answer(session, "First?"), answer(session, "Second?")] == ["One.", "Two."]
    assert session.messages == [
        Message("user", "First?"),
        Message("assistant", "One."),
        Message("user", "Second?"),
        Message("assistant", "Two."),
    ]
    page = model.requests[1].prompt
    places = [page.index(text) for text in ("Be brief.", "First?", "One.", "Second?")]
    assert places == sorted(places)


def test_the_last_event_is_the_end() -> None:
    """An answer's text comes in pieces, and then, once, how it went."""
    *deltas, end = ChatSession(FakeModel(["Hel", "lo ", "you"]), load_prompt("short")).ask("?")
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert isinstance(end, AnswerEnd)
    assert 0 <= end.first_token_seconds <= end.seconds


def test_closing_stops_the_model_and_keeps_what_was_said() -> None:
    """Closing the events in mid-answer stops the model; the text so far stays said."""
    model = FakeModel([f"word{n} " for n in range(100)])
    session = ChatSession(model, load_prompt("short"))
    events = session.ask("Go on.")
    said = [event.text for event in (next(events), next(events)) if isinstance(event, TextDelta)]
    events.close()
    assert model.closed == 1
    assert model.chunks_sent < 20
    assert session.messages[-1] == Message("assistant", "".join(said))


def test_a_question_without_answer_is_taken_back() -> None:
    """A failure before any text leaves the conversation as it was."""
    model = FakeModel([GenerationError("broken")], "Fine.")
    session = ChatSession(model, load_prompt("short"))
    with pytest.raises(GenerationError):
        answer(session, "Lost?")
    assert session.messages == []
    assert answer(session, "Again?") == "Fine."
    assert "Lost?" not in model.requests[-1].prompt


@pytest.mark.parametrize("overflow", ["truncate", "error"])
def test_overflow(overflow: str) -> None:
    """A conversation too long loses its oldest turns, or is refused; the session says which."""
    prompt = load_prompt("short")
    window = len(prompt.prefix.split()) + 64 + 40
    model = FakeModel("word " * 12, context_window=window)
    session = ChatSession(model, prompt, overflow="truncate" if overflow == "truncate" else "error")
    answer(session, "one " * 12)
    if overflow == "error":
        with pytest.raises(ContextOverflowError):
            answer(session, "two " * 12)
        assert len(session.messages) == 2
    else:
        end = list(session.ask("two " * 12))[-1]
        assert isinstance(end, AnswerEnd)
        assert end.truncated == 2
        assert end.summary().endswith("2 oldest messages left out")
        assert len(session.messages) == 4


def test_page_is_what_the_model_was_given() -> None:
    """The page shown is, byte for byte, the last request's, whatever the markup in it."""
    model = FakeModel("[bold]One[/bold].", "Two.")
    session = ChatSession(model, load_prompt("short"), system="Rules.")
    assert session.page().startswith(session.prompt.prefix)
    assert "Rules." in session.page()
    for question in ("[red]First?[/red]", "Second?"):
        answer(session, question)
        assert session.page() == model.requests[-1].prompt


def test_switching_the_prompt_keeps_the_conversation() -> None:
    """Another prompt's page holds the same conversation."""
    model = FakeModel("One.", "Two.")
    session = ChatSession(model, load_prompt("short"))
    answer(session, "First?")
    session.prompt = load_prompt("instruction_only")
    assert session.page().startswith(session.prompt.prefix)
    answer(session, "Second?")
    assert model.requests[-1].prompt.startswith(session.prompt.prefix)
    assert "First?" in model.requests[-1].prompt


def test_reset_forgets() -> None:
    """After a reset, nothing said before is on the page; the rules are."""
    model = FakeModel("One.", "Two.")
    session = ChatSession(model, load_prompt("short"), system="Rules.")
    answer(session, "First?")
    session.reset()
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
    ],
)
def test_summary(end: AnswerEnd, expected: str) -> None:
    """An answer's summary tells what is known and leaves out the rest."""
    assert end.summary() == expected


def test_warming_up_says_nothing() -> None:
    """The constant page is read ahead by one token's work, and the conversation stays empty."""
    model = FakeModel("Unheard.", "One.")
    session = ChatSession(model, load_prompt("short"))
    session.warm_up()
    assert session.messages == []
    assert model.requests[0].max_tokens == 1
    assert answer(session, "First?") == "One."
    assert "Hello" not in model.requests[1].prompt[model.requests[1].prefix_length :]
