"""Types of settings: how they are written, as by ``model_dump``, and read again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from urial_core.errors import UnsupportedModelError
from urial_core.strategies import DecodingStrategy

__all__ = ["DecodingSetting", "ModelSetting", "ObjectSetting"]


def _class_name(value: object) -> str | None:
    return None if value is None else type(value).__name__


def _refuse_name(value: Any) -> Any:
    if isinstance(value, str):
        raise UnsupportedModelError(
            f"llm is {value!r}: pass llm= as an object, or model= as an id. Settings that were "
            "written hold the class of llm alone: pass llm= beside them."
        )
    return value


def _write_strategy(value: str | DecodingStrategy | None) -> str | None:
    return repr(value) if isinstance(value, DecodingStrategy) else value


ObjectSetting = Annotated[Any, PlainSerializer(_class_name)]
"""Another library's object, written as its class's name: it may hold secrets, or be a model."""

ModelSetting = Annotated[ObjectSetting, BeforeValidator(_refuse_name)]
"""The same for a model. Its name is refused, rather than another model run."""

DecodingSetting = Annotated[str | DecodingStrategy | None, PlainSerializer(_write_strategy)]
"""How a reply is found. A strategy may hold models and functions, so it is written as its ``repr``,
which is refused."""
