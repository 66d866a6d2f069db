"""Tool choice: which tool a reply is to call, in the words of any provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from urial_core.errors import ParameterError, shown

__all__ = ["chosen_name", "openai_choice", "parallel_calls"]

_Mode = Literal["auto", "none", "required"]
_MODES: dict[str, _Mode] = {
    "auto": "auto",
    "none": "none",
    "any": "required",
    "required": "required",
}


def openai_choice(choice: Any, names: Sequence[str]) -> _Mode | dict[str, Any] | None:
    """Write a choice as the OpenAI API does.

    Args:
        choice: "auto", "none", "any", "required", a tool's name, one of these as a dict of
            OpenAI's, Anthropic's or Bedrock's, True for "any"; None and False for unset.
        names: The names of the tools to choose from.

    Raises:
        ParameterError: The choice is unknown, or names an unknown tool.
    """
    if choice in (None, False, ""):
        return None
    name = chosen_name(choice)
    if name in names:
        return {"type": "function", "function": {"name": name}}
    mode = _MODES.get(_chosen_mode(choice) or "")
    if mode is None:
        raise ParameterError(
            f"tool_choice is {shown(choice)}, but the tools are {', '.join(names) or 'none'}: name "
            f"one of them, use one of {', '.join(_MODES)}, or allow several by allowed_tools=[...]."
        )
    if mode == "required" and not names:
        raise ParameterError(f"tool_choice is {shown(choice)}, but there are no tools to call.")
    return mode


def chosen_name(choice: Any) -> str | None:
    """Return what may be the name of a tool in a choice; None without any."""
    match choice:
        case str():
            return choice
        case {"function": {"name": str(name)}} | {"tool": {"name": str(name)}}:
            return name
        case {"name": str(name)}:
            return name
    return None


def parallel_calls(choice: Any, *, parallel: bool | None) -> bool | None:
    """Return whether one reply may hold several calls; None if unset.

    Args:
        choice: The choice, as a dict of Anthropic's perhaps, which may forbid it.
        parallel: What was set beside it, which takes precedence.
    """
    forbids = isinstance(choice, Mapping) and choice.get("disable_parallel_tool_use")
    return False if parallel is None and forbids else parallel


def _chosen_mode(choice: Any) -> str | None:
    """Return what may be the mode in a choice; None without any."""
    if choice is True:
        return "any"
    if isinstance(choice, Mapping):
        if chosen_name(choice) is not None:
            return None
        choice = choice.get("type") or next(iter(choice), None)  # Bedrock's only key is the mode
    return choice if isinstance(choice, str) else None
