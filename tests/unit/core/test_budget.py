"""The token budget: what page and reply may take, and which turns go when it is too much."""

from __future__ import annotations

import pytest

from urial_core import (
    CompletionRequest,
    ContextOverflowError,
    GenerationParameters,
    Message,
    Prompt,
    compose,
)
from urial_core.composing import MIN_REPLY_TOKENS, Overflow, TokenBudget
from urial_core.parameters import DEFAULT_MAX_TOKENS

PROMPT = Prompt(name="tiny", instruction="Be kind.")


def words(text: str) -> int:
    """Count words, as a tokenizer counts tokens."""
    return len(text.split())


def said(role: str, count: int, word: str) -> Message:
    """Make a message of so many words."""
    return Message(role, " ".join([word] * count))  # type: ignore[arg-type]


TURNS = [
    said("system", 5, "rule"),
    said("user", 40, "one"),
    said("assistant", 40, "uno"),
    said("user", 30, "two"),
    said("tool", 30, "due"),
    said("assistant", 10, "dos"),
    said("system", 5, "more"),
    said("user", 8, "three"),
]


def within(
    window: int,
    messages: list[Message],
    max_tokens: int | None = None,
    overflow: Overflow = "error",
    *,
    prefill: bool = False,
) -> CompletionRequest:
    """Compose within a window of so many words."""
    return compose(
        PROMPT,
        messages,
        GenerationParameters(max_tokens=max_tokens),
        budget=TokenBudget(window, words),
        overflow=overflow,
        prefill=prefill,
    )


SIZE = words(compose(PROMPT, TURNS).prompt)


@pytest.mark.parametrize(
    ("window", "asked", "expected"),
    [
        (SIZE + 5000, None, DEFAULT_MAX_TOKENS),
        (SIZE + 5000, 10, 10),
        (SIZE + 5000, 4000, 4000),
        (SIZE + 500, None, 500),
        (SIZE + MIN_REPLY_TOKENS, None, MIN_REPLY_TOKENS),
        (SIZE + 10, 10, 10),
    ],
)
def test_the_replys_room(window: int, asked: int | None, expected: int) -> None:
    """An explicit ``max_tokens`` is kept; the default shrinks to the room that is left."""
    request = within(window, TURNS, asked)
    assert request.max_tokens == request.parameters.max_tokens == expected
    assert words(request.prompt) + expected <= window


@pytest.mark.parametrize(("asked", "expected"), [(None, DEFAULT_MAX_TOKENS), (9999, 9999)])
def test_an_unknown_window_is_not_checked(asked: int | None, expected: int) -> None:
    """Where the window is unknown, nothing is refused and the default is the full one."""
    request = compose(PROMPT, TURNS, GenerationParameters(max_tokens=asked))
    assert request.max_tokens == expected


@pytest.mark.parametrize(
    ("window", "asked", "reply"),
    [(SIZE + MIN_REPLY_TOKENS - 1, None, MIN_REPLY_TOKENS), (SIZE + 9, 10, 10), (5, None, 64)],
)
def test_too_much_is_an_error_that_says_what(window: int, asked: int | None, reply: int) -> None:
    """An overflow names window, page, reply and the largest parts, and what to do."""
    with pytest.raises(ContextOverflowError) as caught:
        within(window, TURNS, asked)
    error = caught.value
    assert (error.window, error.prompt_tokens, error.max_tokens) == (window, SIZE, reply)
    message = str(error)
    for number in (window, SIZE, reply, SIZE + reply):
        assert str(number) in message
    assert [tokens for _, tokens in error.parts] == sorted(
        (tokens for _, tokens in error.parts), reverse=True
    )
    assert sum(tokens for _, tokens in error.parts) + words("# Answer: ````") == SIZE
    assert len(error.parts) == 1 + len(TURNS)
    assert f"{error.parts[0][0]} {error.parts[0][1]}" in message
    assert "overflow='truncate'" in message
    assert not isinstance(error, ValueError)


def test_parts_are_counted_as_the_user_counts() -> None:
    """An overflow numbers the messages as they were given, also where some share a section."""
    messages = [
        said("user", 1, "a"),
        said("user", 1, "b"),
        said("assistant", 1, "c"),
        said("user", 99, "d"),
    ]
    with pytest.raises(ContextOverflowError, match="user message 4 "):
        within(50, messages)


@pytest.mark.parametrize(
    ("room", "truncated"),
    [
        (SIZE, []),
        (SIZE - 1, [1, 2]),
        (SIZE - 80, [1, 2]),
        (SIZE - 100, [1, 2, 3, 4, 5]),
        (SIZE - 150, [1, 2, 3, 4, 5]),
    ],
)
def test_trim_drops_the_oldest_turns(room: int, truncated: list[int]) -> None:
    """Trimming drops whole turns from the oldest on, as few as possible, and reports them."""
    request = within(room + 70, TURNS, 70, "truncate")
    assert list(request.truncated) == [TURNS[index] for index in truncated]
    prompt_format = PROMPT.format
    kept = [
        prompt_format.turn(message.role, message.text)
        for index, message in enumerate(TURNS)
        if index not in truncated
    ]
    assert request.prompt == PROMPT.prefix + "".join(kept) + prompt_format.open_turn("assistant")


def test_trim_never_drops_rules_or_the_last_query() -> None:
    """Where instruction, system messages and the last query do not fit, trimming is an error."""
    with pytest.raises(ContextOverflowError) as caught:
        within(100, TURNS, 70, "truncate")
    names = " ".join(name for name, _ in caught.value.parts)
    assert names.count("system") == 2
    assert names.count("user") == 1
    assert "assistant" not in names


def test_trim_makes_room_for_a_useful_reply() -> None:
    """Turns are truncated until the reply has its least room, not until the page just fits."""
    request = within(SIZE + MIN_REPLY_TOKENS - 1, TURNS, None, "truncate")
    assert request.truncated
    assert request.max_tokens >= MIN_REPLY_TOKENS


def test_trim_keeps_a_merged_message_whole() -> None:
    """Messages that share a section are truncated together, and every one is reported."""
    messages = [
        said("user", 50, "a"),
        said("user", 50, "b"),
        said("assistant", 9, "c"),
        said("user", 2, "d"),
    ]
    request = within(100, messages, 64, "truncate")
    assert list(request.truncated) == messages[:3]


def test_trim_keeps_the_query_that_a_prefill_answers() -> None:
    """The last turn stays with its prefill."""
    messages = [*TURNS, said("assistant", 3, "well")]
    request = within(SIZE - 100 + 70, messages, 70, "truncate", prefill=True)
    assert list(request.truncated) == TURNS[1:6]
    assert request.prompt.endswith("````\nwell well well")
    assert "three three" in request.prompt


def test_trim_counts_rather_than_guesses() -> None:
    """Few counts are made, so that a slow tokenizer is no burden on a long conversation."""
    calls = []

    def count(text: str) -> int:
        calls.append(len(text))
        return words(text)

    turns = [said("user" if i % 2 == 0 else "assistant", 20, "w") for i in range(401)]
    request = compose(
        PROMPT,
        turns,
        GenerationParameters(max_tokens=10),
        budget=TokenBudget(200, count),
        overflow="truncate",
    )
    assert request.truncated
    assert sum(calls) < 6 * len(compose(PROMPT, turns).prompt)
