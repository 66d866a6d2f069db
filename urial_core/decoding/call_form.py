"""The form of a tool call: what a model is held to, and whether what it wrote can be made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_schema import fitted, forbid_additional_properties
from urial_core.tools import InvalidToolCall, Tool, ToolCall

__all__ = ["call_of", "call_schema"]

_DEFINITIONS = ("$defs", "definitions")


@lru_cache(maxsize=256)
def call_schema(tools: tuple[Tool, ...]) -> JsonSchema:
    """The form of a call of one of the tools."""
    forms, definitions = list[dict[str, Any]](), dict[str, Any]()
    for number, tool in enumerate(tools):
        arguments = _with_own_definitions(forbid_additional_properties(tool.schema), number)
        definitions |= arguments.pop("$defs", {})
        properties = {"name": {"const": tool.name}, "arguments": arguments}
        forms.append(
            {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            }
        )
    form = forms[0] if len(forms) == 1 else {"anyOf": forms}
    return JsonSchema.of({**form, "$defs": definitions} if definitions else form)


def call_of(text: str, tools: Sequence[Tool], call_id: str) -> ToolCall | InvalidToolCall:
    """Make a call of what a model wrote, if it can be made."""
    try:
        written = json.loads(text, strict=False)
    except ValueError as error:
        return InvalidToolCall(text, f"This is not JSON: {error}.", id=call_id)
    if not isinstance(written, dict) or "name" not in written:
        return InvalidToolCall(text, 'A call is {"name": ..., "arguments": {...}}.', id=call_id)
    name, arguments = written["name"], written.get("arguments", {})
    known = {tool.name: tool for tool in tools}
    if name not in known:
        problem = f"There is no tool {name!r}: the tools are {', '.join(known)}."
        return InvalidToolCall(text, problem, str(name), call_id)
    if isinstance(arguments, str):
        arguments = _loaded(arguments)
    if not isinstance(arguments, dict):
        return InvalidToolCall(text, "The arguments must be a JSON object.", name, call_id)
    arguments, wrong = fitted(arguments, known[name].parameters)
    if wrong:
        shown = json.dumps(arguments, ensure_ascii=False)
        return InvalidToolCall(shown, f"The arguments are wrong: {wrong}.", name, call_id)
    return ToolCall.of(name, arguments, call_id)


def _with_own_definitions(schema: dict[str, Any], number: int) -> dict[str, Any]:
    """A schema whose definitions have names that no other tool's have."""
    own = {
        f"#/{key}/{name}": f"{number}.{name}"
        for key in _DEFINITIONS
        for name in schema.get(key, ())
    }

    def renamed(part: Any) -> Any:
        if isinstance(part, list):
            return [renamed(item) for item in part]
        if not isinstance(part, dict):
            return part
        return {
            key: f"#/$defs/{own[value]}" if key == "$ref" and value in own else renamed(value)
            for key, value in part.items()
        }

    defined = {
        f"{number}.{name}": renamed(definition)
        for key in _DEFINITIONS
        for name, definition in schema.get(key, {}).items()
    }
    rest = {key: renamed(value) for key, value in schema.items() if key not in _DEFINITIONS}
    return {**rest, "$defs": defined} if defined else rest


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
