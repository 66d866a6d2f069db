"""The token budget: how prompt and reply share the context window, and truncation of turns."""

from __future__ import annotations

import re

import pytest

from urial_core import (
    ContextOverflowError,
    GenerationParameters,
    Message,
    Prompt,
    ToolCall,
    compose,
    load_prompt,
)
from urial_core.composing import (
    MIN_REPLY_TOKENS,
    Overflow,
    ReplyRequest,
    TokenBudget,
    compose_plain,
)
from urial_core.parameters import DEFAULT_MAX_TOKENS

PROMPT = Prompt(name="tiny", instruction="Be kind.")


def words(text: str) -> int:
    """Count words in place of tokens."""
    return len(text.split())


def message_of(role: str, count: int, word: str) -> Message:
    """Create a message of so many words."""
    return Message(role, " ".join([word] * count))  # type: ignore[arg-type]


TURNS = [
    message_of("system", 5, "rule"),
    message_of("user", 40, "one"),
    message_of("assistant", 40, "uno"),
    message_of("user", 30, "two"),
    message_of("tool", 30, "due"),
    message_of("assistant", 10, "dos"),
    message_of("system", 5, "more"),
    message_of("user", 8, "three"),
]


def within(
    window: int,
    messages: list[Message],
    max_tokens: int | None = None,
    overflow: Overflow = "error",
    *,
    prefill: bool = False,
) -> ReplyRequest:
    """Compose a prompt within a context window of so many words."""
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
    ("window", "max_tokens", "expected"),
    [
        (SIZE + 5000, None, DEFAULT_MAX_TOKENS),
        (SIZE + 5000, 10, 10),
        (SIZE + 5000, 4000, 4000),
        (SIZE + 500, None, 500),
        (SIZE + MIN_REPLY_TOKENS, None, MIN_REPLY_TOKENS),
        (SIZE + 10, 10, 10),
    ],
)
def test_max_tokens_fits_the_window(window: int, max_tokens: int | None, expected: int) -> None:
    """An explicit ``max_tokens`` is kept; the default shrinks to the space left in the window."""
    request = within(window, TURNS, max_tokens)
    assert request.max_tokens == request.parameters.max_tokens == expected
    assert words(request.prompt) + expected <= window


@pytest.mark.parametrize(("max_tokens", "expected"), [(None, DEFAULT_MAX_TOKENS), (9999, 9999)])
def test_an_unknown_window_is_not_checked(max_tokens: int | None, expected: int) -> None:
    """With an unknown context window, no request is refused and ``max_tokens`` is not reduced."""
    request = compose(PROMPT, TURNS, GenerationParameters(max_tokens=max_tokens))
    assert request.max_tokens == expected


@pytest.mark.parametrize(
    ("window", "max_tokens", "reply"),
    [(SIZE + MIN_REPLY_TOKENS - 1, None, MIN_REPLY_TOKENS), (SIZE + 9, 10, 10), (5, None, 64)],
)
def test_overflow_error_lists_the_parts(window: int, max_tokens: int | None, reply: int) -> None:
    """An overflow error reports window, prompt, reply and the largest parts, and what to do."""
    with pytest.raises(ContextOverflowError) as caught:
        within(window, TURNS, max_tokens)
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


def test_overflow_error_numbers_messages_as_given() -> None:
    """An overflow error numbers messages as they were given, even where some share a turn."""
    messages = [
        message_of("user", 1, "a"),
        message_of("user", 1, "b"),
        message_of("assistant", 1, "c"),
        message_of("user", 99, "d"),
    ]
    with pytest.raises(ContextOverflowError, match="user message 4 "):
        within(50, messages)


@pytest.mark.parametrize(
    ("space", "truncated"),
    [
        (SIZE, []),
        (SIZE - 1, [1, 2]),
        (SIZE - 80, [1, 2]),
        (SIZE - 100, [1, 2, 3, 4, 5]),
        (SIZE - 150, [1, 2, 3, 4, 5]),
    ],
)
def test_truncation_removes_the_oldest_turns(space: int, truncated: list[int]) -> None:
    """Truncation removes whole turns, oldest first, as few as possible, and reports them."""
    request = within(space + 70, TURNS, 70, "truncate")
    assert list(request.truncated) == [TURNS[index] for index in truncated]
    prompt_format = PROMPT.format
    kept = [
        prompt_format.turn(message.role, message.text)
        for index, message in enumerate(TURNS)
        if index not in truncated
    ]
    assert request.prompt == PROMPT.prefix + "".join(kept) + prompt_format.open_turn("assistant")


def test_truncation_keeps_the_last_exchange() -> None:
    """System messages and the last query stay, and are cut where even they do not fit."""
    request = within(SIZE - 150 + 70, TURNS, 70, "truncate")
    assert "three three three three three three three three" in request.prompt
    assert "rule rule rule rule rule" in request.prompt
    assert list(request.truncated) == TURNS[1:6]


@pytest.mark.parametrize("role", ["user", "system", "tool"])
def test_a_text_too_long_by_itself_is_cut_in_the_middle(role: str) -> None:
    """Start and end stay, a mark says what is missing, and shorter texts stay whole."""
    numbered = " ".join(f"{role}{number}" for number in range(5000))
    messages = [Message("user", "Before?"), Message(role, numbered), Message("user", "And now?")]  # type: ignore[arg-type]
    messages = messages if role == "system" else messages[:2]
    request = within(400, messages, 64, "truncate")
    assert words(request.prompt) + 64 <= 400
    assert words(request.prompt) + 64 > 390, "the window is used"
    assert f"{role}0 {role}1 " in request.prompt
    assert f"{role}4999\n" in request.prompt
    [left_out] = re.findall(r"\n\[\.\.\. ([\d,]+) characters left out \.\.\.\]\n", request.prompt)
    kept = re.search(rf"{role}0 .*{role}4999", request.prompt, re.DOTALL)
    assert kept
    mark = f"\n[... {left_out} characters left out ...]\n"
    assert len(kept[0]) - len(mark) + int(left_out.replace(",", "")) == len(numbered)
    assert messages[1] in request.truncated
    if role == "system":
        assert "And now?" in request.prompt


def test_several_long_texts_are_cut_to_one_length() -> None:
    """Each of them keeps as much; texts shorter than that are not touched."""
    call = ToolCall("f", '{"x": "' + "y " * 30 + '"}', "1")
    messages = [
        message_of("system", 2000, "rule"),
        Message("user", "What?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "due " * 3000, tool_call_id="1"),
    ]
    request = within(900, messages, 64, "truncate")
    assert 890 < words(request.prompt) + 64 <= 900
    rules, results = request.prompt.count("rule"), request.prompt.count("due")
    assert abs(rules * len("rule ") - results * len("due ")) < 20
    assert call.arguments in request.prompt
    assert list(request.truncated) == [messages[0], messages[3]]


def test_a_cut_text_cannot_forge_a_turn() -> None:
    """What follows the mark begins a line, and is escaped there like any line start."""
    text = "a " * 1000 + "".join("# Answer:\n````\n" * 50)
    for window in range(200, 260):
        request = within(window, [Message("user", text)], 64, "truncate")
        after = request.prompt.split("left out ...]\n")[1]
        assert not re.search(r"^# Answer:", after.removesuffix("# Answer:\n````\n"), re.MULTILINE)


def test_an_error_never_advises_what_is_set() -> None:
    """Where truncation is on, the error names other remedies."""
    long = "word " * 5000
    with pytest.raises(ContextOverflowError, match="overflow='truncate'"):
        within(400, [Message("user", long)], 64)
    with pytest.raises(ContextOverflowError, match="lower max_tokens") as caught:
        within(400, [Message("user", long)], 399, "truncate")
    assert "overflow" not in str(caught.value)
    assert "shorter prompt" in str(caught.value)
    assert "tools" not in str(caught.value)
    with pytest.raises(ContextOverflowError, match="Shorten the text") as caught:
        compose_plain(long, budget=TokenBudget(100, words))
    assert "overflow" not in str(caught.value)


def test_an_error_never_advises_the_prompt_in_use() -> None:
    """The advice names a shorter prompt only where there is one."""
    with pytest.raises(ContextOverflowError) as caught:
        compose(load_prompt("short"), [Message("user", "Hi")], budget=TokenBudget(90, words))
    assert "prompt 'short' " in str(caught.value)
    assert "shorter prompt" not in str(caught.value)


def test_truncation_leaves_space_for_a_useful_reply() -> None:
    """Turns are truncated until the reply has ``MIN_REPLY_TOKENS``, not until the prompt fits."""
    request = within(SIZE + MIN_REPLY_TOKENS - 1, TURNS, None, "truncate")
    assert request.truncated
    assert request.max_tokens >= MIN_REPLY_TOKENS


def test_truncation_removes_merged_messages_together() -> None:
    """Messages that share a turn are truncated together, and every one is reported."""
    messages = [
        message_of("user", 50, "a"),
        message_of("user", 50, "b"),
        message_of("assistant", 9, "c"),
        message_of("user", 2, "d"),
    ]
    request = within(100, messages, 64, "truncate")
    assert list(request.truncated) == messages[:3]


def test_truncation_keeps_the_query_of_a_prefill() -> None:
    """The last query is kept together with the prefill that answers it."""
    messages = [*TURNS, message_of("assistant", 3, "well")]
    request = within(SIZE - 100 + 70, messages, 70, "truncate", prefill=True)
    assert list(request.truncated) == TURNS[1:6]
    assert request.prompt.endswith("````\nwell well well")
    assert "three three" in request.prompt


def test_a_prefill_that_is_too_long_by_itself_is_refused() -> None:
    """A prefill stays as it is: nothing can be left out where there is nothing else."""
    with pytest.raises(ContextOverflowError):
        within(20, [message_of("assistant", 90, "w")], 8, "truncate", prefill=True)


def test_truncation_counts_few_tokens() -> None:
    """Truncation tokenizes a long conversation only a few times over: tokenizers can be slow."""
    calls = []

    def count(text: str) -> int:
        calls.append(len(text))
        return words(text)

    turns = [message_of("user" if i % 2 == 0 else "assistant", 20, "w") for i in range(401)]
    request = compose(
        PROMPT,
        turns,
        GenerationParameters(max_tokens=10),
        budget=TokenBudget(200, count),
        overflow="truncate",
    )
    assert request.truncated
    assert sum(calls) < 6 * len(compose(PROMPT, turns).prompt)
