"""Constraints: what a completion must match, in no engine's dialect.

``ModelFeatures`` says which of them a model enforces. Replies are validated all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from urial_core.errors import ParameterError
from urial_core.structured.json_schema import forbid_additional_properties, schema_text
from urial_core.structured.value_limits import ValueLimits, limit_values

__all__ = ["Choice", "Constraint", "JsonSchema"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The completion is one of a few texts.

    A model that can score all of them takes the most probable one and reports it as one
    ``TokenLogprob`` (on its last chunk) whose ``top`` holds every option with the log-probability
    of its whole text, best first, biases left out. Temperature, penalties and ``max_tokens`` do
    not apply: nothing is drawn, and the option is written whole. To draw one, use those
    log-probabilities.

    Attributes:
        options: The texts. None is the beginning of another.
        biases: For each option, what is added to its log-probability before the best is taken;
            empty for none. A model that cannot score ignores them.
    """

    options: tuple[str, ...]
    biases: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.options or "" in self.options:
            raise ParameterError("A choice needs options, none of them empty.")
        if any(a != b and b.startswith(a) for a in self.options for b in self.options):
            raise ParameterError(f"Of the options {self.options}, one begins with another.")
        if self.biases and len(self.biases) != len(self.options):
            raise ParameterError("A choice needs one bias for each option, or none at all.")


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The completion is one JSON value that fits a schema, and then ends.

    It is written on one line, with a space after each comma and colon, keys in the schema's order,
    and Unicode as it is.

    Attributes:
        text: The schema (draft 2020-12) as JSON text, so that requests stay hashable.
    """

    text: str

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> JsonSchema:
        """Make one of a schema as Python objects; the order of keys is kept."""
        return cls(schema_text(schema))

    @property
    def schema(self) -> dict[str, Any]:
        """The schema as Python objects."""
        loaded: dict[str, Any] = json.loads(self.text)
        return loaded

    def with_additional_properties_forbidden(self) -> JsonSchema:
        """Return the schema whose objects hold declared properties only.

        Small models make up additional ones where a schema allows them, as it does by default.
        """
        return JsonSchema.of(forbid_additional_properties(self.schema))

    def with_limits(self, limits: ValueLimits) -> JsonSchema:
        """Return the schema whose values have bounds, where it sets none."""
        return JsonSchema.of(limit_values(self.schema, limits))


Constraint = Choice | JsonSchema
"""Any of them."""
