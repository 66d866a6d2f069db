"""A completion model with what its owner had set on it, and the parameters of one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from urial_core.completion import CompletionModel
from urial_core.parameters import GenerationParameters

__all__ = ["SAMPLING", "WrappedModel"]

SAMPLING = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "seed",
)
"""Names of the parameters that say how a reply is sampled."""


@dataclass(frozen=True, slots=True)
class WrappedModel:
    """A completion model, and the parameters its owner had set on it.

    Attributes:
        model: The model.
        parameters: Names and values of generation parameters; what the chat model itself is given
            goes before them.
    """

    model: CompletionModel
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def parameters_for(
        self, said: Callable[[str], Any], *stops: str | Sequence[str] | None
    ) -> GenerationParameters:
        """The parameters of one call: what was said for it, then what the model's owner had set.

        Args:
            said: What was said of a parameter, by its name; None for nothing. ``logprobs`` is true
                or false there, as in the OpenAI API, and ``top_logprobs`` says how many.
            *stops: Stop strings, which add up; a bare string is one, as in the OpenAI API.

        Raises:
            ParameterError: A value is wrong.
        """
        own = {name: value for name, value in self.parameters.items() if name != "stop"}
        all_stops = (*stops, self.parameters.get("stop"))
        top = said("top_logprobs")
        return GenerationParameters(**own).replace(
            **{name: said(name) for name in (*SAMPLING, "n")},
            stop=tuple(text for stop in all_stops for text in _strings(stop)),
            logprobs=top if top is not None else 0 if said("logprobs") else None,
        )


def _strings(stop: str | Sequence[str] | None) -> Sequence[str]:
    return [stop] if isinstance(stop, str) else stop or ()
