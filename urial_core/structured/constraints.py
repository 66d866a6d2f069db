"""Constraint: what form a completion must have, in no engine's dialect.

A completion model that can hold itself to a form offers ``constrains``; see ``constrains`` here for
asking any model. What comes is checked all the same: the reply's readers mend what does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from urial_core.errors import ParameterError
from urial_core.structured.json_schema import closed

if TYPE_CHECKING:
    from urial_core.completion import CompletionModel

__all__ = ["Choice", "ConstrainedModel", "Constraint", "JsonSchema", "constrains", "scores_choices"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The completion is one of a few texts.

    A model that can score all of them takes the most probable one and reports it as one
    ``TokenLogprob`` (on its last chunk) whose ``top`` holds every option with the log-probability
    of its whole text, best first, offsets left out. Temperature, penalties and ``max_tokens`` do
    not apply: nothing is drawn, and the option is written whole. To draw one, use those
    log-probabilities.

    Attributes:
        options: The texts. None is the beginning of another.
        offsets: For each option, what is added to its log-probability before the best is taken;
            empty for none. A model that cannot score ignores them.
    """

    options: tuple[str, ...]
    offsets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.options or "" in self.options:
            raise ParameterError("A choice needs options, none of them empty.")
        if any(a != b and b.startswith(a) for a in self.options for b in self.options):
            raise ParameterError(f"Of the options {self.options}, one begins with another.")
        if self.offsets and len(self.offsets) != len(self.options):
            raise ParameterError("A choice needs one offset for each option, or none at all.")


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The completion is one JSON value that fits a schema, and then ends.

    It is written on one line, with a space behind each comma and colon, keys in the schema's order,
    and Unicode as it is.

    Attributes:
        text: The schema (draft 2020-12) as JSON text, so that requests stay hashable.
    """

    text: str

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> JsonSchema:
        """Make one of a schema as Python objects; the order of keys is kept."""
        return cls(json.dumps(schema, ensure_ascii=False))

    @property
    def schema(self) -> dict[str, Any]:
        """The schema as Python objects."""
        loaded: dict[str, Any] = json.loads(self.text)
        return loaded

    @property
    def closed(self) -> JsonSchema:
        """The schema whose objects hold nothing undeclared; see ``urial_core.structured.json_schema.closed``."""
        return JsonSchema.of(closed(self.schema))


Constraint = Choice | JsonSchema
"""Any of them."""


@runtime_checkable
class ConstrainedModel(Protocol):
    """A completion model that can hold its completions to a form."""

    def constrains(self, constraint: Constraint) -> bool:
        """Whether requests with this constraint will be held to it.

        What comes is checked anyway, but streamed before that: say no rather than perhaps.

        Raises:
            UnsupportedSchemaError: The model constrains to JSON schemas, but this one uses
                something it cannot enforce; the message names it.
        """


def constrains(model: CompletionModel, constraint: Constraint) -> bool:
    """Whether a model will hold a completion to a constraint; see ``ConstrainedModel``."""
    return isinstance(model, ConstrainedModel) and model.constrains(constraint)


def scores_choices(model: CompletionModel) -> bool:
    """Whether a model scores the options of a choice and reports it; see ``Choice``.

    Such a model has an attribute ``scores_choices`` that is true. Others are not asked for scores.
    """
    return bool(getattr(model, "scores_choices", False))
