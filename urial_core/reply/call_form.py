"""The form of a tool call: what a model is held to, and whether what it wrote can be made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from urial_core.constraint import JsonSchema
from urial_core.schema import fitted
from urial_core.tools import InvalidToolCall, Tool, ToolCall

__all__ = ["call_of", "call_schema", "name_schema"]

_DEFINITIONS = ("$defs", "definitions")


def name_schema(tools: Sequence[Tool]) -> JsonSchema:
    """The form of an object that only names one of the tools."""
    return _object({"name": {"enum": [tool.name for tool in tools]}})


def call_schema(tool: Tool) -> JsonSchema:
    """The form of a call of one tool."""
    arguments = tool.schema
    moved = {key: arguments.pop(key) for key in _DEFINITIONS if key in arguments}
    return _object({"name": {"const": tool.name}, "arguments": arguments}, moved)


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


def _object(properties: dict[str, Any], definitions: dict[str, Any] | None = None) -> JsonSchema:
    return JsonSchema.of(
        {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
            **(definitions or {}),
        }
    )


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
