"""The reply reader: one reply, however the model's raw text is cut into pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest
from adversarial import PROMPT_FORMATS, cut, many, prompt_formats, sizes, texts
from hypothesis import given
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


class Read(NamedTuple):
    """What is known of a reply once it is over."""

    text: str
    stop: str | None
    ended: bool
    reason: str


def read(
    prompt_format: PromptFormat,
    pieces: Iterable[str],
    stop: Sequence[str] = (),
    *,
    prompt: str = "",
    prefill: str = "",
) -> Read:
    """Feed the pieces to new decoders: of an echo of the prompt, then of the reply."""
    echo, reader = EchoDecoder(prompt), ReplyDecoder(prompt_format, stop=stop, prefill=prefill)
    text = "".join([reader.feed(echo.feed(piece)) for piece in pieces])
    text += reader.feed(echo.flush()) + reader.flush()
    return Read(text, reader.stop, reader.ended, reader.end_reason("stop"))


def end_of(prompt_format: PromptFormat) -> str:
    """Write what a model writes behind its answer, and a line too many."""
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
    """A text at once, in pieces or character by character gives the same reply and the same end."""
    whole = read(prompt_format, [raw], stop)
    assert read(prompt_format, cut(raw, lengths), stop) == whole
    assert read(prompt_format, raw, stop) == whole


@many
@given(texts, texts, texts, prompt_formats, sizes)
def test_any_split_is_read_alike_behind_echo_and_prefill(
    raw: str, prompt: str, prefill: str, prompt_format: PromptFormat, lengths: list[int]
) -> None:
    """The same holds where the engine repeats the prompt, or part of it, and behind a prefill."""
    for echo in (prompt, prompt[: len(prompt) // 2], ""):
        pieces = cut(echo + raw, lengths)
        whole = read(prompt_format, [echo + raw], prompt=prompt, prefill=prefill)
        assert read(prompt_format, pieces, prompt=prompt, prefill=prefill) == whole
        assert read(prompt_format, echo + raw, prompt=prompt, prefill=prefill) == whole


@many
@given(texts, prompt_formats, stops)
def test_a_stop_string_is_never_shown(
    raw: str, prompt_format: PromptFormat, stop: list[str]
) -> None:
    """No reply holds a stop string, and one that ended the reply is named as the reason."""
    reply = read(prompt_format, raw, stop)
    assert not any(unwanted in reply.text for unwanted in stop)
    assert (reply.reason == "stop_string") == (reply.stop in stop)


@many
@given(texts, prompt_formats)
def test_no_header_leaks(raw: str, prompt_format: PromptFormat) -> None:
    """A line is a header only where the raw text had it escaped, or eight blanks behind it."""
    reply = read(prompt_format, f"x\n{raw}\nx").text  # so that no blanks around a line are trimmed
    for header in prompt_format.headers:
        if not re.search(rf"\\{header}|{header}[ \t]{{8}}", raw):
            assert header not in re.split(f"[{LINE_BREAKS}]", reply)


@many
@given(texts, prompt_formats, sizes)
def test_a_quoted_text_comes_out_as_it_was(
    text: str, prompt_format: PromptFormat, lengths: list[int]
) -> None:
    """A escaped text that the model repeats reaches the user as it was, trimmed at the ends."""
    raw = escape(text, prompt_format) + end_of(prompt_format)
    assert read(prompt_format, cut(raw, lengths)) == (text.strip(), None, True, "delimiter")


@many
@given(texts, texts, prompt_formats)
def test_text_behind_the_end_is_ignored(raw: str, more: str, prompt_format: PromptFormat) -> None:
    """Once the end was found, further text changes nothing."""
    reader = ReplyDecoder(prompt_format)
    text = reader.feed(raw + end_of(prompt_format))
    before = (reader.stop, reader.ended)
    assert reader.feed(more) + reader.flush() + reader.feed("x") == ""
    if reader.ended:
        assert (reader.stop, reader.ended) == before
        assert read(prompt_format, raw + end_of(prompt_format) + more).text == text


def naive(raw: str, prompt_format: PromptFormat) -> tuple[str, bool]:
    """Read a whole reply line by line, for formats whose fence is empty or ends the answer."""
    kept: list[str] = []
    heads = "|".join(map(re.escape, prompt_format.headers))
    fence = re.escape(prompt_format.fence)
    targets = "|".join([heads, *([fence] if fence else [])])
    for line in re.findall(f"[^{LINE_BREAKS}]*[{LINE_BREAKS}]|[^{LINE_BREAKS}]+$", raw):
        if re.fullmatch(f"(?:{heads})[ \t]{{0,7}}[{LINE_BREAKS}]?", line):
            return "".join(kept).strip(), True
        if fence and re.match(fence, line):
            return "".join(kept).strip(), True
        kept.append(re.sub(rf"^([ \t]*\\*)\\({targets})", r"\1\2", line))
    return "".join(kept).strip(), False


@many
@given(texts, st.sampled_from(["none", "4 backticks", "4 tildes", "spacious", "tight"]))
def test_the_reader_agrees_with_a_naive_one(raw: str, name: str) -> None:
    """The incremental reader gives what a plain reading of the whole text, line by line, gives."""
    reply = read(PROMPT_FORMATS[name], raw)
    assert (reply.text, reply.ended) == naive(raw, PROMPT_FORMATS[name])


@many
@given(st.text(alphabet="ab .,'é日\n", max_size=300), prompt_formats)
def test_prose_is_passed_on_at_once(raw: str, prompt_format: PromptFormat) -> None:
    """Of prose, only whitespace at the end of what has come so far is held back."""
    reader, shown = ReplyDecoder(prompt_format), ""
    for at, char in enumerate(raw, 1):
        shown += reader.feed(char)
        assert shown == raw[:at].strip()


@many
@given(texts, prompt_formats)
def test_little_is_held_back(raw: str, prompt_format: PromptFormat) -> None:
    """Whatever comes, what is shown is at most 140 characters behind, whitespace apart."""
    whole, reader, shown = read(prompt_format, raw), ReplyDecoder(prompt_format), ""
    for at, char in enumerate(raw, 1):
        shown += reader.feed(char)
        if reader.ended:
            break
        sure = unescape(raw[:at], prompt_format).strip()[:-140].rstrip()
        assert len(shown) >= min(len(sure), len(whole.text)) - sure.count("\\")
    assert whole.text.startswith(shown)


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
    """Code blocks, comments and near misses are part of the reply, in every format."""
    if prompt_format.fence == "````" and "````" in text:
        text = escape(text, prompt_format)
    expected = (unescape(text, prompt_format), None, True, "delimiter")
    raw = text + end_of(prompt_format)
    assert read(prompt_format, [raw]) == expected
    assert read(prompt_format, raw) == expected


@ALL
@pytest.mark.parametrize("role", ["user", "assistant", "system", "tool"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "  \n", "\t\u2028", ""])
def test_a_header_alone_on_its_line_ends_the_reply(
    prompt_format: PromptFormat, role: str, ending: str
) -> None:
    """Each header ends the reply where it stands alone on its line, whatever ends that line."""
    raw = f"Yes.\n{prompt_format.header(role)}{ending}"  # type: ignore[arg-type]
    assert (
        read(prompt_format, [raw]) == read(prompt_format, raw) == ("Yes.", None, True, "delimiter")
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
    """A fence of four ends the reply alone; one of three only outside code and before a header."""
    for pieces in ([raw], raw):
        reply = read(PromptFormat(fence=fence), pieces)
        assert (reply.text, reply.reason) == (text, reason)


@ALL
def test_whitespace_is_trimmed_at_the_ends_only(prompt_format: PromptFormat) -> None:
    """Whitespace goes at the reply's two ends and stays everywhere else."""
    raw = " \n\n  One  two\t\n\n\n    three \u3000 four \n \n"
    assert read(prompt_format, raw).text == raw.strip()


@ALL
def test_an_echoed_prompt_is_dropped_once(prompt_format: PromptFormat) -> None:
    """One copy of the prompt before the reply is truncated; a second is what the model wrote."""
    prompt = "# Instruction\n\nBe kind.\n"
    assert read(prompt_format, prompt + "Hi", prompt=prompt).text == "Hi"
    assert read(prompt_format, prompt + prompt + "Hi", prompt=prompt).text == prompt + "Hi"
    assert read(prompt_format, prompt[:9] + "Hi", prompt=prompt).text == prompt[:9] + "Hi"
    assert read(prompt_format, "Hi" + prompt, prompt=prompt).text == "Hi" + prompt.strip()


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
def test_a_prefill_is_text_whatever_it_holds(prompt_format: PromptFormat, prefill: str) -> None:
    """A prefill never ends the reply that continues it, and space before the reply is kept."""
    assert read(prompt_format, " it is so.\nYes.", prefill=prefill).text == " it is so.\nYes."


@ALL
def test_a_code_block_open_in_the_prefill_is_continued(prompt_format: PromptFormat) -> None:
    """A code block that the prefill opened is closed by the reply, which goes on behind it."""
    raw = "x = 1\n```\nDone."
    assert read(prompt_format, raw + end_of(prompt_format), prefill="See:\n```python\n").text == raw


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
    """The stop string complete first ends the reply; of two complete at once, the longer one."""
    for pieces in ([raw], raw):
        reply = read(PromptFormat(), pieces, stop)
        assert (reply.text, reply.stop) == (text, found)


@pytest.mark.parametrize(
    ("raw", "engine", "reason"),
    [
        ("Hi", "stop", "end_of_text"),
        ("Hi", None, "end_of_text"),
        ("Hi", "length", "length"),
        ("Hi\n````", "length", "delimiter"),
        ("Hi END", "length", "stop_string"),
    ],
)
def test_end_reasons(raw: str, engine: str | None, reason: str) -> None:
    """What the text shows comes before what the engine says."""
    reader = ReplyDecoder(PromptFormat(), stop=["END"])
    reader.feed(raw)
    reader.flush()
    assert reader.end_reason(engine) == reason


@pytest.mark.parametrize("begun", ["\n`", "\n```", "\n#", "\n# Query", "\n\n# Answ"])
def test_an_end_that_was_cut_is_left_out(begun: str) -> None:
    """At ``max_tokens`` an end that had begun is none of the reply; otherwise it is text."""
    for is_cut, expected in ((True, "It is Oslo."), (False, "It is Oslo." + begun)):
        for pieces in (["It is Oslo." + begun], "It is Oslo." + begun):
            reader = ReplyDecoder(PromptFormat())
            text = "".join([reader.feed(piece) for piece in pieces])
            assert text + reader.flush(cut=is_cut) == expected


def test_what_was_cut_amid_an_escape_is_text() -> None:
    """A backslash that may stand before a header is given out, as any text that is no end."""
    reader = ReplyDecoder(PromptFormat())
    assert reader.feed("See:\n\\# Qu") + reader.flush(cut=True) == "See:\n\\# Qu"
