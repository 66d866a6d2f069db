"""JSON schemas of Python types for a model to write values of, and the values read by pydantic."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from urial_core.structured.json_text import load_precise_json

__all__ = ["load_decimals", "parse_json", "schema_of_type"]


def schema_of_type(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a pydantic class, or of a type such as ``list[Person]``.

    Raises:
        pydantic.errors.PydanticUserError: It has no schema.
    """
    return TypeAdapter(kind).json_schema(schema_generator=_GeneratesForModels)


def parse_json(kind: Any, text: str) -> Any:
    """Return a value of a type, as pydantic reads it of JSON; a ``Decimal`` keeps all digits.

    Raises:
        ValueError: It is not JSON, or does not match the type.
    """
    adapter = TypeAdapter(kind)
    if (loaded := load_decimals(adapter, text)) is not None:
        with suppress(ValueError):  # of strict types, which take a text of JSON only
            return adapter.validate_python(loaded)
    return adapter.validate_json(text)


def load_decimals(adapter: TypeAdapter[Any], text: str) -> Any:
    """Return JSON loaded for a type with decimals that would lose digits otherwise; else None."""
    try:
        loaded, is_longer = load_precise_json(text)
    except (ValueError, RecursionError):
        return None  # pydantic says what is wrong
    return loaded if is_longer and "'decimal'" in str(adapter.core_schema) else None


class _GeneratesForModels(GenerateJsonSchema):
    """Leaves out what pydantic parses and a model should not write."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave out the titles of a TypedDict's fields, as LangChain's own conversion does."""
        is_typed_dict = schema.get("type") == "typed-dict-field"
        return not is_typed_dict and super().field_title_should_be_set(schema)

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        """Return a number's schema: as a string, a model could write any text."""
        written = super().decimal_schema(schema)
        numbers = [one for one in written.get("anyOf", ()) if one.get("type") == "number"]
        return numbers[0] if numbers else written

    def set_schema(self, schema: Any) -> JsonSchemaValue:
        """Allow repeated items, which a set leaves out: small models repeat themselves."""
        return _with_repeats(super().set_schema(schema))

    def frozenset_schema(self, schema: Any) -> JsonSchemaValue:
        """Allow repeated items, as in a set."""
        return _with_repeats(super().frozenset_schema(schema))


def _with_repeats(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Allow repeated items, unless they would make a set too small."""
    if schema.get("minItems"):
        return schema
    return {key: value for key, value in schema.items() if key != "uniqueItems"}
