"""The tokens of a reply, each with its log-probability: those of its text, once each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from adversarial import cut, many, sizes
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    CompletionChunk,
    GenerationParameters,
    JsonSchema,
    Message,
    TextDelta,
    TokenLogprob,
    Tool,
    ToolUse,
    UrialChat,
    load_prompt,
)
from urial_core.decoding.token_spans import TokenSpans
from urial_core.testing import FakeModel

ASKED = (Message("user", "Hi"),)
NUMBER = JsonSchema.of({"type": "object", "properties": {"n": {"type": "integer"}}})
WEATHER = Tool("get_weather", "The weather.", '{"type": "object", "properties": {}}')
PART = "\ufffd"  # of a character


def deltas_of(
    tokens: Sequence[str],
    texts: Sequence[str] | None = None,
    messages: Sequence[Message] = ASKED,
    **options: Any,
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the tokens of the whole reply, and each delta of the stream with its tokens.

    Args:
        tokens: What each token is called.
        texts: What each adds to the text, where that is not its name.
        messages: The conversation.
        options: More of the request.
    """
    chunks = [
        CompletionChunk(text, logprobs=(TokenLogprob(token, -0.1),))
        for token, text in zip(tokens, texts or tokens, strict=True)
    ]
    chat = UrialChat(FakeModel(chunks), load_prompt("short"))
    parameters = GenerationParameters(logprobs=0, stop=options.pop("stop", ()))
    request = chat.request(list(messages), parameters, **options)
    (reply,) = chat.reply([request])
    deltas = [event for event in chat.stream(request) if isinstance(event, TextDelta)]
    assert "".join(delta.text for delta in deltas) == reply.text
    return (
        [token.token for token in reply.logprobs],
        [(delta.text, [token.token for token in delta.logprobs]) for delta in deltas],
    )


def test_parts_of_a_character_belong_to_it() -> None:
    """A character of several tokens has them all, and the text after it keeps its own."""
    whole, deltas = deltas_of(
        [*[PART] * 4, " a", " b", "\n````\n"], ["", "", "", "🙂", " a", " b", "\n````\n"]
    )
    assert whole == [*[PART] * 4, " a", " b"]
    assert deltas == [("🙂", [PART] * 4), (" a", [" a"]), (" b", [" b"])]


def test_whitespace_after_a_prefill_is_text() -> None:
    """The space that a reply to a prefill begins with is a part of its first token."""
    messages = [Message("user", "Hi"), Message("assistant", "The sky")]
    whole, _ = deltas_of([" is", " blue", ".", "\n", "````\n"], None, messages, prefill=True)
    assert whole == [" is", " blue", "."]


def test_an_escape_takes_no_other_tokens_place() -> None:
    """The token of a backslash that is no text counts to the line it escapes."""
    tokens = ["See", "\n", "\\", "# Query", ":", "\n", "end", ".", "\n````\n"]
    whole, deltas = deltas_of(tokens)
    assert whole == tokens[:-1]
    assert deltas[1] == ("\n# Query:", ["\n", "\\", "# Query", ":"])


@pytest.mark.parametrize("tokens", [["A", " b", " STOP", " c"], ["A", " b ST", "OP", " c"]])
def test_a_token_that_reaches_into_a_stop_string_is_the_texts(tokens: list[str]) -> None:
    """Tokens of a stop string are left out, and one that holds text as well is not."""
    whole, _ = deltas_of(tokens, stop=(" STOP",))
    assert whole == tokens[:2]


@pytest.mark.parametrize(
    "tokens",
    [
        ["{", '"n', '": ', "3}", "\n", "````\n"],  # the prompt holds the brace
        ['"n', '": ', '"3', '"}', "\n", "````\n"],  # which is repaired
    ],
)
def test_json_that_nothing_enforces_has_its_tokens(tokens: list[str]) -> None:
    """A value has the tokens that it was written with, where the reply's text differs, too."""
    whole, deltas = deltas_of(tokens, response_format=NUMBER)
    written = [token for token in tokens[:-2] if token != "{"]
    assert whole == written
    assert deltas == [('{"n": 3}', written)]


def test_a_header_is_no_part_of_the_answer() -> None:
    """An answer whose header the model wrote has the tokens after that."""
    header = load_prompt("short").format.open_turn("assistant")
    tokens = [*cut(header.lstrip(), [4] * 20), "Ans", "wer", ":", " 4", "\n````\n"]
    whole, _ = deltas_of(tokens, tools=ToolUse((WEATHER,)))
    assert whole == ["Ans", "wer", ":", " 4"]


@many
@given(st.lists(st.sampled_from(["a", " b", "é", "🙂", " ", "\n", "日"]), min_size=1), sizes)
def test_each_token_is_taken_once(characters: list[str], lengths: list[int]) -> None:
    """However text and tokens are put together, each token comes with the text it begins in."""
    spans, taken = TokenSpans(), list[str]()
    spans.feed("", [])
    for character in characters:
        parts = 1 if character.isascii() else len(character.encode())
        names = [character] if parts == 1 else [PART] * parts
        spans.feed(character, [TokenLogprob(name, -1.0) for name in names])
        taken += names
    pieces = cut("".join(characters), lengths)
    assert [token.token for piece in pieces for token in spans.take(piece)] == taken


def test_tokens_may_come_before_their_text() -> None:
    """A server that holds text back for its stop strings changes no token's place."""
    spans = TokenSpans()
    spans.feed("", [TokenLogprob("Hello", -1.0)])
    spans.feed("Hel", [TokenLogprob(" you", -2.0)])
    assert [token.token for token in spans.take("Hel")] == ["Hello"]
    spans.feed("lo you", [TokenLogprob("\n", -3.0)])
    assert [token.token for token in spans.take("lo you")] == [" you"]
