"""Plain text is continued as it is: no page, no format, nothing trimmed."""

from __future__ import annotations

import pytest
from adversarial import cut, sizes, texts
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    ContextOverflowError,
    GenerationParameters,
    ReplyDecoder,
    UrialChat,
    load_prompt,
)
from urial_core.testing import FakeModel


def chat_of(*scripts: str, window: int | None = None) -> tuple[UrialChat, FakeModel]:
    """A chat behind the default page, and its model."""
    model = FakeModel(*([script] for script in scripts), context_window=window)
    return UrialChat(model, load_prompt()), model


@given(texts, st.data())
def test_every_character_is_kept(text: str, data: st.DataObject) -> None:
    """Headers, fences and whitespace mean nothing, however the text is cut into pieces."""
    reader = ReplyDecoder(None)
    pieces = cut(text, data.draw(sizes))
    assert "".join(map(reader.feed, pieces)) + reader.flush() == text
    assert reader.end_reason(None) == "end_of_text"


def test_the_model_sees_the_text_alone() -> None:
    """The request holds the text as it is, and no stop string but the user's."""
    chat, model = chat_of("\n# Query:\n x ")
    request = chat.plain_request("Once upon", GenerationParameters(stop=("END",)))
    reply = chat.reply([request])[0]
    assert model.requests[0].prompt == "Once upon"
    assert model.requests[0].stop == ("END",)
    assert reply.text == "\n# Query:\n x "


def test_stop_strings_and_echoes_are_dealt_with() -> None:
    """The user's stop cuts, and one copy of the text is truncated, as on a page."""
    chat, _ = chat_of("Once upon a time END more")
    reply = chat.reply([chat.plain_request("Once upon", GenerationParameters(stop=("END",)))])[0]
    assert reply.text == " a time "
    assert reply.end.reason == "stop_string"


def test_an_empty_continuation_is_one() -> None:
    """A base model may end at once; nobody asks it a second time."""
    chat, model = chat_of("")
    assert chat.reply([chat.plain_request("The end.")])[0].text == ""
    assert len(model.requests) == 1


def test_a_text_too_long_is_refused() -> None:
    """Text and continuation must fit the window."""
    chat, model = chat_of("x", window=70)
    with pytest.raises(ContextOverflowError, match="window is 70"):
        chat.plain_request("one two three four five six seven eight")
    assert model.requests == []
