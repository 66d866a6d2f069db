"""JSON schemas of Python types, as pydantic writes them, for a model to write values of."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

__all__ = ["schema_of_type"]


def schema_of_type(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a pydantic class, or of a type such as ``list[Person]``.

    Raises:
        pydantic.errors.PydanticUserError: It has no schema.
    """
    return TypeAdapter(kind).json_schema(schema_generator=_GeneratesForModels)


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
