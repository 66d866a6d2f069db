"""Tools and forms of answers in the OpenAI API's words, which both frameworks speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from urial_core.errors import ParameterError
from urial_core.structured.constraints import JsonSchema
from urial_core.tools import Tool, ToolUse

__all__ = ["parse_response_format", "parse_tools"]


def parse_tools(
    tools: Sequence[Mapping[str, Any]] | None,
    choice: str | Mapping[str, Any] | None = None,
    *,
    parallel: bool | None = None,
) -> ToolUse | None:
    """Read a request's ``tools``, ``tool_choice`` and ``parallel_tool_calls``.

    Args:
        tools: The tools.
        choice: "auto", "none", "required", a tool's name, or a dictionary that names one. None is
            "auto".
        parallel: Whether one reply may hold several calls. None is yes.

    Returns:
        The tools and their use; None if there are none.

    Raises:
        ParameterError: A tool is no function, two have one name, or there is none of that name.
    """
    known = tuple(map(_tool, tools or ()))
    if not known:
        return None
    wanted = choice if isinstance(choice, str) else _named(choice)
    together = parallel is not False
    match wanted:
        case None | "auto":
            return ToolUse(known, parallel=together)
        case "required" | "none":
            return ToolUse(known, wanted, parallel=together)
    return ToolUse(known, "required", wanted, together)


def parse_response_format(response_format: Mapping[str, Any] | None) -> JsonSchema | None:
    """Read a request's ``response_format``: None for free text.

    Raises:
        ParameterError: It is of another type than "text", "json_object" and "json_schema".
    """
    match response_format:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return JsonSchema.of({"type": "object"})
        case {"type": "json_schema", "json_schema": {"schema": Mapping() as schema}}:
            return JsonSchema.of(schema)
    raise ParameterError(
        f"response_format is {response_format!r}: use {{'type': 'json_schema', 'json_schema': "
        "{'schema': ...}} or {'type': 'json_object'}."
    )


def _tool(tool: Mapping[str, Any]) -> Tool:
    function = tool.get("function")
    if not isinstance(function, Mapping) or not function.get("name"):
        raise ParameterError(
            f"The tool {tool!r} is no function: give {{'type': 'function', 'function': {{'name': "
            "..., 'description': ..., 'parameters': ...}}}."
        )
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool.of(str(function["name"]), function.get("description") or "", parameters)


def _named(choice: Mapping[str, Any] | None) -> str | None:
    """The tool that a dictionary names, or its mode."""
    if choice is None:
        return None
    name = choice.get("function", choice).get("name") or choice.get("type")
    return None if name is None else str(name)
