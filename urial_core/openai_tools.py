"""Parse tools, tool calls and response formats as the OpenAI API writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_origin

from pydantic.errors import PydanticUserError

from urial_core.errors import ParameterError, shown
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.pydantic_schema import schema_of_type
from urial_core.tool_choice import chosen_name, openai_choice, parallel_calls
from urial_core.tools import Tool, ToolCall, ToolUse

__all__ = ["parse_call", "parse_response_format", "parse_tools"]


def parse_tools(
    tools: Sequence[Mapping[str, Any]] | None,
    choice: str | Mapping[str, Any] | None = None,
    *,
    parallel: bool | None = None,
    allowed: Sequence[str | Mapping[str, Any]] | None = None,
) -> ToolUse | None:
    """Parse a request's ``tools``, ``tool_choice`` and ``parallel_tool_calls``.

    Args:
        tools: The tools.
        choice: "auto" (default), "none", "required", a tool's name, or a dictionary that names one
            or lists those that may be called ("allowed_tools"). Other providers' words are known.
        parallel: Whether one reply may hold several calls. Default: yes, unless the choice forbids
            it.
        allowed: The tools that may be called, by name or in a dictionary. Default: all.

    Returns:
        The tools and how to use them; None without tools.

    Raises:
        ParameterError: An argument has another form, a tool is not a function, two have the same
            name, or none has a name that was chosen or allowed.
    """
    known = () if tools is None else tuple(map(_tool, _listed("tools", tools)))
    together = parallel_calls(choice, parallel=parallel) is not False
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        limits = choice.get("allowed_tools") or choice  # of chat completions, or of responses
        if not isinstance(limits, Mapping) or limits.get("tools") is None:
            raise ParameterError(
                f"tool_choice is {shown(choice)}: use {{'type': 'allowed_tools', 'mode': 'auto', "
                "'tools': [...]}."
            )
        allowed, choice = limits["tools"], limits.get("mode")
    if allowed is not None:
        known = _allowed(known, list(map(_name, _listed("allowed_tools", allowed))))
    if not known:
        return None
    wanted = openai_choice(choice, [tool.name for tool in known])
    if isinstance(wanted, dict):
        return ToolUse(known, "required", wanted["function"]["name"], together)
    return ToolUse(known, wanted or "auto", parallel=together)


def parse_response_format(response_format: Any) -> JsonSchema | None:
    """Parse a request's ``response_format``; None stands for free text.

    Args:
        response_format: The OpenAI API's mapping, or a pydantic class or other type.

    Raises:
        ParameterError: It is neither, or its type none of "text", "json_object" and "json_schema".
    """
    match response_format:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return JsonSchema.of({"type": "object"})
        case {"type": "json_schema", "json_schema": {"schema": Mapping() as schema}}:
            return JsonSchema.of(schema)
    if isinstance(response_format, type) or get_origin(response_format) is not None:
        try:
            return JsonSchema.of(schema_of_type(response_format))
        except PydanticUserError as error:
            raise ParameterError(f"response_format has no JSON schema: {error}") from error
    raise ParameterError(
        f"response_format is {shown(response_format)}: use {{'type': 'json_schema', 'json_schema': "
        "{'schema': ...}}, {'type': 'json_object'} or a pydantic class."
    )


def parse_call(name: str | None, arguments: object, call_id: str) -> ToolCall:
    """Make a call from what a conversation holds of one.

    Args:
        name: The tool's name.
        arguments: Its arguments, as a mapping or as JSON text. Anything else than a JSON object
            becomes an empty one: the call's result reports what was invalid.
        call_id: The call's id.
    """
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = {}
    values = arguments if isinstance(arguments, Mapping) else {}
    return ToolCall.of(name or "unknown", values, call_id)


def _listed(name: str, given: object) -> list[Any]:
    """Return an argument that is a list of tools."""
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        raise ParameterError(f"{name} is {shown(given)}: pass a list of tools.")
    return list(given)


def _tool(tool: Any) -> Tool:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    parameters = function.get("parameters") if isinstance(function, Mapping) else None
    if (
        not isinstance(function, Mapping)
        or not function.get("name")
        or (parameters is not None and not isinstance(parameters, Mapping))
    ):
        raise ParameterError(
            f"The tool {shown(tool)} is not a function: pass {{'type': 'function', 'function': "
            "{'name': ..., 'description': ..., 'parameters': ...}}."
        )
    parameters = parameters or {"type": "object", "properties": {}}
    return Tool.of(str(function["name"]), str(function.get("description") or ""), parameters)


def _allowed(tools: Sequence[Tool], names: Sequence[str]) -> tuple[Tool, ...]:
    """Return the tools with certain names."""
    known = [tool.name for tool in tools]
    if unknown := [name for name in names if name not in known]:
        raise ParameterError(
            f"{', '.join(unknown)} may be called, but the tools are {', '.join(known) or 'none'}."
        )
    return tuple(tool for tool in tools if tool.name in names)


def _name(tool: Any) -> str:
    """Return the name of a tool that may be called."""
    name = chosen_name(tool)
    if name is None:
        raise ParameterError(
            f"allowed_tools holds {shown(tool)}: pass tools' names, or {{'type': 'function', "
            "'function': {'name': ...}}."
        )
    return name
