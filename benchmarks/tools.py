"""Measure how well a base model decides between a tool call and an answer, and how well it calls.

    python benchmarks/tools.py                        # the decision
    python benchmarks/tools.py --calls                # and the calls
    python benchmarks/tools.py --order 5,4,3,2,1      # the tool examples in another order
    python benchmarks/tools.py --without-style --without-instruction

The requests are in ``tool_requests.toml``: every second one is for tuning, the others for the
report. ``docs/tools.md`` has the results.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from urial_core import (
    Choice,
    GenerationParameters,
    Message,
    Prompt,
    ReplyRequest,
    Tool,
    ToolCall,
    ToolUse,
    UrialChat,
    load_prompt,
)
from urial_core.backends.in_process import BACKENDS, model_in_process
from urial_core.demo import demo_model_file
from urial_core.prompts.loading import preset_or_file

REQUESTS = Path(__file__).with_name("tool_requests.toml")
GREEDY = GenerationParameters(max_tokens=100, temperature=0.0)


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and the call that it should lead to, if any."""

    messages: tuple[Message, ...]
    use: ToolUse
    call: ToolCall | None
    free: tuple[str, ...]

    @property
    def after_result(self) -> bool:
        """Whether the conversation ends with a tool's result."""
        return self.messages[-1].role == "tool"

    def arguments_fit(self, call: ToolCall) -> bool:
        """Return whether a call has the expected arguments."""
        assert self.call is not None
        wanted, found = self.call.values, call.values
        texts = all(isinstance(found.get(name), str) and found[name] for name in self.free)
        return texts and {**found, **dict.fromkeys(self.free)} == {
            **wanted,
            **dict.fromkeys(self.free),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """A request, and the log-odds of a call against an answer (natural logarithm)."""

    case: Case
    score: float

    def correct(self, offset: float = 0.0) -> bool:
        """Return whether the decision is correct if the offset is added to the score."""
        return (self.score + offset > 0) == (self.case.call is not None)


def read_cases() -> list[Case]:
    """Read the requests from ``tool_requests.toml``."""
    data = tomllib.loads(REQUESTS.read_text("utf-8"))
    tools = {name: Tool.of(**json.loads(text)) for name, text in data["tools"].items()}
    return [case_of(entry, tools) for entry in data["requests"]]


def case_of(entry: dict[str, Any], tools: dict[str, Tool]) -> Case:
    """Make a case from an entry of the file."""
    messages = [Message("user", entry["text"])]
    if called := entry.get("called"):
        call = ToolCall(called["name"], called["arguments"], "call")
        messages += [
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", called["result"], tool_call_id=call.id),
        ]
    wanted = entry.get("call")
    return Case(
        tuple(messages),
        ToolUse(tuple(tools[name] for name in entry["tools"])),
        ToolCall(wanted["name"], wanted["arguments"]) if wanted else None,
        tuple(entry.get("free", ())),
    )


def decide(chat: UrialChat, cases: Sequence[Case], batch: int) -> list[Decision]:
    """Score a call against an answer for each case, calibrated as in use."""
    decisions = list[Decision]()
    biases = {"": 0.0}
    for start in range(0, len(cases), batch):
        part = cases[start : start + batch]
        requests = [chat.request(case.messages, GREEDY, tools=case.use) for case in part]
        content_free = {
            request.content_free_prompt: replace(request, prompt=request.content_free_prompt)
            for request in requests
            if request.content_free_prompt not in biases
        }
        biases |= zip(content_free, log_odds(chat, list(content_free.values())), strict=True)
        for case, request, score in zip(part, requests, log_odds(chat, requests), strict=True):
            decisions.append(Decision(case, score - biases[request.content_free_prompt]))
    return decisions


def log_odds(chat: UrialChat, requests: Sequence[ReplyRequest]) -> list[float]:
    """Return, for each request, the log-odds of a call against an answer."""
    odds = list[float]()
    for request, completion in zip(requests, chat.model.complete(requests), strict=True):
        assert isinstance(request.constraint, Choice)
        answer, call = request.constraint.options
        scores = dict(completion.logprobs[-1].top)
        odds.append(scores[call] - scores[answer])
    return odds


def share(correct: Sequence[bool]) -> str:
    """Return how many are correct, as text."""
    return f"{sum(correct)} of {len(correct)}"


def best_offset(decisions: Sequence[Decision]) -> float:
    """Return the offset with the most correct decisions, in the middle of its range."""
    scores = sorted(decision.score for decision in decisions)
    between = [(low + high) / 2 for low, high in pairwise(scores)]
    offsets = [-place for place in (scores[0] - 1, *between, scores[-1] + 1)]
    counts = [sum(decision.correct(offset) for decision in decisions) for offset in offsets]
    best = [offset for offset, count in zip(offsets, counts, strict=True) if count == max(counts)]
    return best[len(best) // 2]


def ranking_accuracy(decisions: Sequence[Decision]) -> float:
    """Return the share of pairs, one to call and one to answer, ranked correctly by the scores."""
    call = [decision.score for decision in decisions if decision.case.call]
    answer = [decision.score for decision in decisions if not decision.case.call]
    return sum(high > low for high in call for low in answer) / (len(call) * len(answer))


def prompt_of(arguments: argparse.Namespace) -> Prompt:
    """Return the prompt with the variations of the command line."""
    prompt = load_prompt(preset_or_file(arguments.prompt))
    tool_examples = prompt.tool_examples
    if arguments.order:
        places = [int(number) - 1 for number in arguments.order.split(",")]
        examples = tuple(tool_examples.examples[place] for place in places)
        tool_examples = replace(tool_examples, examples=examples)
    if arguments.uncalibrated:
        tool_examples = replace(tool_examples, content_free_query="")
    if arguments.without_instruction:
        tool_examples = replace(tool_examples, instruction="")
    prompt = replace(prompt, tool_examples=tool_examples)
    return replace(prompt, examples=()) if arguments.without_style else prompt


def measure_calls(chat: UrialChat, cases: Sequence[Case], *, show: bool) -> tuple[str, str]:
    """Generate the expected calls; return how many have the correct tool and arguments."""
    tools, arguments = list[bool](), list[bool]()
    for case in cases:
        use = replace(case.use, choice="required", parallel=False)
        reply = chat.reply([chat.request(case.messages, GREEDY, tools=use)])[0]
        call, expected = next(iter(reply.tool_calls), None), case.call
        assert expected is not None
        if len(case.use.tools) > 1:
            tools.append(call is not None and call.name == expected.name)
        if call is not None and call.name == expected.name:
            arguments.append(case.arguments_fit(call))
        if show:
            print(f"{case.messages[0].text} -> {call.line if call else reply.end}")
    return share(tools), share(arguments)


def main() -> None:
    """Run the measurement that the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure tool decisions and calls.")
    parser.add_argument("--model", help="a folder or a hub id; default: the demo model")
    parser.add_argument("--backend", choices=BACKENDS[1:], default="transformers")
    parser.add_argument("--prompt", default="default", help="a preset or a prompt file")
    parser.add_argument("--order", help="the tool examples to show, by number, such as 3,1,2")
    parser.add_argument("--without-style", action="store_true", help="leave out the style examples")
    parser.add_argument(
        "--without-instruction", action="store_true", help="leave out the tools' instruction"
    )
    parser.add_argument("--uncalibrated", action="store_true", help="use no content-free query")
    parser.add_argument("--calls", action="store_true", help="also generate the calls")
    parser.add_argument("--tuning-only", action="store_true", help="leave out the report half")
    parser.add_argument("--batch", type=int, default=8, help="requests scored at once")
    parser.add_argument("--show", action="store_true", help="print each request's score and call")
    arguments = parser.parse_args()

    options = {"dtype": "float32", "max_batch_size": arguments.batch}
    model = model_in_process(
        arguments.model or str(demo_model_file()),
        {"backend": arguments.backend, **(options if arguments.backend == "transformers" else {})},
    )
    prompt = prompt_of(arguments)
    chat = UrialChat(model, prompt)
    cases = read_cases()
    first = [case for case in cases if not case.after_result]
    halves = {"tuning": first[0::2], "report": first[1::2]}
    decisions = {
        name: decide(chat, half, arguments.batch)
        for name, half in halves.items()
        if name == "tuning" or not arguments.tuning_only
    }
    print(f"Tokens: {model.count_tokens(prompt.prefix)} without, ", end="")
    print(f"{model.count_tokens(prompt.prefix_with_tools)} with the tool examples. ", end="")
    best = best_offset(decisions["tuning"])
    print(f"Best offset for the tuning half: {best:.2f}\n")
    for name, half in decisions.items():
        if arguments.show:
            for decision in half:
                expected = "call" if decision.case.call else "answer"
                print(f"{decision.score:+.2f} {expected:6} {decision.case.messages[0].text}")
        correct = share([decision.correct() for decision in half])
        with_best = share([decision.correct(best) for decision in half])
        print(
            f"{name}: decisions correct {correct}, with the best offset {with_best}, "
            f"pairs ranked correctly {ranking_accuracy(half):.3f}"
        )
        if arguments.calls:
            to_call = [decision.case for decision in half if decision.case.call]
            tools, texts = measure_calls(chat, to_call, show=arguments.show)
            print(f"{name}: correct tool of several {tools}, then correct arguments {texts}")
    if not arguments.tuning_only:
        after = decide(chat, [case for case in cases if case.after_result], arguments.batch)
        print(f"after a result, answered: {share([decision.correct() for decision in after])}")


if __name__ == "__main__":
    main()
