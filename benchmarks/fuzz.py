"""Feed random input to every place that takes input from outside: only typed errors may come back.

The inputs are schemas, servers' answers, prompt files, tools with their calls, and texts of models.
Each is a valid one with random changes, or nonsense. Whatever raises anything but a ``UrialError``,
or takes more than ten seconds of CPU time, is printed with the number that makes it again.

    python benchmarks/fuzz.py [--inputs 200000] [--first 0] [--kind KIND]

Print the inputs, errors and slowest input of each kind; exit with 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

from urial_core import (
    GenerationParameters,
    Message,
    Prompt,
    PromptFormat,
    UrialChat,
    UrialError,
    compose,
    load_prompt,
)
from urial_core.backends.completions_server import completion_of, reply_of
from urial_core.backends.completions_server.exchanges import discover
from urial_core.backends.completions_server.response import StreamReader
from urial_core.openai_tools import parse_call, parse_response_format, parse_tools
from urial_core.prompts.loading import parse_original, parse_toml, preset_names
from urial_core.structured.json_validation import check_schema, validate_json
from urial_core.testing import FakeModel

LIMIT = 10.0
"""Seconds of CPU time that an input may take."""
PROMPT = Prompt(name="fuzz", instruction="Answer.")
FORMATS = (PromptFormat(), PromptFormat(fence="```"), PromptFormat(fence=""))
TEXTS = (
    *("", "a", "\n", "````", "```", "\n````\n", "# Query:", "\n# Answer:\n", '{"', '"}', "\\", "#"),
    *('{"name": "f", "arguments": ', '{"a": 1}', "[[", "]]", ", ", ": ", "null", "-", "9" * 50),
    *("1e999", "NaN", "\u2581", "é", "\ud800", "\x00", "\u2028", "😀", "(a+)+$", "a" * 40 + "!"),
)
KEYWORDS = (
    *("type", "properties", "required", "items", "prefixItems", "enum", "const", "pattern", "$ref"),
    *("$schema", "$defs", "$id", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "format"),
    *("minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems"),
    *("additionalProperties", "patternProperties", "propertyNames", "uniqueItems", "title"),
    *("dependentRequired", "contains", "unevaluatedProperties", "$anchor", "$dynamicRef"),
)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 5, 1.5, 10**400, float("inf"), float("nan"), "", "x", "object"),
    *([], {}, [[]], {"": ""}, "#", "#/$defs/a", "#/nowhere", "http://h/s", "^(a+)+$", "(?=a)b"),
    *("[", "\\p{L}", "integer", "array", "string", ["object", "null"], b"bytes", (1,), object()),
)
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/c"}},
    "required": ["a"],
    "$defs": {"c": {"type": "array", "items": {"type": "string", "pattern": "^(a+)+$"}}},
}
RESPONSE = {
    "object": "text_completion",
    "choices": [
        {
            "index": 0,
            "text": "Yes",
            "finish_reason": "stop",
            "logprobs": {"tokens": ["Yes"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1}]},
        }
    ],
    "usage": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}},
    "timings": {"cache_n": 1},
    "__verbose": {"stop_type": "word", "stopping_word": "x"},
    "data": [{"id": "base", "owned_by": "vllm", "aliases": ["b"], "max_model_len": 5}],
    "total_slots": 1,
    "default_generation_settings": {"n_ctx": 5},
    "tokens": [1],
}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}]
ALLOWED = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}
CHOICES: tuple[Any, ...] = (
    *(None, "auto", "required", "none", "f"),
    {"type": "allowed_tools", **ALLOWED},
    {"type": "allowed_tools", "allowed_tools": ALLOWED},
)


def text(rng: random.Random, pieces: int = 8) -> str:
    """Return a text of pieces that mean something somewhere."""
    return "".join(rng.choices(TEXTS, k=rng.randrange(pieces)))


def value(rng: random.Random, depth: int = 3) -> Any:
    """Return any value."""
    if depth == 0 or rng.random() < 0.5:
        return rng.choice((*ODD, text(rng)))
    if rng.random() < 0.3:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(KEYWORDS): value(rng, depth - 1) for _ in range(rng.randrange(5))}


def changed(rng: random.Random, whole: Any) -> Any:
    """Return a copy with some parts changed; now and then one that is nested very deeply."""
    if rng.random() < 0.01:
        for _ in range(rng.choice((70, 500, 5000))):
            whole = {"items": whole}
        return whole
    return _changed(rng, whole)


def _changed(rng: random.Random, part: Any) -> Any:
    if rng.random() < 0.06:
        return value(rng)
    if isinstance(part, dict):
        copy = {name: _changed(rng, child) for name, child in part.items() if rng.random() < 0.97}
        if rng.random() < 0.1:
            copy[rng.choice(KEYWORDS)] = value(rng)
        return copy
    return [_changed(rng, child) for child in part] if isinstance(part, list) else part


def written(rng: random.Random, whole: Any) -> str:
    """Return a value as JSON text, cut or with other text in it."""
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        json_text = json.dumps(whole, ensure_ascii=rng.random() < 0.5)
        at = rng.randrange(len(json_text) + 1)
        return rng.choice(
            (json_text, json_text[:at], json_text[:at] + text(rng, 3) + json_text[at:])
        )
    return "[" * rng.choice((5, 5000))


def schemas(rng: random.Random) -> None:
    """Enforce and validate against a schema."""
    schema = changed(rng, SCHEMA) if rng.random() < 0.7 else value(rng)
    parsed = parse_response_format({"type": "json_schema", "json_schema": {"schema": schema}})
    if parsed is None:
        return
    check_schema(parsed.text)
    parsed.with_additional_properties_forbidden()
    example = {"a": 1, "b": ["a" * 40 + "!"]}
    validate_json(written(rng, changed(rng, example)), parsed.text, repair=rng.random() < 0.5)


def answers(rng: random.Random) -> None:
    """Read a server's answer: about itself, whole, and as a stream."""
    request = compose(PROMPT, [Message("user", "Hi")], GenerationParameters(logprobs=2))
    exchange = discover("http://h/v1", rng.choice((None, "base")), None)
    with contextlib.suppress(StopIteration, UrialError):
        next(exchange)
        while True:
            exchange.send(changed(rng, RESPONSE))
    for read in (completion_of, reply_of):
        with contextlib.suppress(UrialError):
            read(changed(rng, RESPONSE), request)
    reader = StreamReader(request)
    for _ in range(3):
        reader.feed(changed(rng, RESPONSE))
    reader.close()


def prompt_files(rng: random.Random) -> None:
    """Parse a prompt file of either kind."""
    prompt = load_prompt(rng.choice(preset_names()[:2]))
    lines = [
        'version = 1\nname = "x"\ninstruction = "Do."',
        "[format]",
        f"fence = {json.dumps(rng.choice(TEXTS))}",
        "[[examples]]",
        f"query = {written(rng, text(rng))}",
        'answer = """a"""',
        "[tools]",
        f"{'a.' * rng.choice((1, 5, 5000))}b = {rng.choice(('1', '{', '[' * 3000, '9' * 5000))}",
        text(rng),
    ]
    rng.shuffle(lines)
    with contextlib.suppress(UrialError):
        parse_toml("\n".join(lines[: rng.randrange(10)]), "fuzz.toml")
    at = rng.randrange(len(prompt.prefix))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parse_original(prompt.prefix[:at] + text(rng) + prompt.prefix[at:], "fuzz")


def tools(rng: random.Random) -> None:
    """Offer tools, and put calls into the conversation."""
    choice = rng.choice((value(rng), *(changed(rng, one) for one in CHOICES)))
    use = parse_tools(changed(rng, TOOLS), choice)
    call = parse_call("f", rng.choice((value(rng), written(rng, value(rng)))), "1")
    messages = [
        Message("user", text(rng)),
        Message("assistant", text(rng), tool_calls=(call,)),
        Message("tool", text(rng), tool_call_id="1"),
    ]
    prompt = Prompt(name="fuzz", instruction="Answer.", format=rng.choice(FORMATS))
    chat = UrialChat(FakeModel([written(rng, {"name": "f", "arguments": {"a": 1}})]), prompt)
    chat.reply([chat.request(messages, GenerationParameters(max_tokens=50), tools=use)])


def outputs(rng: random.Random) -> None:
    """Decode what a model wrote: as text, as JSON, as calls."""
    prompt = Prompt(name="fuzz", instruction="Answer.", format=rng.choice(FORMATS))
    example = {"a": 1, "b": ["aa"]}
    pieces = [rng.choice((text(rng), written(rng, changed(rng, example)))) for _ in range(3)]
    chat = UrialChat(FakeModel(pieces, [text(rng)]), prompt)
    options = rng.choice(
        (
            {},
            {"tools": parse_tools(TOOLS, rng.choice(("auto", "required", "f")))},
            {
                "response_format": parse_response_format(
                    {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
                )
            },
        )
    )
    request = chat.request([Message("user", "Hi")], GenerationParameters(max_tokens=50), **options)
    for _ in chat.stream(request):
        pass


KINDS: dict[str, Callable[[random.Random], None]] = {
    "schemas": schemas,
    "answers": answers,
    "prompt files": prompt_files,
    "tools": tools,
    "outputs": outputs,
}


class SlowError(BaseException):
    """An input took too long."""


def _too_slow(*_: object) -> None:
    raise SlowError(f"took more than {LIMIT:.0f} seconds")


def fault_of(kind: str, number: int) -> tuple[str, str]:
    """Return how an input ended ("answered", "refused" or "FAULT"), and a fault's traceback."""
    rng = random.Random(f"{kind} {number}")  # noqa: S311 - no secret
    try:
        KINDS[kind](rng)
    except UrialError:
        return "refused", ""
    except (Exception, SlowError):  # noqa: BLE001 - what it looks for
        return "FAULT", traceback.format_exc(limit=-6)
    return "answered", ""


def main() -> None:
    """Run the inputs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS)
    options = parser.parse_args()
    signal.signal(signal.SIGPROF, _too_slow)
    kinds = [options.kind] if options.kind else list(KINDS)
    ends = {kind: Counter[str]() for kind in kinds}
    slowest = dict.fromkeys(kinds, 0.0)
    for number in range(options.first, options.first + options.inputs // len(kinds)):
        for kind in kinds:
            start = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, LIMIT)
            end, fault = fault_of(kind, number)
            signal.setitimer(signal.ITIMER_PROF, 0)
            ends[kind][end] += 1
            slowest[kind] = max(slowest[kind], time.process_time() - start)
            if fault:
                print(f"{kind} {number}:\n{fault}", flush=True)
    print("| kind | answered | refused by a typed error | faults | slowest, s |")
    print("|---|---|---|---|---|")
    for kind in kinds:
        counts = (ends[kind][end] for end in ("answered", "refused", "FAULT"))
        print(f"| {kind} | {' | '.join(map(str, counts))} | {slowest[kind]:.2f} |")
    sys.exit(any(counter["FAULT"] for counter in ends.values()))


if __name__ == "__main__":
    main()
