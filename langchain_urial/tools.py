"""Tools: what LangChain binds under ``tools`` and ``tool_choice``, and the core's value for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from urial_core.errors import ParameterError
from urial_core.tools import Tool, ToolUse

__all__ = ["ToolChoice", "ToolLike", "openai_choice", "openai_tools", "tool_use"]

ToolLike = Mapping[str, Any] | type | Callable[..., Any] | BaseTool
"""What LangChain takes for a tool: see ``convert_to_openai_tool``."""

ToolChoice = str | bool | Mapping[str, Any]
"""Which tool is to be called, in the words of any of LangChain's integrations."""

_MODES = {"auto": "auto", "none": "none", "any": "required", "required": "required"}


def openai_tools(tools: Sequence[ToolLike], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Write tools as the OpenAI API does.

    Args:
        tools: The tools.
        strict: Whether their schemas are to forbid what they do not name. None leaves them.

    Raises:
        ParameterError: One is no function, or is run by some provider's servers.
    """
    return [_openai_tool(tool, strict=strict) for tool in tools]


def openai_choice(
    choice: ToolChoice | None, tools: Sequence[Mapping[str, Any]]
) -> str | dict[str, Any] | None:
    """Write a choice as the OpenAI API does.

    Args:
        choice: "auto", "none", "any", "required", a tool's name, one of these as a dict of OpenAI's
            or Anthropic's, True for "any"; None and False say nothing.
        tools: The tools to choose from, in the OpenAI API's form.

    Raises:
        ParameterError: It is none of these, or there is no such tool.
    """
    names = [tool["function"]["name"] for tool in tools]
    wanted = _wanted(choice)
    if wanted is None:
        return None
    if wanted in names:
        return {"type": "function", "function": {"name": wanted}}
    if wanted not in _MODES or (isinstance(choice, Mapping) and _named(choice)):
        raise ParameterError(
            f"tool_choice is {choice!r}, but the tools are {', '.join(names) or 'none'}: name one "
            f"of them, or use one of {', '.join(_MODES)}."
        )
    if _MODES[wanted] == "required" and not names:
        raise ParameterError(f"tool_choice is {choice!r}, but there are no tools to call.")
    return _MODES[wanted]


def tool_use(
    tools: Sequence[ToolLike] | None,
    choice: ToolChoice | None = None,
    *,
    parallel: bool | None = None,
) -> ToolUse | None:
    """Make the core's value of what one call was given.

    Args:
        tools: The tools.
        choice: See ``openai_choice``.
        parallel: Whether one reply may hold several calls. None is yes.

    Returns:
        The tools and their use; None if there are none.

    Raises:
        ParameterError: As from ``openai_tools`` and ``openai_choice``, or two that differ have one
            name.
    """
    written = openai_tools(tools or ())
    chosen = openai_choice(choice, written)
    if not written:
        return None
    known = tuple(dict.fromkeys(_core_tool(tool["function"]) for tool in written))
    together = parallel is not False
    match chosen:
        case {"function": {"name": str(name)}}:
            return ToolUse(known, "required", name, together)
        case "required" | "none":
            return ToolUse(known, chosen, None, together)
    return ToolUse(known, parallel=together)


def _openai_tool(tool: ToolLike, *, strict: bool | None) -> dict[str, Any]:
    try:
        written = convert_to_openai_tool(tool, strict=strict)
    except (ValueError, TypeError) as error:
        raise ParameterError(f"{tool!r} cannot be bound as a tool: {error}") from error
    if "function" not in written:
        raise ParameterError(
            f"The tool {written.get('name') or written.get('type')!r} is run by its provider's "
            "servers, which a base model does not have: bind a function instead."
        )
    return written


def _core_tool(function: Mapping[str, Any]) -> Tool:
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool.of(function["name"], function.get("description") or "", parameters)


def _wanted(choice: ToolChoice | None) -> str | None:
    """The mode or the tool's name that a choice speaks of."""
    if isinstance(choice, Mapping):
        return _named(choice) or str(choice.get("type"))
    if isinstance(choice, bool):
        return "any" if choice else None
    return choice or None


def _named(choice: Mapping[str, Any]) -> str | None:
    """The tool that a dict names: OpenAI's form, or Anthropic's."""
    name = choice.get("function", choice).get("name")
    return None if name is None else str(name)
