"""Plain requests: a text is continued without prompt or format, and nothing is stripped."""

from __future__ import annotations

import pytest
from adversarial import cut, sizes, texts
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    ContextOverflowError,
    GenerationParameters,
    ReplyDecoder,
    TextDelta,
    UrialChat,
    load_prompt,
)
from urial_core.testing import FakeModel


def chat_of(*responses: str, window: int | None = None) -> tuple[UrialChat, FakeModel]:
    """Return a chat with the default prompt, and its fake model."""
    model = FakeModel(*([response] for response in responses), context_window=window)
    return UrialChat(model, load_prompt()), model


@given(texts, st.data())
def test_every_character_is_kept(text: str, data: st.DataObject) -> None:
    """Headers, fences and whitespace are kept, however the text is cut into pieces."""
    decoder = ReplyDecoder(None)
    pieces = cut(text, data.draw(sizes))
    assert "".join(map(decoder.feed, pieces)) + decoder.flush() == text
    assert decoder.end_reason(None) == "end_of_text"


def test_the_prompt_is_the_text_alone() -> None:
    """The request has the text as its prompt, and only the user's stop strings."""
    chat, model = chat_of("\n# Query:\n x ")
    request = chat.plain_request("Once upon", GenerationParameters(stop=("END",)))
    reply = chat.reply([request])[0]
    assert model.requests[0].prompt == "Once upon"
    assert model.requests[0].stop == ("END",)
    assert reply.text == "\n# Query:\n x "


def test_stop_strings_and_echoes_are_removed() -> None:
    """The user's stop string ends the continuation, and an echo of the text is removed."""
    model = FakeModel("Once upon a time END more", may_echo=True)
    chat = UrialChat(model, load_prompt())
    reply = chat.reply([chat.plain_request("Once upon", GenerationParameters(stop=("END",)))])[0]
    assert reply.text == " a time "
    assert reply.end.reason == "stop_string"


def test_a_text_that_repeats_itself_is_no_echo() -> None:
    """A model that returns no prompts may go on by repeating it, which is its completion."""
    chat, _ = chat_of("0:00:00")
    request = chat.plain_request("0")
    assert chat.reply([request])[0].text == "0:00:00"
    assert next(chat.stream(request)) == TextDelta("0:00:00")


def test_an_empty_continuation_is_not_retried() -> None:
    """A continuation may be empty, and is not retried."""
    chat, model = chat_of("")
    assert chat.reply([chat.plain_request("The end.")])[0].text == ""
    assert len(model.requests) == 1


def test_a_text_longer_than_the_window_is_refused() -> None:
    """A text that with its continuation exceeds the context window is refused."""
    chat, model = chat_of("x", window=70)
    with pytest.raises(ContextOverflowError, match="window is 70"):
        chat.plain_request("one two three four five six seven eight")
    assert model.requests == []
