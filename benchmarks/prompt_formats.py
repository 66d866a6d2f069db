r"""Compare prompt formats, or sampling parameters, by the replies of a base model.

    python benchmarks/prompt_formats.py                      # prompt formats
    python benchmarks/prompt_formats.py --sampling --fence '````'

Each variant answers the questions of ``questions.toml`` with the ``default`` preset's instruction
and examples, and becomes a column (a row, with ``--sampling``) of the table on standard output.
``docs/prompt_formats.md`` has the results.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from urial_core import (
    Completion,
    CompletionRequest,
    GenerationParameters,
    Message,
    Prompt,
    PromptFormat,
    Reply,
    UrialChat,
    load_prompt,
)
from urial_core.backends.in_process import BACKENDS, InProcessModel, model_in_process
from urial_core.demo import demo_model_file
from urial_core.prompts.loading import preset_or_file

QUESTIONS = Path(__file__).with_name("questions.toml")
MAX_TOKENS = 300

PROMPT_FORMATS = {
    "```": PromptFormat(fence="```"),
    "````": PromptFormat(fence="````"),
    "~~~~": PromptFormat(fence="~~~~"),
    "none": PromptFormat(fence="", text_separator="\n"),
    "none, blank line": PromptFormat(fence="", text_separator="\n\n"),
}

GREEDY = GenerationParameters(max_tokens=MAX_TOKENS, seed=1)
SAMPLINGS = {
    **{
        f"greedy, repetition {penalty}": GREEDY.replace(repetition_penalty=penalty)
        for penalty in (1.0, 1.05, 1.1, 1.15, 1.2, 1.3)
    },
    **{
        f"temperature {temperature}, top_p 0.9, repetition {penalty}": GREEDY.replace(
            temperature=temperature, top_p=0.9, repetition_penalty=penalty
        )
        for temperature in (0.3, 0.5, 0.7)
        for penalty in (1.0, 1.1)
    },
    **{
        f"greedy, frequency {penalty}": GREEDY.replace(
            frequency_penalty=penalty, repetition_penalty=1.0
        )
        for penalty in (0.2, 0.5)
    },
}

_FENCE_LINE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)")
_HEADER_LINE = re.compile(r"#\s*(query|answer|system|user|assistant)\b", re.IGNORECASE)
_LIST_MARK = re.compile(r"\s*(?:\d+[.)]|[-*+])\s+")
_TURN_LINE = re.compile(
    r"\W*(query|question|user|human|person|answer|assistant|ai|q|a)\b\W*:", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Question:
    """One conversation to answer."""

    kind: str
    messages: tuple[Message, ...]
    wants_code: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, the raw completion and the reply that was decoded from it."""

    question: Question
    raw: str
    reply: Reply
    format: PromptFormat
    known: frozenset[tuple[str, ...]]

    @property
    def lines(self) -> list[str]:
        """The reply's lines."""
        return self.reply.text.splitlines()

    def ended_by(self, reason: str) -> bool:
        """Whether the reply ended for this reason."""
        return self.reply.end.reason == reason

    @property
    def fence_left_out(self) -> bool:
        """Whether the model went on to a header without the format's fence before it."""
        lines = [line.rstrip() for line in self.raw.splitlines() if line.strip()]
        at_header = self.ended_by("delimiter") and lines[-1] in self.format.headers
        return bool(self.format.fence) and at_header and self.format.fence not in lines[-2:-1]

    @property
    def has_block(self) -> bool:
        """Whether a line opens a code block."""
        return any(_FENCE_LINE.match(line) for line in self.lines)

    @property
    def balanced(self) -> bool:
        """Whether every code block opened is closed, and by a line of its own."""
        return not open_block(self.lines)

    @property
    def stray_fence(self) -> bool:
        """Whether a fence belongs to no complete code block, in a reply that was not cut off."""
        unclosed = not self.balanced and not self.ended_by("length")
        first = self.lines[:1]
        lone_first = bool(first) and first[0].strip(" \t`~") == "" and not self.balanced
        return unclosed or lone_first

    @property
    def leaked_header(self) -> bool:
        """Whether a line looks like a header."""
        return any(_HEADER_LINE.match(line) for line in self.lines)

    @property
    def next_turn(self) -> bool:
        """Whether the reply itself contains the start of a next turn."""
        return any(_HEADER_LINE.match(line) or _TURN_LINE.match(line) for line in self.lines)

    @property
    def short(self) -> bool:
        """Whether it has less than three words."""
        return len(self.reply.text.split()) < 3

    @property
    def repetitive(self) -> bool:
        """Whether six consecutive words outside code, or a line, occur three times or more."""
        grams = Counter(six_words(outside_blocks(self.lines)))
        bare = (_LIST_MARK.sub("", line).strip() for line in self.lines)
        lines = Counter(line for line in bare if len(line.split()) > 1)
        return max((*grams.values(), *lines.values()), default=0) >= 3

    @property
    def broken_bold(self) -> bool:
        """Whether a line opens bold text and never closes it (the last one may be cut off)."""
        lines = self.lines[:-1] if self.ended_by("length") else self.lines
        return any(line.count("**") % 2 for line in lines)

    @property
    def copies(self) -> bool:
        """Whether six consecutive words come from the prompt's examples."""
        return bool(self.known & set(six_words(self.reply.text.lower().split())))


def six_words(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all runs of six words."""
    return list(zip(*(words[start:] for start in range(6)), strict=False))


def open_block(lines: Sequence[str]) -> bool:
    """Return whether the lines end inside a code block."""
    block = ""
    for line in lines:
        if not (match := _FENCE_LINE.match(line)):
            continue
        fence, rest = match.groups()
        if not block:
            block = "" if fence[0] == "`" and "`" in rest else fence
        elif fence.startswith(block) and not rest.strip():
            block = ""
    return bool(block)


def outside_blocks(lines: Sequence[str]) -> list[str]:
    """Return the words outside code blocks."""
    words = []
    for number, line in enumerate(lines):
        if not open_block(lines[:number]) and not _FENCE_LINE.match(line):
            words += line.lower().split()
    return words


class Recorder:
    """A model that records its raw completions."""

    def __init__(self, model: InProcessModel) -> None:
        self.raw = list[tuple[str, str]]()
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete prompts as one batch."""
        completions = self._model.complete(requests)
        self.raw += [
            (request.prompt, completion.text)
            for request, completion in zip(requests, completions, strict=True)
        ]
        return completions


def read_questions(limit: int | None) -> list[Question]:
    """Read the questions; with a limit, that many, spread over all kinds."""
    questions = [
        Question(
            entry["kind"],
            tuple(Message(**message) for message in entry["messages"]),
            entry.get("wants_code", False),
        )
        for entry in tomllib.loads(QUESTIONS.read_text("utf-8"))["questions"]
    ]
    limit = limit or len(questions)
    return [questions[number * len(questions) // limit] for number in range(limit)]


def answer(
    model: InProcessModel,
    prompt: Prompt,
    parameters: GenerationParameters,
    questions: Sequence[Question],
    batch: int,
) -> list[Answered]:
    """Answer the questions."""
    recorder = Recorder(model)
    chat = UrialChat(recorder, prompt)  # type: ignore[arg-type]  # only `reply` is called
    requests = [chat.request(question.messages, parameters) for question in questions]
    # Conversations of like length go together: less padding, and earlier answers differ in length.
    order = sorted(range(len(requests)), key=lambda number: len(requests[number].prompt))
    known = frozenset(
        run
        for example in prompt.examples
        for text in (example.query, example.answer)
        for run in six_words(text.lower().split())
    )
    answered = dict[int, Answered]()
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        replies = chat.reply([requests[number] for number in part])
        raw = dict(recorder.raw)
        for number, reply in zip(part, replies, strict=True):
            answered[number] = Answered(
                questions[number], raw[requests[number].prompt], reply, prompt.format, known
            )
    return [answered[number] for number in range(len(questions))]


def share(answers: Sequence[Answered], test: Callable[[Answered], bool]) -> str:
    """Return the share of answers that pass a test."""
    return f"{sum(map(test, answers)) / len(answers):.0%}" if answers else "-"


def measures(answers: Sequence[Answered]) -> dict[str, str]:
    """Return all measures of a variant's answers."""
    code = [one for one in answers if one.question.kind == "code"]
    asked = [one for one in code if one.question.wants_code]
    usages = [one.reply.end.usage for one in answers if one.reply.end.usage]
    return {
        "ended itself": share(answers, lambda one: not one.ended_by("length")),
        "delimiter": share(answers, lambda one: one.ended_by("delimiter")),
        "of it, fence left out": share(answers, lambda one: one.fence_left_out),
        "end of text": share(answers, lambda one: one.ended_by("end_of_text")),
        "length": share(answers, lambda one: one.ended_by("length")),
        "code: block": share(code, lambda one: one.has_block),
        "asked for: block": share(asked, lambda one: one.has_block),
        "code: block, balanced": share(code, lambda one: one.has_block and one.balanced),
        "stray fence": share(answers, lambda one: one.stray_fence),
        "header leaked": share(answers, lambda one: one.leaked_header),
        "next turn": share(answers, lambda one: one.next_turn),
        "< 3 words": share(answers, lambda one: one.short),
        "repetitive": share(answers, lambda one: one.repetitive),
        "repetitive, ended": share(
            answers, lambda one: one.repetitive and not one.ended_by("length")
        ),
        "broken bold": share(answers, lambda one: one.broken_bold),
        "copies an example": share(answers, lambda one: one.copies),
        "one line": share(answers, lambda one: len(one.reply.text.splitlines()) == 1),
        "words": f"{sum(len(one.reply.text.split()) for one in answers) / len(answers):.0f}",
        "tokens": f"{sum(usage.output_tokens for usage in usages) / len(answers):.0f}",
    }


def show(name: str, answers: Sequence[Answered]) -> None:
    """Print the replies for reading."""
    for number, one in enumerate(answers):
        notes = [
            str(one.reply.end.reason),
            *(
                word
                for word in (
                    "stray_fence",
                    "leaked_header",
                    "next_turn",
                    "short",
                    "repetitive",
                    "copies",
                )
                if getattr(one, word)
            ),
        ]
        print(f"\n===== {name} | {number} {one.question.kind} | {', '.join(notes)}")
        print(f">>> {one.question.messages[-1].text}\n{one.reply.text}")
        print(f"----- raw end: {one.raw[-40:]!r}")


def main() -> None:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description="Compare prompt formats or sampling parameters.")
    parser.add_argument("--model", help="a folder or a hub id; default: the demo model")
    parser.add_argument("--backend", choices=BACKENDS[1:], default="transformers")
    parser.add_argument("--prompt", default="default", help="a preset or a prompt file")
    parser.add_argument("--sampling", action="store_true", help="compare sampling parameters")
    parser.add_argument("--fence", help="only the format with this fence; empty for none")
    parser.add_argument(
        "--text-separator", default="\n", help=r"without a fence: '\n' (default) or '\n\n'"
    )
    parser.add_argument("--only", help="only the variants whose name contains this")
    parser.add_argument("--limit", type=int, help="ask this many questions, spread over all kinds")
    parser.add_argument("--batch", type=int, default=16, help="replies generated together")
    parser.add_argument("--show", action="store_true", help="also print the replies")
    arguments = parser.parse_args()

    prompt = load_prompt(preset_or_file(arguments.prompt))
    separator = arguments.text_separator.encode().decode("unicode_escape")
    one = PromptFormat(
        fence=prompt.format.fence if arguments.fence is None else arguments.fence,
        text_separator=separator,
    )
    if arguments.sampling:
        variants = {name: (one, parameters) for name, parameters in SAMPLINGS.items()}
    else:
        formats = PROMPT_FORMATS if arguments.fence is None else {f"{one.fence!r}": one}
        variants = {
            name: (prompt_format, GREEDY.replace(repetition_penalty=1.1))
            for name, prompt_format in formats.items()
        }
    questions = read_questions(arguments.limit)
    model_id = arguments.model or str(demo_model_file())
    options = {"max_batch_size": arguments.batch} if arguments.backend == "transformers" else {}
    model = model_in_process(model_id, {"backend": arguments.backend, **options})
    rows = list[tuple[str, dict[str, str]]]()
    for name, (prompt_format, parameters) in variants.items():
        if arguments.only and arguments.only not in name:
            continue
        begun = time.perf_counter()
        answers = answer(
            model, replace(prompt, format=prompt_format), parameters, questions, arguments.batch
        )
        if arguments.show:
            show(name, answers)
        rows.append((name, measures(answers)))
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)

    print(f"\n{len(questions)} questions, {Path(model_id).name}, {arguments.backend}\n")
    print("| | " + " | ".join(name for name, _ in rows) + " |")
    print("|---|" + "---:|" * len(rows))
    for measure in rows[0][1] if rows else ():
        print(f"| {measure} | " + " | ".join(row[measure] for _, row in rows) + " |")


if __name__ == "__main__":
    main()
