r"""Measure first messages and second turns: what a newcomer meets first.

    python benchmarks/first_words.py                      # transformers, all four variants
    python benchmarks/first_words.py --backend llama.cpp --only "exchange, DRY"
    python benchmarks/first_words.py --prompt chat_rag --parts passages

A variant is a preset with or without the greeting that is its last example, and DRY on or off.
``first_words.toml`` holds 80 first messages, 80 two-turn conversations, texts to quote and passages
to answer from; every second one was not looked at while variants were chosen, and ``--half`` picks
one half. Shares stand with their 95 % intervals (Wilson). ``docs/decoding.md`` has the results.

- copies: eight words in a row of the prompt prefix, which the message lacks.
- echoes: a whole sentence of the prompt's answers, of three words or more.
- topic: two topic words of the examples, which the message lacks.
- greeted: of the greetings, those answered with a greeting.
- copied: over half of the second reply's runs of six words stand in the first.
- near copy: the two replies' words are alike by more than half (edit distance).
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from urial_core import GenerationParameters, Message, Prompt, Reply, UrialChat, load_prompt
from urial_core.backends.in_process import BACKENDS, model_in_process
from urial_core.demo import demo_model_file

DATA = Path(__file__).with_name("first_words.toml")
PARTS = ("first", "two_turns", "quotations", "passages")
TOPICS = frozenset(
    {
        *("moon", "orbit", "perigee", "apogee", "supermoon", "kilometers", "km", "laser"),
        *("plant", "plants", "pot", "pots", "potting", "repot", "repotting", "soil", "roots"),
        *("drainage", "houseplant", "coworker", "coffee", "humiliating", "humiliated"),
        *("manager", "hr", "union", "library", "card", "passages", "warranty", "descale"),
        *("receipts"),
    }
)
GREETINGS = re.compile(
    r"\b(hello|hi|hey|hiya|howdy|greetings|welcome|good (morning|evening|afternoon|day|night)|"
    r"(nice|glad|good|great|happy|pleased|lovely) to (meet|see|hear|have)|glad you|how are you|"
    r"i'?m (fine|well|good|great|doing))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A prompt and how its replies are sampled."""

    prompt: Prompt
    dry: bool

    def parameters(self, max_tokens: int) -> GenerationParameters:
        """Return the parameters of its replies."""
        multiplier = 2.0 if self.dry else 0.0
        return GenerationParameters(max_tokens=max_tokens, dry_multiplier=multiplier)


def words(text: str) -> list[str]:
    """Return a text's words, in lower case and without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """Return all runs of so many words."""
    found = words(text)
    return set(zip(*(found[start:] for start in range(length)), strict=False))


def alike(first: str, second: str) -> float:
    """Return how alike two texts are: 1 less their words' edit distance over the longer's words."""
    left, right = words(first), words(second)
    if not left or not right:
        return 0.0
    row = np.arange(len(right) + 1)
    for number, word in enumerate(left, 1):
        changed = row[:-1] + np.array([word != other for other in right])
        best = np.concatenate(([number], np.minimum(changed, row[1:] + 1)))
        row = np.minimum.accumulate(best - np.arange(len(best))) + np.arange(len(best))
    return 1 - float(row[-1]) / max(len(left), len(right))


class Answers:
    """Answers conversations with one variant, in batches."""

    def __init__(self, model: Any, variant: Variant, max_tokens: int, batch: int) -> None:
        self._chat = UrialChat(model, variant.prompt)
        self._parameters = variant.parameters(max_tokens)
        self._batch = batch

    def __call__(self, conversations: Sequence[Sequence[str]]) -> list[Reply]:
        """Answer conversations, given as their messages in turn; the user's come first."""
        requests = [
            self._chat.request(
                [
                    Message("assistant" if number % 2 else "user", text)
                    for number, text in enumerate(conversation)
                ],
                self._parameters,
            )
            for conversation in conversations
        ]
        replies = list[Reply]()
        for start in range(0, len(requests), self._batch):
            replies += self._chat.reply(requests[start : start + self._batch])
        return replies


def share(name: str, passed: Sequence[bool]) -> dict[str, str]:
    """Return how many passed, with the 95 % interval of their share."""
    if not passed:
        return {name: "-"}
    interval = binomtest(sum(passed), len(passed)).proportion_ci(method="wilson")
    count, total = sum(passed), len(passed)
    return {name: f"{count}/{total} ({interval.low:.0%}-{interval.high:.0%})"}


def measure_first(answer: Answers, prompt: Prompt, data: Any, half: Half) -> dict[str, str]:
    """Measure the replies to first messages."""
    asked = [(kind, text) for kind, texts in data["first_messages"].items() for text in half(texts)]
    replies = answer([[text] for _, text in asked])
    known = runs(prompt.prefix, 8)
    sentences = {sentence for example in prompt.examples for sentence in said(example.answer)}
    rows = [(kind, text, reply) for (kind, text), reply in zip(asked, replies, strict=True)]
    for kind, text, reply in rows:
        show(kind, text, reply)
    greetings = [reply for kind, _, reply in rows if kind == "greeting"]
    return {
        **share("copies", [bool((runs(r.text, 8) & known) - runs(t, 8)) for _, t, r in rows]),
        **share("echoes", [bool(said(reply.text) & sentences) for reply in replies]),
        **share("topic", [takes_topic(text, reply) for _, text, reply in rows]),
        **share("ended itself", [ended(reply) for reply in replies]),
        **share("greeted", [bool(GREETINGS.search(r.text[:120])) for r in greetings]),
        "words": f"{np.mean([len(words(reply.text)) for reply in replies]):.0f}",
    }


def measure_two_turns(answer: Answers, prompt: Prompt, data: Any, half: Half) -> dict[str, str]:
    """Measure the second replies of conversations."""
    del prompt
    asked = half(data["two_turns"]["questions"])
    firsts = answer([[first] for first, _ in asked])
    seconds = answer(
        [[one, reply.text, two] for (one, two), reply in zip(asked, firsts, strict=True)]
    )
    pairs = list(zip(firsts, seconds, strict=True))
    for (one, two), (first, second) in zip(asked, pairs, strict=True):
        show("turn 1", one, first)
        show("turn 2", two, second)
    return {
        **share("copied", [copied(one.text, two.text) > 0.5 for one, two in pairs]),
        **share("near copy", [alike(one.text, two.text) > 0.5 for one, two in pairs]),
        **share("ended, turn 1", [ended(reply) for reply in firsts]),
        **share("ended, turn 2", [ended(reply) for reply in seconds]),
    }


def measure_quotations(answer: Answers, prompt: Prompt, data: Any, half: Half) -> dict[str, str]:
    """Measure how often a text is quoted word for word where that is asked for."""
    del prompt
    asked = half(data["quotations"]["texts"])
    replies = answer([[f"{task}\n\n{text}"] for text, task in asked])
    for (text, task), reply in zip(asked, replies, strict=True):
        show("quotation", f"{task} {text}", reply)
    pairs = zip(asked, replies, strict=True)
    return share("quoted", [text in reply.text for (text, _), reply in pairs])


def measure_passages(answer: Answers, prompt: Prompt, data: Any, half: Half) -> dict[str, str]:
    """Measure the facts in answers from passages."""
    del prompt
    asked = half(data["passages"]["questions"])
    replies = answer(
        [[f"Context:\n[1] {passage}\n\nQuestion: {question}"] for passage, question, _ in asked]
    )
    for (_, question, _), reply in zip(asked, replies, strict=True):
        show("passage", question, reply)
    return {
        **share("facts", [w in r.text for (_, _, w), r in zip(asked, replies, strict=True)]),
        **share("ended, passages", [ended(reply) for reply in replies]),
    }


def takes_topic(question: str, reply: Reply) -> bool:
    """Return whether a reply is about what the prompt's examples are about."""
    return len((set(words(reply.text)) & TOPICS) - set(words(question))) >= 2


def said(text: str) -> set[str]:
    """Return a text's sentences of three words or more, as their words."""
    found = (words(sentence) for sentence in re.split(r"(?<=[.!?])\s+", text))
    return {" ".join(sentence) for sentence in found if len(sentence) >= 3}


def copied(first: str, second: str) -> float:
    """Return the share of the second text's runs of six words that stand in the first."""
    found = runs(second, 6)
    return len(found & runs(first, 6)) / len(found) if found else 0.0


def ended(reply: Reply) -> bool:
    """Return whether a reply was not cut off."""
    return reply.end.reason != "length"


def show(kind: str, text: str, reply: Reply) -> None:
    """Print a reply, to be read."""
    if SHOWN:
        print(f"\n== {kind} | {text}\n{reply.text} [{reply.end.reason}]", flush=True)


Half = Callable[[Sequence[Any]], list[Any]]
MEASURES = dict(
    zip(
        PARTS,
        (measure_first, measure_two_turns, measure_quotations, measure_passages),
        strict=True,
    )
)
SHOWN = False


def variants(preset: str) -> dict[str, Variant]:
    """Return the variants of a preset."""
    whole = load_prompt(preset)
    plain = replace(whole, examples=whole.examples[:-1])
    return {
        "as before": Variant(plain, dry=False),
        "DRY": Variant(plain, dry=True),
        "exchange": Variant(whole, dry=False),
        "exchange, DRY": Variant(whole, dry=True),
    }


def main() -> None:
    """Run the comparison that the command line asks for."""
    global SHOWN  # noqa: PLW0603 - a script's switch
    parser = argparse.ArgumentParser(description="Measure first messages and second turns.")
    parser.add_argument("--backend", choices=BACKENDS[1:], default="transformers")
    parser.add_argument("--prompt", default="chat", help="chat, chat_ja or chat_rag")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--half", choices=("all", "tuning", "held_out"), default="all")
    parser.add_argument("--only", nargs="+", help="only these variants")
    parser.add_argument("--max-tokens", type=int, default=120)
    parser.add_argument("--batch", type=int, default=20, help="replies generated together")
    parser.add_argument("--show", action="store_true", help="also print the replies")
    arguments = parser.parse_args()
    SHOWN = arguments.show

    data = tomllib.loads(DATA.read_text("utf-8"))
    pick = {"all": slice(None), "tuning": slice(0, None, 2), "held_out": slice(1, None, 2)}
    llama = arguments.backend == "llama.cpp"
    options = {"n_threads": 1} if llama else {"max_batch_size": arguments.batch}
    model = model_in_process(str(demo_model_file()), {"backend": arguments.backend, **options})
    rows = dict[str, dict[str, str]]()
    for name, variant in variants(arguments.prompt).items():
        if arguments.only and name not in arguments.only:
            continue
        answer = Answers(model, variant, arguments.max_tokens, arguments.batch)
        begun, rows[name] = time.perf_counter(), {}
        for part in arguments.parts:
            half = lambda entries: list(entries)[pick[arguments.half]]  # noqa: E731
            rows[name] |= MEASURES[part](answer, variant.prompt, data, half)
            seconds = time.perf_counter() - begun
            print(f"{name}, {part}: {seconds:.0f} s {rows[name]}", file=sys.stderr, flush=True)

    measures = list(next(iter(rows.values())))
    print("\n| | " + " | ".join(measures) + " |")
    print("|---|" + "---|" * len(measures))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(row[measure] for measure in measures) + " |")


if __name__ == "__main__":
    main()
