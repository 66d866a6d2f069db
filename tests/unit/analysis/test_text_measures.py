"""Measures of an answer's text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core.analysis.answering import Answer
from urial_core.analysis.text_measures import MEASURES, AnswerInContext, words

BY_NAME = {measure.name: measure for measure in MEASURES}
LONG = "The Moon moves away from us every single year."
OTHER = "Nothing of this sentence stands anywhere else today."


def value(
    name: str,
    text: str,
    *,
    query: str = "Why?",
    end: str = "delimiter",
    prompt: str = "",
    earlier: tuple[str, ...] = (),
) -> float | None:
    answer = Answer(method="m", question="q", turn=1, query=query, text=text, end=end)
    return BY_NAME[name].value(AnswerInContext(answer, prompt, earlier))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("forged_turns", "Sure.\nQuestion: what else?", 1),
        ("forged_turns", "Sure.\n\n**User:** and then?", 1),
        ("forged_turns", "# Query:\nNext", 1),
        ("forged_turns", "Ask a question: it helps. The answer: yes.", 0),
        ("forged_turns", "```yaml\nuser: root\n```\nDone.", 0),
        ("repetition", "one two three", None),
        ("repetition", "one two three four five", 0),
        ("repetition", "a b c d a b c d", 1 / 5),
        ("repetition", "no " * 40, 36 / 37),
        ("words", "", 0),
        ("words", "It's a well-known fact: 3 apples!", 6),
        ("words", "空は青い", 4),
        ("code_intact", "no code", None),
        ("code_intact", "```python\nx = 1\n```", 1),
        ("code_intact", "```python\nx = 1\n", 0),
        ("code_intact", "````\n```\n````\ntext", 1),
        ("code_intact", "~~~\n```\n~~~", 1),
        ("code_intact", "a `span` in ```one``` line", None),
        ("has_list", "1. One\n2. Two", 1),
        ("has_list", "- One\n\n- Two", 1),
        ("has_list", "- One", 0),
        ("has_list", "```\n- One\n- Two\n```", 0),
        ("has_list", "1.5 is more\n-1 is less", 0),
        ("has_bold", "This is **bold**.", 1),
        ("has_bold", "2 ** 3 is 8, and 2 ** 4", 0),
        ("has_bold", "```\n**no**\n```", 0),
        ("has_bold", "__init__ is __bold__ here", 1),
        ("has_bold", "plain", 0),
    ],
)
def test_measures_of_the_text_alone(name: str, text: str, expected: float | None) -> None:
    """Each measure has the value that its definition gives for a text."""
    assert value(name, text) == (pytest.approx(expected) if expected is not None else None)


@pytest.mark.parametrize(("end", "expected"), [("length", 0), ("stop", 1), ("", None)])
def test_ended(end: str, expected: float | None) -> None:
    """An answer ended by itself unless its end is the limit, or unknown."""
    assert value("ended", "Yes.", end=end) == expected


def test_copies_of_the_prompt() -> None:
    """Copied sentences count, whatever their case and punctuation; short ones do not."""
    prompt = f"# Answer:\n{LONG} In short, yes."
    text = f"**the moon moves away from us every single year!**\n\n{OTHER} In short, yes."
    assert value("copied_from_prompt", text, prompt=prompt) == 0.5
    assert value("copied_from_prompt", "In short, yes.", prompt=prompt) is None


def test_copies_of_earlier_replies() -> None:
    """Sentences of earlier replies count in later turns; a first turn has no value."""
    assert value("copied_from_replies", f"{LONG} {OTHER}", earlier=("Hi.", LONG)) == 0.5
    assert value("copied_from_replies", LONG) is None


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("Why is the sky blue?", "It is blue because of the way in which light scatters.", 1),
        ("Warum ist der Himmel blau?", "The sky is blue because of scattering in the air.", 0),
        (
            "Warum ist der Himmel blau?",
            "Weil das Licht in der Luft gestreut wird und das ist es.",
            1,
        ),
        ("空はなぜ青いのですか", "The sky is blue because of the light.", 0),
        ("空はなぜ青いのですか", "光が散乱するからです。", 1),
        ("Почему небо синее?", "Потому что свет рассеивается.", 1),
        ("Hi", "The sky is blue.", None),
        ("Write code for it in Python.", "```python\nprint(1)\n```", None),
    ],
)
def test_language_kept(query: str, text: str, expected: float | None) -> None:
    """The answer's language must be the question's, where both can be told; code has none."""
    assert value("language_kept", text, query=query) == expected


@given(st.text(), st.text(), st.lists(st.text(), max_size=2))
def test_any_text_has_values(text: str, prompt: str, earlier: list[str]) -> None:
    """For any text, no measure fails, and shares lie between 0 and 1."""
    for measure in MEASURES:
        found = value(measure.name, text, query=prompt, prompt=prompt, earlier=tuple(earlier))
        assert found is None or found >= 0
        assert found is None or measure.unit == "number" or found <= 1


@given(st.text())
def test_an_answer_copies_itself(text: str) -> None:
    """An answer that is the prompt is copied as a whole, if it has long sentences at all."""
    assert value("copied_from_prompt", text, prompt=text) in (1, None)


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1))
def test_words_do_not_depend_on_spaces(parts: list[str]) -> None:
    """However words are set apart, they are the same words."""
    assert words(" ".join(parts)) == words("\n\n ".join(parts))
