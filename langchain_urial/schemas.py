"""Schemas: write what LangChain accepts as a schema or as a tool as JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import EllipsisType, NoneType, UnionType, new_class
from typing import (
    Annotated,
    Any,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from langchain_core.tools import BaseTool, Tool, create_schema_from_function
from langchain_core.utils.function_calling import convert_to_openai_function
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import Field
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypeAliasType, TypedDict, is_typeddict

from urial_core.errors import ParameterError
from urial_core.structured.pydantic_schema import schema_of_type

__all__ = ["SchemaLike", "is_function", "is_type", "json_schema", "readable_type"]

SchemaLike = Any
"""A class with fields (pydantic v2 or v1, TypedDict, dataclass), a JSON schema, a function or tool
(also as OpenAI, Anthropic or Bedrock writes it), or a type such as ``list[Person]`` or an enum."""

_FUNCTION_KEYS = ("function", "parameters", "input_schema", "toolSpec")
_ERRORS = (AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)
"""What pydantic and LangChain raise for what they cannot describe."""
_KEPT = {"__doc__", "__module__", "__pydantic_config__", "__closed__", "__extra_items__"}
"""What pydantic reads of a TypedDict, beside its fields."""
_DEFAULTS = (EllipsisType, NoneType, bool, int, float, str, list, dict)
"""What LangChain reads as a default, rather than pydantic as a constraint."""


def json_schema(schema: SchemaLike) -> dict[str, Any]:
    """Return the JSON schema of what LangChain accepts as a schema or as a tool.

    Its title and description are those of the class, function or tool. References are kept, which
    LangChain's own conversion replaces: a type that holds itself needs them.

    Raises:
        ParameterError: It is not a schema.
    """
    try:
        return _json_schema(schema)
    except _ERRORS as error:
        raise ParameterError(f"{schema!r} is not a schema: {error}") from error


def is_function(schema: SchemaLike) -> bool:
    """Return whether this is a dictionary that describes a function, rather than a JSON schema."""
    return isinstance(schema, Mapping) and (
        schema.get("type") == "function" or any(key in schema for key in _FUNCTION_KEYS)
    )


def is_type(schema: SchemaLike) -> bool:
    """Return whether this is a type such as ``A | B`` or an enum, rather than a class with fields.

    Replies are then its values.
    """
    if isinstance(schema, type):
        has_fields = is_basemodel_subclass(schema) or is_typeddict(schema) or is_dataclass(schema)
        return not has_fields
    return get_origin(schema) is not None or isinstance(schema, (NewType, TypeAliasType))


def readable_type(kind: Any) -> Any:
    """Return a type whose TypedDicts pydantic reads as LangChain does.

    ``Annotated[int, 5, "Its age."]`` is a field with a default (``...`` for none) and a
    description. On Python 3.11, pydantic does not read those of ``typing`` at all.
    """
    return _readable(kind, {})


def _json_schema(schema: SchemaLike) -> dict[str, Any]:
    if is_function(schema):
        return _of_function(convert_to_openai_function(dict(schema.get("function", schema))))
    if isinstance(schema, Mapping):
        return _described(schema)
    if isinstance(schema, Tool) and schema.args_schema is None:  # it takes one text
        return _of_function(convert_to_openai_function(schema))
    if isinstance(schema, BaseTool):
        parameters = _json_schema(schema.tool_call_schema)
        return _titled(parameters, schema.name, schema.description)
    if callable(schema) and not isinstance(schema, type) and not is_type(schema):
        schema = create_schema_from_function(
            schema.__name__, schema, parse_docstring=True, include_injected=False
        )
    if isinstance(schema, type) and issubclass(schema, BaseModelV1):
        written = schema.schema()
    else:
        written = schema_of_type(readable_type(schema))
    return _described(written)


def _of_function(function: Mapping[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters") or {}
    return _titled(parameters, function["name"], function.get("description"))


def _titled(schema: Mapping[str, Any], title: str, description: str | None) -> dict[str, Any]:
    return {**schema, "title": title, **({"description": description} if description else {})}


def _described(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with its title and description at the top, even if it is a reference."""
    place, _, name = schema.get("$ref", "").rpartition("/")
    target = schema.get(place.removeprefix("#/"), {}).get(name, {})
    return {**{key: target[key] for key in ("title", "description") if key in target}, **schema}


def _readable(kind: Any, copies: dict[type, type]) -> Any:
    if not is_typeddict(kind):
        arguments = get_args(kind)
        readable = tuple(_readable(argument, copies) for argument in arguments)
        if readable == arguments:
            return kind
        return (Union if isinstance(kind, UnionType) else get_origin(kind))[readable]
    if kind not in copies:
        copy = copies[kind] = new_class(kind.__name__, (TypedDict,))  # its fields may refer to it
        for name in _KEPT & vars(kind).keys():
            setattr(copy, name, getattr(kind, name))
        hints = get_type_hints(kind, localns={kind.__name__: kind}, include_extras=True)
        copy.__annotations__ = {
            name: _field(_readable(hint, copies), is_required=name in kind.__required_keys__)
            for name, hint in hints.items()
        }
    return copies[kind]


def _field(hint: Any, *, is_required: bool) -> Any:
    """Return what pydantic reads as the field of a TypedDict that LangChain reads from a hint."""
    if (qualifier := get_origin(hint)) in (Required, NotRequired):
        return _field(*get_args(hint), is_required=qualifier is Required)
    match get_args(hint) if qualifier is Annotated else ():
        case [kind, default, *described] if isinstance(default, _DEFAULTS):
            texts = [text for text in described[:1] if isinstance(text, str)]
            extra = {} if default is ... else {"default": default}
            info = Field(description=texts[0] if texts else None, json_schema_extra=extra)
            hint, is_required = Annotated[kind, info], is_required and default is ...
    return (Required if is_required else NotRequired)[hint]
