"""Tools: what a model may call, and its calls."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from urial_core.errors import ConversationError, ParameterError, shown
from urial_core.structured.json_schema import allows_objects, compact, schema_text
from urial_core.structured.json_text import encodable_json

__all__ = [
    "InvalidToolCall",
    "Tool",
    "ToolCall",
    "ToolUse",
    "call_start",
    "new_call_id",
    "quoted",
]


def new_call_id() -> str:
    """Return a fresh id for a call."""
    return f"call_{uuid.uuid4().hex}"


def quoted(text: str) -> str:
    """Return a text as a JSON string, Unicode unescaped."""
    return json.dumps(text, ensure_ascii=False)


def call_start(name: str | None = None) -> str:
    """Return a call's beginning in a prompt, up to the tool's name or to the arguments."""
    if name is None:
        return '{"name": '
    return f'{{"name": {quoted(name)}, "arguments": '


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask the application to call.

    Attributes:
        name: Its name.
        description: What it does, for the model.
        parameters: The JSON schema of its arguments, an object's, as JSON text.
    """

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'

    def __post_init__(self) -> None:
        if not self.name or len(self.name.splitlines()) != 1:
            raise ParameterError(f"A tool's name must be one line of text, not {self.name!r}.")

    @classmethod
    def of(cls, name: str, description: str, parameters: Mapping[str, Any]) -> Tool:
        """Return a tool whose schema is given as Python objects.

        Raises:
            ParameterError: No object matches the schema.
        """
        tool = cls(name, description, schema_text(parameters))
        if not allows_objects(parameters):
            raise ParameterError(
                f"No object matches the parameters of the tool {name!r}: {shown(parameters)}. Make "
                "them a property of one."
            )
        return tool

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of its arguments, as Python objects."""
        loaded: dict[str, Any] = json.loads(self.parameters)
        return loaded

    @property
    def line(self) -> str:
        """The tool as a prompt lists it: one line of JSON."""
        name, description = quoted(self.name), quoted(self.description)
        parameters = compact(self.schema)
        return f'{{"name": {name}, "description": {description}, "parameters": {parameters}}}'


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for.

    Attributes:
        name: The tool's name.
        arguments: Its arguments, a JSON object as text.
        id: What its result will refer to.
    """

    name: str
    arguments: str = "{}"
    id: str = field(default_factory=new_call_id)

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, Any], id: str) -> ToolCall:  # noqa: A002
        """Return a call whose arguments are given as Python objects."""
        try:
            text = json.dumps(arguments, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConversationError(
                f"The arguments of the call of {name!r} cannot be written as JSON ({error}): pass "
                "values that JSON has."
            ) from error
        return cls(name, encodable_json(text), id)

    @property
    def values(self) -> dict[str, Any]:
        """The arguments as Python objects.

        Raises:
            ConversationError: They are not a JSON object.
        """
        try:
            loaded = json.loads(self.arguments)
        except (TypeError, ValueError, RecursionError):
            loaded = None
        if not isinstance(loaded, dict):
            raise ConversationError(
                f"The arguments of the call of {self.name!r} are {shown(self.arguments)}: write "
                "them as a JSON object."
            )
        return loaded

    def repeats(self, other: ToolCall) -> bool:
        """Whether this asks for what another call asked for, in whatever order and digits."""
        return self.name == other.name and _canonical(self.values) == _canonical(other.values)

    @property
    def line(self) -> str:
        """The call as a prompt holds it: one line of JSON.

        Raises:
            ConversationError: Its arguments are not a JSON object.
        """
        return json.dumps({"name": self.name, "arguments": self.values}, ensure_ascii=False)


def _canonical(value: Any) -> str:
    """Return the JSON text that all ways to write a value share."""
    return json.dumps(_with_integers(value), sort_keys=True)


def _with_integers(value: Any) -> Any:
    """Return a JSON value whose whole numbers are integers."""
    if isinstance(value, dict):
        return {name: _with_integers(member) for name, member in value.items()}
    if isinstance(value, list):
        return list(map(_with_integers, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, slots=True)
class InvalidToolCall:
    """A call that the model wrote and that is invalid.

    Attributes:
        text: What the model wrote for the arguments, or for the whole call.
        error: What is wrong with it.
        name: The tool's name, if it is known.
        id: What an answer to it may refer to.
        exceeds_limits: Whether a limit of its values cut it (see ``GenerationParameters``).
        index: Which of the reply's calls it is, if a stream has emitted it while it was written.
    """

    text: str
    error: str
    name: str | None = None
    id: str = field(default_factory=new_call_id)
    exceeds_limits: bool = False
    index: int | None = None

    @property
    def attempt(self) -> ToolCall | None:
        """The call as it was written, if its arguments are a JSON object, and whole.

        The frameworks' agents stop at an invalid call, but report a call of an unknown tool or
        with mismatching arguments to the model, and go on.
        """
        try:
            arguments = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        if self.name is None or self.exceeds_limits or not isinstance(arguments, dict):
            return None
        return ToolCall(self.name, self.text, self.id)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The tools of a request, and whether they are to be called.

    Attributes:
        tools: The tools.
        choice: "auto": the model decides; "required": it must call; "none": it must not.
        forced: The name of the one tool that must be called, or None.
        parallel: Whether one reply may hold several calls.
    """

    tools: tuple[Tool, ...]
    choice: Literal["auto", "required", "none"] = "auto"
    forced: str | None = None
    parallel: bool = True

    def __post_init__(self) -> None:
        names = [tool.name for tool in self.tools]
        if len(set(names)) != len(names):
            raise ParameterError(f"Two tools have one name, among {', '.join(names)}.")
        if self.forced is not None and self.forced not in names:
            raise ParameterError(
                f"The tool {self.forced!r} is to be called, but the tools are "
                f"{', '.join(names) or 'none'}."
            )
        if self.choice == "required" and not names:
            raise ParameterError("A tool call is required, but there are no tools.")

    @property
    def callable(self) -> Sequence[Tool]:
        """The tools that this request may call."""
        if self.choice == "none":
            return ()
        return [tool for tool in self.tools if self.forced in (None, tool.name)]

    @property
    def must_call(self) -> bool:
        """Whether the reply must be a call."""
        return self.choice == "required" or self.forced is not None
