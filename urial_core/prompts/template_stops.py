"""Template stops: where a reply would run on into the text template of the message it answers.

Frameworks send templates that were written for completion models: few-shot examples, labels
(``Question:``), rulers (``-----``), and at the end a cue (``Answer:``). A base model answers, and
then goes on with the template: the next question, what a tool observed, another example. What of
it is such a continuation is derived from the message alone, by these rules:

- Labels of what the model is given (``Question:``, ``Context:``, ``Observation:``) stop it, and
  so do those of the examples; those that the examples show after the cue are the answer's own.
- Without a cue, labels count where two different ones show that the message is a template, and
  the label that a last turn begins with, which earlier turns show whole; the turn may go on to
  other labels if that one is of a question, and nothing but turns is there. Of Markdown
  headings, only the message's first counts, and that of a question or an instruction.
- Rulers count where they divide the message, and then also the sentences beside them.
- Marks in pairs (``[BEGIN DATA]``, ``[END DATA]``) count, and the quotes that a cue opens, unless
  it asks for code.
- Empty labels, one below the other at the end, are a form: its labels are the answer's own. So are
  those of a record that the message holds, where the reply begins or announces it, and those of
  the reply's format below a line of a system message that says so (``in this format:``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from urial_core.prompts.template_lines import (
    Line,
    is_asking,
    is_given,
    is_question,
    labels_of_paragraphs,
    normalised,
)

__all__ = ["TemplateStops", "template_stops"]

_PASSAGE_NUMBER = re.compile(r"\[\d+\] ")
_LONGEST_CUE = 4
"""Words of a cue that stands alone: a longer line that ends in a colon is an instruction."""
_INLINE_CUE = re.compile(r"[.?!][\"']? (?P<label>[A-Z]\w*(?: \w+)?):[ \t]*")
_RULER = re.compile(r"(?:^|.*[^-=*_])((?:-{3,}|={3,}|\*{3,}|_{3,}))")

_NEXT_QUESTION = frozenset({"Question", "Query", "Q"})
"""Names that models give a template's next question."""
_SPEAKERS = frozenset({"human", "user", "ai", "assistant", "bot"})
_FEEDBACK = re.compile(r"observation|.*results?", re.IGNORECASE)
"""Labels of what comes back after the model acted; it must not write that itself."""
_CODE = re.compile(r"sql|cypher|json|code|expression|query", re.IGNORECASE)
_PAIR_WORDS = re.compile(r"begin|start|end|of|the|[^a-z0-9]", re.IGNORECASE)
_END_MARK = re.compile(r"\W*(?:the )?end(?![a-z])", re.IGNORECASE)

_CONTINUED = re.compile(r"(?i)\bcontinue\b|\bmore (?:lines|turns|exchanges|entries|records)\b")
"""What asks for more than one turn, in a line without a label."""
_ANNOUNCED = re.compile(r"(?i)\b(?:format|form|structure|template|schema)\b.*[:\uff1a]$")
"""A line of a system message below which the labels of the reply's format stand."""
_DATA = re.compile(r"(?i)^(?!.*\bexamples?\b).*[:\uff1a]$")
"""A line that announces a chat or a list, which the reply is to rewrite."""
_LONGEST_ASKED = 400
_ASKED = 3
"""Characters of a label's text, and how many labels: the model seldom repeats more."""
_LEAST_SENTENCE = 24
_ENOUGH = 40
"""Characters of a sentence: shorter ones are written by chance, and more need not be compared."""


@dataclass(frozen=True, slots=True)
class TemplateStops:
    """What ends a reply at the start of a line, outside code blocks.

    Digits are normalised (``normalised``), so that ``Example 2:`` also stands for ``Example 3:``.

    Attributes:
        starts: A line that begins with one of these.
        lines: A line that is one of these.
        sentences: As ``starts``, but never the reply's first line.
        rulers: A line of at least as many of the same character.
        cue: The label at the message's end, which the reply need not repeat; empty for none.
        quotes: The three quotes that the cue opens (``Passage:\"\"\"``), which close the reply.
        is_code: Whether the cue asks for code, to which a fence around it does not belong.
        sure: Whether labels count even where the reply introduces them by itself.
        asked: What the message gives last, each label with its text; the reply may repeat it
            first. Whitespace is a single space.
        turns: How the message's lines with a label begin: such a line announces nothing, even if it
            ends in a colon.
        records: The labels of each record in the message, which count even then as the reply's own.
    """

    starts: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    rulers: tuple[str, ...] = ()
    cue: str = ""
    quotes: str = ""
    is_code: bool = False
    sure: bool = False
    asked: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    records: tuple[tuple[str, ...], ...] = ()


def template_stops(
    message: str, rules: Sequence[str] = (), examples: Sequence[str] = ()
) -> TemplateStops | None:
    """Derive from a message what ends a reply to it; None if it is no template.

    Args:
        message: The user's last message.
        rules: The texts of system messages, which may hold the template's examples.
        examples: The queries of the prompt's few-shot examples, which may be templates as well.
    """
    template = _Template(message, rules, examples)
    labels = template.given_labels()
    rulers = template.rulers()
    starts = sorted({*template.starts(labels - template.marks)})
    lines = sorted({*(template.marks & labels), *template.pairs()})
    stops = TemplateStops(
        tuple(starts),
        tuple(lines),
        tuple(template.sentences()) if rulers else (),
        tuple(rulers),
        template.cue,
        template.quotes,
        template.asks_for_code,
    )
    if stops == TemplateStops():
        return None
    sure = bool(template.cue) or template.shows_turns
    return replace(
        stops,
        sure=sure,
        asked=tuple(template.asked(labels)) if sure or template.opener else (),
        turns=tuple({normalised(line.start.lstrip()): None for line in template.own if line.rest}),
        records=tuple(
            tuple(template.starts(record)) for record in (template.records() if starts else ())
        ),
    )


@dataclass(slots=True)
class _Template:
    message: str
    rules: Sequence[str]
    examples: Sequence[str]
    own: list[Line] = field(init=False)
    all: list[Line] = field(init=False)
    written: dict[str, dict[str, None]] = field(init=False)
    cue: str = field(init=False, default="")
    cue_label: str = field(init=False, default="")
    opener: str = field(init=False, default="")
    form: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        own = [Line.of(line) for line in self.message.rstrip().split("\n")]
        texts = (*self.examples, *self.rules)
        shown = [Line.of(line) for text in texts for line in [*text.split("\n"), ""]]
        self.own, self.all = own, shown + own
        self.written = {}
        for line in self.all:
            if start := normalised(line.start):
                starts = self.written.setdefault(line.label, {f"{line.label}:": None})
                starts |= {start: None, start.lstrip(): None}
        last = own[-1]
        self.form = self._form()
        if self._is_cue(last) and not self.form and any(line.text for line in own[:-1]):
            self.cue_label = last.label
            self.cue = (last.text if last.is_mark else last.start).strip()
        elif inline := list(_INLINE_CUE.finditer(last.text)):
            if inline[-1].end() == len(last.text):
                self.cue = f"{inline[-1]['label']}:"
        elif last.label:
            self.opener = self._turn_opener(last.label)

    @property
    def shows_turns(self) -> bool:
        """Whether the last line begins a turn and stands apart, while earlier turns are whole.

        A chat or a list of records that the message ends with does neither, or a line above it
        announces it with a colon (``Translate into French:``), not as examples.
        """
        *earlier, last = labels_of_paragraphs(self.all)
        label = self.own[-1].label
        is_shown = any(label in labels and len(labels) > 1 for labels in earlier)
        first = next(number for number, line in enumerate(self.own) if line.label == label)
        above = next((one.text for one in reversed(self.own[:first]) if one.text.strip()), "")
        is_data = first < len(self.own) - 1 and bool(_DATA.search(above))
        return self.opener == label and last == [label] and is_shown and not is_data

    @property
    def quotes(self) -> str:
        """The three quotes that the cue's line ends with; empty if it does not, or for code."""
        end = self.own[-1].rest if self.cue_label and not self.asks_for_code else ""
        return end if end in ('"""', "'''") else ""

    @property
    def marks(self) -> set[str]:
        return {line.label for line in self.all if line.is_mark}

    @property
    def asks_for_code(self) -> bool:
        if (
            not self.cue_label
            or len(self.cue_label.split()) > 2
            or not _CODE.search(self.cue_label)
        ):
            return False
        shown = rf"(?m)^[ \t]*{re.escape(self.cue)}\s*(?:```|~~~)"
        return not any(re.search(shown, text) for text in (self.message, *self.rules))

    def _is_cue(self, line: Line) -> bool:
        if line.is_mark:
            return line.text[0] in "<#" and not _END_MARK.match(line.text)
        is_short = len(line.label.split()) <= _LONGEST_CUE
        follows_label = bool(self.own[:-1] and self.own[-2].label)
        return line.is_empty_label and (is_short or follows_label)

    def starts(self, labels: Iterable[str]) -> list[str]:
        """Return how lines with these labels begin: as in the message, and without indentation."""
        return [start for label in labels for start in self.written.get(label, (f"{label}:",))]

    def given_labels(self) -> set[str]:
        """Return the labels that the model must not write."""
        labels = {line.label for line in self.all if line.label}
        feedback = {label for label in labels if label == "Observation" and "Action" in labels}
        given = {line.label for line in self.own if is_given(line.label)} - self.form
        if self.cue_label:
            given |= {label for label in labels if is_given(label)}
            given |= self._labels_above_cue() | self._labels_of_examples() | feedback
            if any(label.lower().endswith(("question", "query")) for label in given):
                given |= _NEXT_QUESTION
            given -= self._answer_labels() | self._prescribed() | {self.cue_label}
            if self._cue_ends_turn(given):
                given.add(self.cue_label)
            return given
        feedback &= {line.label for line in self.all[: -len(self.own)]}
        if len(given) < 2:
            given = set()
        if self.opener:
            given.add(self.opener)
        headings = [line.label for line in self.own if line.is_mark and line.text[0] == "#"]
        documents = {label for label in headings[1:] if not is_asking(label)} - set(headings[:1])
        return (given - documents - self._prescribed()) | feedback

    def asked(self, given: set[str]) -> Iterable[str]:
        """Yield the labels that the message gives last, each with its text, where that is short."""
        found = dict[str, str]()
        answers = {label for record in self.records() for label in record} | {self.cue_label}
        value = [Line("")]
        for line in (*self.own, Line("", "end")):
            if not line.label:
                value.append(line)
                continue
            text = "\n".join(one.text for one in value).rstrip()
            has_text = "\n" in text or bool(value[0].rest)
            if value[0].label in given - answers:
                found.pop(value[0].label, None)
                if has_text and "\n\n" not in text and len(text) <= _LONGEST_ASKED:
                    found[value[0].label] = " ".join(text.split())
            value = [line]
        yield from list(found.values())[-_ASKED:]

    def records(self) -> Iterable[tuple[str, ...]]:
        """Yield the labels that stand line by line in the message: no question, and no cue.

        A chat that the message ends with is the reply's where the message asks to continue it.
        """
        asked = {self.cue_label, self.opener, self._begun_question()}
        block = list[str]()
        above_cue = self.message.rstrip().rpartition("\n")[0].rstrip().count("\n") + 1
        for number, line in enumerate((*self.own, Line(""))):
            content = Line.of(_PASSAGE_NUMBER.sub("", line.text))
            if content.label and not content.is_mark:
                block.append(content.label)
                continue
            is_asked = is_question(block) and all(map(is_given, block))
            is_apart = asked.isdisjoint(block) and not (number == above_cue and is_asked)
            if len(block) > 1 and is_apart and not any(map(_FEEDBACK.fullmatch, block)):
                yield tuple(dict.fromkeys(block))
            block = []
        unlabelled = "\n".join(line.text for line in self.own if not line.label)
        if self.opener and not self.shows_turns and _CONTINUED.search(unlabelled):
            labels = [line.label for line in self.own if line.label and not line.is_empty_label]
            yield tuple(dict.fromkeys(labels))

    def rulers(self) -> list[str]:
        """Return the rulers that divide the message."""
        uses = dict[str, list[Line]]()  # the lines above each
        for above, line in zip([Line(""), *self.all], self.all, strict=False):
            match = _RULER.fullmatch(line.text)
            if match and (len(match[1]) >= 10 or not line.text.strip("-=*_ \t")):
                uses.setdefault(match[1], []).append(above)
        pairs = bool(self.pairs())
        return sorted(
            ruler
            for ruler, above in uses.items()
            if (len(ruler) > 3 or pairs or (ruler == "===" and len(above) > 2))
            and (self.cue or pairs or len(above) > 1 or above[0].text.endswith((":", "\uff1a")))
            and any(len(line.text) != len(ruler) for line in above)  # underlined headings
        )

    def sentences(self) -> Iterable[str]:
        """Yield the template's own sentences: its first line, those around the rulers, the rules.

        Rulers show that what is between them is given, and what is not is the template's.
        """
        texts = [line.text for line in self.own if line.text.strip()]
        at = [number for number, text in enumerate(texts) if _RULER.fullmatch(text)]
        rules = [line.strip() for text in self.rules for line in text.split("\n")] if at else []
        yield from (normalised(rule)[:_ENOUGH] for rule in rules if len(rule) >= _ENOUGH)
        for number in {0, at[0] - 1, at[-1] + 1} if at else ():
            text = normalised(texts[number]) if 0 <= number < len(texts) else ""
            head, colon, _ = text.partition(": ")
            text = f"{head}:" if colon else text
            if len(text) >= _LEAST_SENTENCE:
                yield text[:_ENOUGH]

    def pairs(self) -> set[str]:
        """Return the marks that stand around what the model is given, normalised."""
        marks = {line.label for line in self.own if line.is_mark}
        ends = {mark for mark in marks if _END_MARK.match(mark)}
        names = {_PAIR_WORDS.sub("", mark.lower()) for mark in ends} - {""}
        partners = {m for m in marks - ends if _PAIR_WORDS.sub("", m.lower()) in names}
        found = {_PAIR_WORDS.sub("", mark.lower()) for mark in partners}
        return partners | {end for end in ends if _PAIR_WORDS.sub("", end.lower()) in found}

    def _form(self) -> frozenset[str]:
        """Return the empty labels at the message's end, if there are several and only there."""
        fields = list(takewhile(lambda line: line.is_empty_label, reversed(self.own)))
        form = frozenset(line.label for line in fields)
        others = {line.label for line in self.all[: -len(fields) or None]}
        return form if len(form) > 1 and not form & others else frozenset()

    def _turn_opener(self, label: str) -> str:
        """Return the label that begins the message's last turn, which earlier ones show whole.

        Args:
            label: The last line's: that one, or below a question's a further one of its turn.
        """
        labels = [line.label for line in self.all if line.label]
        counted = Counter(labels)
        first = next(one for one in labels if counted[one] > 1 or one == label)
        between = set(labels[labels.index(label) + 1 : -1]) - {label}
        if label == first and counted[label] > 1 and between:
            return label
        return self._begun_question()

    def _begun_question(self) -> str:
        """Return the label of the question that the message's last turn has begun with.

        An earlier turn ends with a label that this one lacks, and nothing but turns is in the
        message: a task would be about them.
        """
        *earlier, (opener, *others) = [labels or [""] for labels in labels_of_paragraphs(self.all)]
        is_begun = any(
            labels[0] == opener and labels[-1] not in (opener, *others) for labels in earlier
        )
        is_task = any(
            line.text.strip() and (not line.label or line.is_empty_label) for line in self.own[:-1]
        )
        return opener if is_begun and not is_task and is_asking(opener) else ""

    def _prescribed(self) -> set[str]:
        """Return the labels below a line of a system message that announces the reply's format.

        One that begins with a label of the message, has more below the message's last label, or
        holds the cue, is the template's.
        """
        found = set[str]()
        own = {line.label for line in self.own if line.label}
        for rule in self.rules:
            announced, form = False, list[str]()
            for line in [*(Line.of(text) for text in rule.split("\n") if text.strip()), Line("")]:
                is_label = bool(line.label) and not line.is_mark
                if announced and is_label and not (line.is_empty_label and not form):
                    form.append(line.label)
                    continue
                is_reply = self.cue_label not in form and self.own[-1].label not in form[:-1]
                if form and form[0] not in own and is_reply:
                    found |= {label for label in form if not _FEEDBACK.fullmatch(label)}
                announced, form = bool(_ANNOUNCED.search(line.text)), []
        return found

    def _labels_above_cue(self) -> set[str]:
        """Return the labels of the lines right above the cue, up to one that is surely given."""
        if any(line.label == self.cue_label for line in self.all[:-1]):
            return set()  # the examples show more
        found = set[str]()
        for line in reversed(self.own[:-1]):
            if not line.label:
                break
            found.add(line.label)
            if is_given(line.label):
                break
        return found

    def _labels_of_examples(self) -> set[str]:
        """Return the labels beside the first cue, and those that an earlier turn has as well."""
        found = set[str]()
        for number in self._earlier_cues()[:1]:
            for step in (-1, 1):
                at = number + step
                while 0 <= at < len(self.all) and self.all[at].label:
                    found.add(self.all[at].label)
                    at += step
        *earlier, last = self._labels_between_cues()
        return found | (set(last) & {label for labels in earlier for label in labels})

    def _answer_labels(self) -> set[str]:
        """Return the labels that examples show right after the cue, as parts of the answer."""
        found, is_below = set[str](), False
        for line in self.all[:-1]:
            if not line.label or is_given(line.label) or _FEEDBACK.fullmatch(line.label):
                is_below = False
            elif is_below:
                found.add(line.label)
            is_below |= line.label == self.cue_label
        return found

    def _cue_ends_turn(self, given: set[str]) -> bool:
        """Whether the cue's label begins another turn: no turn of the examples has it twice."""
        if self.asks_for_code or self.cue_label.lower() in _SPEAKERS:
            return True
        _, *between = self._labels_between_cues()
        return bool(between) and all(
            any(label in given and not _FEEDBACK.fullmatch(label) for label in labels)
            for labels in between
        )

    def _earlier_cues(self) -> list[int]:
        return [n for n, line in enumerate(self.all[:-1]) if line.label == self.cue_label]

    def _labels_between_cues(self) -> list[list[str]]:
        """Return the labels before, between and after earlier cues; none within feedback."""
        blocks, feedback = [list[str]()], False
        for line in self.all[:-1]:
            if line.label == self.cue_label:
                blocks.append([])
                feedback = False
            elif line.label and (not feedback or is_given(line.label)):
                blocks[-1].append(line.label)
                feedback = bool(_FEEDBACK.fullmatch(line.label))
        return blocks
