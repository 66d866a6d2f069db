"""A JSON schema as a grammar for llama-cpp-python, whose objects take no schema."""

from __future__ import annotations

from typing import Any

from urial_core.errors import UnsupportedSchemaError
from urial_core.structured.constraints import JsonSchema

__all__ = ["llama_grammar"]


def llama_grammar(schema: JsonSchema) -> Any:
    """Make the ``LlamaGrammar`` that a call takes as ``grammar``.

    Raises:
        UnsupportedSchemaError: llama-cpp-python makes no grammar of the schema.
    """
    from llama_cpp import LlamaGrammar

    try:
        return LlamaGrammar.from_json_schema(schema.text, verbose=False)
    except Exception as error:
        raise UnsupportedSchemaError(
            f"llama.cpp cannot be held to the JSON schema {schema.text}: {error}"
        ) from error
