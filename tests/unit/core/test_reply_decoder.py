"""The reply decoder: the same reply, however the model's raw text is cut into pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest
from adversarial import PROMPT_FORMATS, cut, many, prompt_formats, sizes, texts
from hypothesis import assume, given
from hypothesis import strategies as st

from urial_core import PromptFormat, ReplyDecoder, escape, unescape
from urial_core.decoding.stream_decoders import EchoDecoder
from urial_core.prompts.prompt_format import LINE_BREAKS

ALL = pytest.mark.parametrize("prompt_format", PROMPT_FORMATS.values(), ids=PROMPT_FORMATS)
stops = st.lists(
    st.one_of(
        st.sampled_from(
            ["STOP", "\n", "\n\n", " ", "# ", "``", "Query", "\\", "x", "word x", "aab"]
        ),
        st.text(min_size=1, max_size=3),
    ),
    max_size=3,
)


class Decoded(NamedTuple):
    """Text and end of a decoded reply."""

    text: str
    stop: str | None
    ended: bool
    reason: str


def decode(
    prompt_format: PromptFormat,
    pieces: Iterable[str],
    stop: Sequence[str] = (),
    *,
    prompt: str = "",
    prefill: str = "",
) -> Decoded:
    """Decode the pieces of a completion: remove an echo of the prompt, then decode the reply."""
    echo, decoder = EchoDecoder(prompt), ReplyDecoder(prompt_format, stop=stop, prefill=prefill)
    text = "".join([decoder.feed(echo.feed(piece)) for piece in pieces])
    text += decoder.feed(echo.flush()) + decoder.flush()
    return Decoded(text, decoder.stop, decoder.ended, decoder.end_reason("stop"))


def end_of(prompt_format: PromptFormat) -> str:
    """Return what a model writes after its answer: the end of the turn, and more."""
    return (
        prompt_format.turn_end
        + prompt_format.separator
        + prompt_format.query_header
        + "\nMore?"
        + prompt_format.turn_end
    )


@many
@given(texts, prompt_formats, sizes, stops)
def test_any_split_gives_the_same_reply(
    raw: str, prompt_format: PromptFormat, lengths: list[int], stop: list[str]
) -> None:
    """A text at once, in pieces or by character gives the same reply and the same end."""
    whole = decode(prompt_format, [raw], stop)
    assert decode(prompt_format, cut(raw, lengths), stop) == whole
    assert decode(prompt_format, raw, stop) == whole


@many
@given(texts, texts, texts, prompt_formats, sizes)
def test_any_split_gives_the_same_reply_after_echo_and_prefill(
    raw: str, prompt: str, prefill: str, prompt_format: PromptFormat, lengths: list[int]
) -> None:
    """Any split gives the same reply after a whole or partial echo, and after a prefill."""
    for echo in (prompt, prompt[: len(prompt) // 2], ""):
        pieces = cut(echo + raw, lengths)
        whole = decode(prompt_format, [echo + raw], prompt=prompt, prefill=prefill)
        assert decode(prompt_format, pieces, prompt=prompt, prefill=prefill) == whole
        assert decode(prompt_format, echo + raw, prompt=prompt, prefill=prefill) == whole


@many
@given(texts, prompt_formats, stops)
def test_a_stop_string_is_never_emitted(
    raw: str, prompt_format: PromptFormat, stop: list[str]
) -> None:
    """No reply contains a stop string, and the one that ended the reply is reported."""
    reply = decode(prompt_format, raw, stop)
    assert not any(unwanted in reply.text for unwanted in stop)
    assert (reply.reason == "stop_string") == (reply.stop in stop)


@many
@given(texts, prompt_formats)
def test_no_header_is_emitted(raw: str, prompt_format: PromptFormat) -> None:
    """A reply has a header as a line only if the raw text escapes it or has 8 blanks after it."""
    reply = decode(prompt_format, f"x\n{raw}\nx").text  # so that no whitespace is stripped
    for header in prompt_format.headers:
        if not re.search(rf"\\{header}|{header}[ \t]{{8}}", raw):
            assert header not in re.split(f"[{LINE_BREAKS}]", reply)


@many
@given(texts, prompt_formats, sizes)
def test_an_escaped_text_is_unescaped(
    text: str, prompt_format: PromptFormat, lengths: list[int]
) -> None:
    """An escaped text that the model repeats is emitted unescaped, and stripped.

    A heading right before the end is taken for the next turn's.
    """
    raw = escape(text, prompt_format) + end_of(prompt_format)
    assume(not before_invented_heading(raw, prompt_format)[1])
    assert decode(prompt_format, cut(raw, lengths)) == (text.strip(), None, True, "delimiter")


@many
@given(texts, texts, prompt_formats)
def test_text_after_the_end_is_ignored(raw: str, more: str, prompt_format: PromptFormat) -> None:
    """Once the end was found, further text changes neither the reply nor its end."""
    decoder = ReplyDecoder(prompt_format)
    text = decoder.feed(raw + end_of(prompt_format))
    before = (decoder.stop, decoder.ended)
    assert decoder.feed(more) + decoder.flush() + decoder.feed("x") == ""
    if decoder.ended:
        assert (decoder.stop, decoder.ended) == before
        assert decode(prompt_format, raw + end_of(prompt_format) + more).text == text


def before_invented_heading(raw: str, prompt_format: PromptFormat) -> tuple[str, bool]:
    """Return the text before a heading that a fence or the end of the text follows."""
    if not prompt_format.fence_ends_turn or not prompt_format.query_header.startswith("#"):
        return raw, False
    for found in re.finditer(r"^#[^\n]{,47}$", raw, re.MULTILINE):
        line, rest = found.group().rstrip(), raw[found.end() :]
        if line.endswith((":", "\uff1a")) and not line.startswith(prompt_format.headers):
            below = rest[1:].removeprefix("\n")
            if not below or below.startswith(prompt_format.fence):
                return raw[: found.start()], True
    return raw, False


def decode_naively(raw: str, prompt_format: PromptFormat) -> tuple[str, bool]:
    """Decode a whole reply line by line, in a format whose fence is empty or ends the turn."""
    kept: list[str] = []
    raw, cut = before_invented_heading(raw, prompt_format)
    headers = "|".join(map(re.escape, prompt_format.headers))
    fence = re.escape(prompt_format.fence)
    for line in re.findall(f"[^{LINE_BREAKS}]*[{LINE_BREAKS}]|[^{LINE_BREAKS}]+$", raw):
        if re.fullmatch(f"(?:{headers})[ \t]{{0,7}}[{LINE_BREAKS}]?", line):
            return "".join(kept).strip(), True
        if fence and re.match(fence, line):
            return "".join(kept).strip(), True
        kept.append(unescape(line, prompt_format))
    return "".join(kept).strip(), cut


@many
@given(texts, st.sampled_from(["none", "4 backticks", "4 tildes", "spacious", "tight"]))
def test_the_decoder_agrees_with_a_naive_one(raw: str, name: str) -> None:
    """The incremental decoder gives the same reply as a naive one that gets the whole text."""
    reply = decode(PROMPT_FORMATS[name], raw)
    assert (reply.text, reply.ended) == decode_naively(raw, PROMPT_FORMATS[name])


@many
@given(st.text(alphabet="ab .,'é日\n", max_size=300), prompt_formats)
def test_prose_is_emitted_at_once(raw: str, prompt_format: PromptFormat) -> None:
    """All of prose is emitted at once, except trailing whitespace."""
    decoder, emitted = ReplyDecoder(prompt_format), ""
    for at, char in enumerate(raw, 1):
        emitted += decoder.feed(char)
        assert emitted == raw[:at].strip()


@many
@given(texts, prompt_formats)
def test_little_is_held_back(raw: str, prompt_format: PromptFormat) -> None:
    """At most 140 characters of any text are held back, besides whitespace."""
    whole, decoder, emitted = decode(prompt_format, raw), ReplyDecoder(prompt_format), ""
    for at, char in enumerate(raw, 1):
        emitted += decoder.feed(char)
        if decoder.ended:
            break
        sure = unescape(raw[:at], prompt_format).strip()[:-140].rstrip()
        assert len(emitted) >= min(len(sure), len(whole.text)) - sure.count("\\")
    assert whole.text.startswith(emitted)


@ALL
@pytest.mark.parametrize(
    "text",
    [
        "Hi!",
        "Run:\n\n```python\nprint(1)\n```\n\nDone.",
        "Run:\n\n```\nplain\n```\n\nDone.",
        "```sh\nls\n```\n\n```sh\npwd\n```",
        "- item\n\n  ```js\n  1\n  ```\n\n- next",
        "~~~\ntildes\n~~~\nbye",
        "````markdown\n```python\nx\n```\n````\nThat is all.",
        "Use `x` and ```inline``` code.",
        "# Query the table\nSELECT 1\n# Answer: 42, said he",
        "```python\n# Query the table\n# Answers: none\n```",
        "## Query:\n\n  # Query:\n\nUser\nUser: no\nAnd so on.",
    ],
)
def test_text_that_only_resembles_the_end(prompt_format: PromptFormat, text: str) -> None:
    """Code blocks, comments and almost headers are part of the reply, in every format."""
    if prompt_format.fence == "````" and "````" in text:
        text = escape(text, prompt_format)
    expected = (unescape(text, prompt_format), None, True, "delimiter")
    raw = text + end_of(prompt_format)
    assert decode(prompt_format, [raw]) == expected
    assert decode(prompt_format, raw) == expected


@ALL
@pytest.mark.parametrize("role", ["user", "assistant", "system", "tool"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "  \n", "\t\u2028", ""])
def test_a_header_alone_on_its_line_ends_the_reply(
    prompt_format: PromptFormat, role: str, ending: str
) -> None:
    """Each header alone on its line ends the reply, with any line break."""
    raw = f"Yes.\n{prompt_format.header(role)}{ending}"  # type: ignore[arg-type]
    assert (
        decode(prompt_format, [raw])
        == decode(prompt_format, raw)
        == ("Yes.", None, True, "delimiter")
    )


@pytest.mark.parametrize(
    ("fence", "raw", "text", "reason"),
    [
        ("````", "Yes.\n````", "Yes.", "delimiter"),
        ("````", "Yes.\n`````", "Yes.", "delimiter"),
        ("````", "````\nYes.", "", "delimiter"),
        ("````", "Yes.\n```", "Yes.\n```", "end_of_text"),
        ("````", "Yes.\n ````", "Yes.\n ````", "end_of_text"),
        ("````", "Yes. ````", "Yes. ````", "end_of_text"),
        ("```", "Yes.\n```", "Yes.", "delimiter"),
        ("```", "Yes.\n```\n\n \n", "Yes.", "delimiter"),
        ("```", "Yes.\n```\n\n# Query:\n", "Yes.", "delimiter"),
        ("```", "Yes.\n```\n\ncode", "Yes.\n```\n\ncode", "end_of_text"),
        ("```", "```a\nx\n```", "```a\nx\n```", "end_of_text"),
        ("```", "```a\nx\n```\n```", "```a\nx\n```", "delimiter"),
        ("~~~", "Yes.\n```\n", "Yes.\n```", "end_of_text"),
        ("", "Yes.\n````\n", "Yes.\n````", "end_of_text"),
        ("", "# Query:", "", "delimiter"),
        ("", "", "", "end_of_text"),
    ],
)
def test_which_fences_end_the_reply(fence: str, raw: str, text: str, reason: str) -> None:
    """A fence of four ends the reply; one of three only outside code blocks and before a header."""
    for pieces in ([raw], raw):
        reply = decode(PromptFormat(fence=fence), pieces)
        assert (reply.text, reply.reason) == (text, reason)


@ALL
def test_whitespace_is_stripped_at_the_ends_only(prompt_format: PromptFormat) -> None:
    """Whitespace is stripped at the reply's two ends and kept everywhere else."""
    raw = " \n\n  One  two\t\n\n\n    three \u3000 four \n \n"
    assert decode(prompt_format, raw).text == raw.strip()


@ALL
def test_an_echoed_prompt_is_removed_once(prompt_format: PromptFormat) -> None:
    """One echo of the prompt before the reply is removed; any further copy is part of the reply."""
    prompt = "# Instruction\n\nBe kind.\n"
    assert decode(prompt_format, prompt + "Hi", prompt=prompt).text == "Hi"
    assert decode(prompt_format, prompt + prompt + "Hi", prompt=prompt).text == prompt + "Hi"
    assert decode(prompt_format, prompt[:9] + "Hi", prompt=prompt).text == prompt[:9] + "Hi"
    assert decode(prompt_format, "Hi" + prompt, prompt=prompt).text == "Hi" + prompt.strip()


@ALL
@pytest.mark.parametrize(
    "prefill",
    [
        "Well",
        "Well,\n",
        "So:\n# Query:\nis a header\n",
        "So:\n````\n",
        "~~~~\n",
        "# Answer:",
        "```\n",
    ],
)
def test_a_prefill_never_ends_the_reply(prompt_format: PromptFormat, prefill: str) -> None:
    """No prefill ends the reply that continues it, and whitespace after the prefill is kept."""
    assert decode(prompt_format, " it is so.\nYes.", prefill=prefill).text == " it is so.\nYes."


@ALL
def test_a_code_block_open_in_the_prefill_is_continued(prompt_format: PromptFormat) -> None:
    """A fence in the reply closes a code block of the prefill, and the reply continues."""
    raw = "x = 1\n```\nDone."
    assert (
        decode(prompt_format, raw + end_of(prompt_format), prefill="See:\n```python\n").text == raw
    )


@pytest.mark.parametrize(
    ("stop", "raw", "text", "found"),
    [
        (["END"], "one END two", "one", "END"),
        (["END", "one"], "one END", "", "one"),
        (["ab", "b"], "xab", "x", "ab"),
        (["abcd", "bc"], "xabcd", "xa", "bc"),
        (["aab"], "aaaab", "aa", "aab"),
        (["END"], "one EN", "one EN", None),
        (["# Answer"], "one\n# Answer:\n", "one", None),
        (["\n"], "\none", "", "\n"),
    ],
)
def test_stop_strings(stop: list[str], raw: str, text: str, found: str | None) -> None:
    """The first complete stop string ends the reply; of two complete at once, the longer one."""
    for pieces in ([raw], raw):
        reply = decode(PromptFormat(), pieces, stop)
        assert (reply.text, reply.stop) == (text, found)


@pytest.mark.parametrize(
    ("raw", "finish", "reason"),
    [
        ("Hi", "stop", "end_of_text"),
        ("Hi", None, "end_of_text"),
        ("Hi", "length", "length"),
        ("Hi\n````", "length", "delimiter"),
        ("Hi END", "length", "stop_string"),
    ],
)
def test_end_reasons(raw: str, finish: str | None, reason: str) -> None:
    """An end found in the text takes precedence over the model's finish reason."""
    decoder = ReplyDecoder(PromptFormat(), stop=["END"])
    decoder.feed(raw)
    decoder.flush()
    assert decoder.end_reason(finish) == reason


@pytest.mark.parametrize("partial", ["\n`", "\n```", "\n#", "\n# Query", "\n\n# Answ"])
def test_a_partial_end_at_max_tokens_is_removed(partial: str) -> None:
    """A partial end of the turn is removed at ``max_tokens``; otherwise it is part of the reply."""
    for is_cut, expected in ((True, "It is Oslo."), (False, "It is Oslo." + partial)):
        for pieces in (["It is Oslo." + partial], "It is Oslo." + partial):
            decoder = ReplyDecoder(PromptFormat())
            text = "".join([decoder.feed(piece) for piece in pieces])
            assert text + decoder.flush(cut=is_cut) == expected


def test_a_partial_escape_at_max_tokens_is_kept() -> None:
    """A partial escaped header at ``max_tokens`` is part of the reply."""
    decoder = ReplyDecoder(PromptFormat())
    assert decoder.feed("See:\n\\# Qu") + decoder.flush(cut=True) == "See:\n\\# Qu"
