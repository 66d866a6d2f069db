r"""Measure how well a base model decides between tool and answer, and how well it calls.

    python benchmarks/tools.py                              # the decision
    python benchmarks/tools.py --calls                      # and the calls
    python benchmarks/tools.py --order 6,5,4,3,2,1          # the lesson's examples in another order
    python benchmarks/tools.py --without-style --without-instruction

The requests are those of ``tool_requests.toml``: every second one is for tuning, the others for the
report. ``docs/tools.md`` has the results.
"""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch: idle threads leave the cores alone

from urial_core import (
    Choice,
    CompletionRequest,
    GenerationParameters,
    Message,
    Prompt,
    Tool,
    ToolCall,
    ToolUse,
    UrialChat,
    load_prompt,
)
from urial_core.backends.in_process import BACKENDS, model_in_process
from urial_core.demo import demo_model_file

REQUESTS = Path(__file__).with_name("tool_requests.toml")
GREEDY = GenerationParameters(max_tokens=100, temperature=0.0)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and the call that should come of it, if any."""

    messages: tuple[Message, ...]
    use: ToolUse
    call: ToolCall | None
    free: tuple[str, ...]

    @property
    def after_result(self) -> bool:
        """Whether a tool's result is there already."""
        return self.messages[-1].role == "tool"

    def arguments_fit(self, call: ToolCall) -> bool:
        """Whether a call has the arguments it should have."""
        assert self.call is not None
        wanted, found = self.call.values, call.values
        texts = all(isinstance(found.get(name), str) and found[name] for name in self.free)
        return texts and {**found, **dict.fromkeys(self.free)} == {
            **wanted,
            **dict.fromkeys(self.free),
        }


@dataclass(frozen=True, slots=True)
class Decided:
    """A request, and by how much the model would rather call (natural log of the odds)."""

    asked: Asked
    score: float

    def right(self, offset: float) -> bool:
        """Whether the decision is right with an offset."""
        return (self.score + offset > 0) == (self.asked.call is not None)


def read_requests() -> list[Asked]:
    """Read the requests."""
    data = tomllib.loads(REQUESTS.read_text("utf-8"))
    tools = {name: Tool.of(**json.loads(text)) for name, text in data["tools"].items()}
    return [asked_of(entry, tools) for entry in data["requests"]]


def asked_of(entry: dict[str, Any], tools: dict[str, Tool]) -> Asked:
    """Make one of a file's entry."""
    messages = [Message("user", entry["text"])]
    if called := entry.get("called"):
        call = ToolCall(called["name"], called["arguments"], "call")
        messages += [
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", called["result"], tool_call_id=call.id),
        ]
    wanted = entry.get("call")
    return Asked(
        tuple(messages),
        ToolUse(tuple(tools[name] for name in entry["tools"])),
        ToolCall(wanted["name"], wanted["arguments"]) if wanted else None,
        tuple(entry.get("free", ())),
    )


def decide(chat: UrialChat, requests: Sequence[Asked], batch: int) -> list[Decided]:
    """Have the model weigh a call against an answer."""
    decided = list[Decided]()
    leanings = dict[str, float]()
    for start in range(0, len(requests), batch):
        part = requests[start : start + batch]
        pages = [chat.request(asked.messages, GREEDY, tools=asked.use) for asked in part]
        neutral = {
            text: replace(page, prompt=text)
            for page in pages
            for text in page.content_free_prompts
            if text not in leanings
        }
        leanings |= zip(neutral, weigh(chat, list(neutral.values())), strict=True)
        for asked, page, score in zip(part, pages, weigh(chat, pages), strict=True):
            own = [leanings[text] for text in page.content_free_prompts] or [0.0]
            decided.append(Decided(asked, score - sum(own) / len(own)))
    return decided


def weigh(chat: UrialChat, pages: Sequence[CompletionRequest]) -> list[float]:
    """By how much the model would rather call than answer on each page."""
    weighed = list[float]()
    for page, done in zip(pages, chat.model.complete(pages), strict=True):
        assert isinstance(page.constraint, Choice)
        answer, call = page.constraint.options
        scores = dict(done.logprobs[-1].top)
        weighed.append(scores[call] - scores[answer])
    return weighed


def share(right: Sequence[bool]) -> str:
    """How many are right."""
    return f"{sum(right)} of {len(right)}"


def best_offset(decided: Sequence[Decided]) -> float:
    """The offset that makes most decisions right, in the middle of where it does."""
    scores = sorted(one.score for one in decided)
    between = [(low + high) / 2 for low, high in pairwise(scores)]
    offsets = [-place for place in (scores[0] - 1, *between, scores[-1] + 1)]
    rights = [sum(one.right(offset) for one in decided) for offset in offsets]
    best = [offset for offset, right in zip(offsets, rights, strict=True) if right == max(rights)]
    return best[len(best) // 2]


def ranked_right(decided: Sequence[Decided]) -> float:
    """The share of pairs, one to call and one to answer, that the scores put in order."""
    call = [one.score for one in decided if one.asked.call]
    answer = [one.score for one in decided if not one.asked.call]
    return sum(high > low for high in call for low in answer) / (len(call) * len(answer))


def own_prompt(arguments: argparse.Namespace) -> Prompt:
    """The prompt asked for."""
    prompt = load_prompt(arguments.prompt)
    lesson = prompt.tool_examples
    if arguments.order:
        places = [int(number) - 1 for number in arguments.order.split(",")]
        lesson = replace(lesson, examples=tuple(lesson.examples[place] for place in places))
    if arguments.uncalibrated:
        lesson = replace(lesson, neutral=())
    if arguments.without_instruction:
        lesson = replace(lesson, instruction="")
    prompt = replace(prompt, tool_examples=lesson)
    return replace(prompt, examples=()) if arguments.without_style else prompt


def measure_calls(chat: UrialChat, requests: Sequence[Asked], *, show: bool) -> tuple[str, str]:
    """Have the calls written that should be; return how many have the right tool and arguments."""
    tools, arguments = list[bool](), list[bool]()
    for asked in requests:
        use = replace(asked.use, choice="required", parallel=False)
        reply = chat.reply([chat.request(asked.messages, GREEDY, tools=use)])[0]
        call, wanted = next(iter(reply.tool_calls), None), asked.call
        assert wanted is not None
        if len(asked.use.tools) > 1:
            tools.append(call is not None and call.name == wanted.name)
        if call is not None and call.name == wanted.name:
            arguments.append(asked.arguments_fit(call))
        if show:
            print(f"{asked.messages[0].text} -> {call.line if call else reply.end}")
    return share(tools), share(arguments)


def main() -> None:
    """Run the measurement asked for."""
    parser = argparse.ArgumentParser(description="Measure tool decisions and calls.")
    parser.add_argument("--model", help="a folder or a hub id; without it, the demo model")
    parser.add_argument("--engine", choices=BACKENDS[1:], default="transformers")
    parser.add_argument("--prompt", default="default", help="a preset or a prompt file")
    parser.add_argument("--order", help="the lesson's examples to show, by number, as in 3,1,2")
    parser.add_argument("--without-style", action="store_true", help="leave the examples out")
    parser.add_argument("--without-instruction", action="store_true", help="leave it out")
    parser.add_argument("--uncalibrated", action="store_true", help="ask no neutral queries")
    parser.add_argument("--calls", action="store_true", help="have the calls written too")
    parser.add_argument("--tuning-only", action="store_true", help="leave the other half alone")
    parser.add_argument("--batch", type=int, default=8, help="pages weighed at once")
    parser.add_argument("--show", action="store_true", help="print each request's score and call")
    arguments = parser.parse_args()

    options = {"dtype": "float32", "max_batch_size": arguments.batch}
    model = model_in_process(
        arguments.model or str(demo_model_file()),
        {"backend": arguments.engine, **(options if arguments.engine == "transformers" else {})},
    )
    prompt = own_prompt(arguments)
    chat = UrialChat(model, prompt)
    requests = read_requests()
    first = [asked for asked in requests if not asked.after_result]
    halves = {"tuning": first[0::2], "report": first[1::2]}
    decided = {
        name: decide(chat, half, arguments.batch)
        for name, half in halves.items()
        if name == "tuning" or not arguments.tuning_only
    }
    best = best_offset(decided["tuning"])
    print(f"Tokens: {model.count_tokens(prompt.prefix)} without, ", end="")
    print(f"{model.count_tokens(prompt.prefix_with_tools)} with the tool lesson. ", end="")
    offset = prompt.tool_examples.call_offset
    print(f"Offset: {offset}; best for the tuning half: {best:.2f}\n")
    for name, half in decided.items():
        if arguments.show:
            for one in half:
                mark = "call" if one.asked.call else "answer"
                print(f"{one.score:+.2f} {mark:6} {one.asked.messages[0].text}")
        right = share([one.right(offset) for one in half])
        print(f"{name}: decisions right {right}, pairs in order {ranked_right(half):.3f}")
        if arguments.calls:
            to_call = [one.asked for one in half if one.asked.call]
            tools, texts = measure_calls(chat, to_call, show=arguments.show)
            print(f"{name}: right tool of several {tools}, then right arguments {texts}")
    if not arguments.tuning_only:
        after = decide(chat, [asked for asked in requests if asked.after_result], arguments.batch)
        print(f"after a result, answered: {share([one.right(offset) for one in after])}")


if __name__ == "__main__":
    main()
