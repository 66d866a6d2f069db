"""Generation parameters: how a reply is sampled, and how long it may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from sys import float_info
from typing import Any

from urial_core.errors import ParameterError, shown
from urial_core.structured.value_limits import DEFAULT_LIMITS, ValueLimits

__all__ = ["DEFAULT_MAX_TOKENS", "DRY", "LIMITS", "RULES", "SAMPLING", "GenerationParameters"]

DEFAULT_MAX_TOKENS = 1024
"""Tokens that a reply may take where no limit is set; fewer if the window leaves fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationParameters:
    """How a reply is sampled. ``None`` means unset.

    A wrapped model then keeps its own setting; ``resolved`` fills in this project's defaults, which
    were chosen by measurement (docs/prompt_formats.md).

    Attributes:
        max_tokens: The reply's length limit, in tokens. Unset: ``DEFAULT_MAX_TOKENS``, or what
            the context window leaves.
        temperature: 0 is greedy: always the most probable token. Default 0.
        top_p: Sample from the smallest set of tokens whose probabilities add up to this. Default 1.
        top_k: Sample from this many most probable tokens. Default 0, no limit.
        repetition_penalty: Divides (multiplies, where negative) the logits of tokens the *reply*
            already holds (Keskar et al. 2019). 1 is off. The prompt's tokens do not count.
            Default 1.1.
        frequency_penalty: Subtracted from a token's logit once for each time the reply holds it.
            Default 0.
        presence_penalty: Subtracted from a token's logit once if the reply holds it. Default 0.
        dry_multiplier: Strength of DRY ("don't repeat yourself", p-e-w 2024,
            https://github.com/oobabooga/text-generation-webui/pull/5677): a token that would
            lengthen a copied sequence of n tokens loses ``multiplier * base ** (n - allowed
            length)`` from its logit. 0 is off, the default; 0.8 ends copies, 2 most near copies.
            In this project's engine, a copy is one of the prompt prefix or of the assistant's
            earlier replies, and what the rest of the conversation holds too is free: documents,
            code and tool results can be quoted. llama.cpp counts the whole context.
        dry_base: How fast that grows with the copied sequence, at least 1. Default 1.75.
        dry_allowed_length: The longest sequence that may be copied freely, in tokens. Default 2.
        dry_sequence_breakers: A copied sequence ends at a token that holds one of these strings,
            beside line breaks, which always end it. Default none.
        end_bias: Nats added to the logits of the tokens that end the reply, for each 100 tokens
            that it has already, rising evenly (Hewitt et al. 2024, arXiv 2409.14254). At most
            10,000, which no logit exceeds. Default 0.
        banned_openers: Words that the reply must not begin with; upper and lower case are the same.
            Default none.
        seed: Makes sampling repeatable. With ``n`` > 1, reply *i* uses ``seed + i``.
        stop: The reply ends before the first of these strings.
        max_string_length: Most characters of a string in JSON, where the schema does not say: one
            that reaches the limit is invalid, as for the next two. Default 4000.
        max_items: Most items of an array in JSON. Default 100.
        max_digits: Most digits of an integer in JSON, at most 17, the default.
        n: How many replies are wanted.
        logprobs: Report each token's log-probability, and those of this many alternatives.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_sequence_breakers: tuple[str, ...] | None = None
    end_bias: float | None = None
    banned_openers: tuple[str, ...] | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_string_length: int | None = None
    max_items: int | None = None
    max_digits: int | None = None
    n: int = 1
    logprobs: int | None = None

    def __post_init__(self) -> None:
        _check("max_tokens", self.max_tokens, int, 1, None, optional=True)
        _check("temperature", self.temperature, float, 0, None, optional=True)
        _check("top_p", self.top_p, float, 0, 1, optional=True)
        _check("top_k", self.top_k, int, 0, None, optional=True)
        _check("repetition_penalty", self.repetition_penalty, float, 0, None, optional=True)
        _check("frequency_penalty", self.frequency_penalty, float, -2, 2, optional=True)
        _check("presence_penalty", self.presence_penalty, float, -2, 2, optional=True)
        _check("dry_multiplier", self.dry_multiplier, float, 0, None, optional=True)
        _check("dry_base", self.dry_base, float, 1, None, optional=True)
        _check("dry_allowed_length", self.dry_allowed_length, int, 1, None, optional=True)
        _check("end_bias", self.end_bias, float, 0, 10_000, optional=True)
        _check("seed", self.seed, int, None, None, optional=True)
        _check("max_string_length", self.max_string_length, int, 1, None, optional=True)
        _check("max_items", self.max_items, int, 1, None, optional=True)
        _check("max_digits", self.max_digits, int, 1, DEFAULT_LIMITS.digits, optional=True)
        _check("n", self.n, int, 1, None)
        _check("logprobs", self.logprobs, int, 0, 20, optional=True)
        if self.top_p == 0:
            raise ParameterError("top_p is 0, which leaves no token: use temperature=0 for greedy.")
        if self.repetition_penalty == 0:
            raise ParameterError("repetition_penalty is 0: use 1.0 to switch it off.")
        object.__setattr__(self, "stop", _strings("stop", self.stop, "end every reply"))
        if (breakers := self.dry_sequence_breakers) is not None:
            checked = _strings("dry_sequence_breakers", breakers, "switch DRY off")
            object.__setattr__(self, "dry_sequence_breakers", checked)
        if (openers := self.banned_openers) is not None:
            checked = _strings("banned_openers", openers, "forbid every reply")
            if not all(map(str.strip, checked)):
                raise ParameterError("banned_openers holds blanks alone: give words.")
            object.__setattr__(self, "banned_openers", checked)

    def replace(self, **changes: Any) -> GenerationParameters:
        """Return a copy with changes; ``None`` for a parameter means "keep the present value".

        Raises:
            ParameterError: A name is unknown or a value out of range.
        """
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        unknown = sorted(set(changes) - set(present))
        if unknown:
            raise ParameterError(
                f"Unknown parameter {', '.join(unknown)}: the parameters are {', '.join(present)}."
            )
        present.update({name: value for name, value in changes.items() if value is not None})
        return GenerationParameters(**present)

    def resolved(self) -> GenerationParameters:
        """Return a copy with this project's defaults for what is unset."""
        own = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
        return GenerationParameters(**{**_DEFAULTS, **own})

    @property
    def value_limits(self) -> ValueLimits:
        """How long the values of JSON may get where the schema does not say."""
        return ValueLimits(
            self.max_string_length or DEFAULT_LIMITS.string_length,
            self.max_items or DEFAULT_LIMITS.items,
            self.max_digits or DEFAULT_LIMITS.digits,
        )

    def under_names(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Return the parameters that are set, under an engine's own names.

        Args:
            names: This project's parameter names and the engine's for them. A parameter that is
                not among them is left out.
        """
        return {
            theirs: value
            for ours, theirs in names.items()
            if (value := getattr(self, ours)) is not None
        }


LIMITS = ("max_string_length", "max_items", "max_digits")
"""Names of the parameters that limit the values of JSON."""

DRY = ("dry_multiplier", "dry_base", "dry_allowed_length", "dry_sequence_breakers")
"""Names of the parameters of DRY, which few engines have."""

RULES = ("end_bias", "banned_openers")
"""Names of the parameters that the transformers backend alone has."""

SAMPLING = tuple(
    field.name
    for field in fields(GenerationParameters)
    if field.name not in ("stop", "n", "logprobs", *LIMITS)
)
"""Names of the parameters by which an engine samples, ``max_tokens`` included."""

_DEFAULTS: dict[str, Any] = {
    "temperature": 0.0,
    "top_p": 1.0,
    "top_k": 0,
    "repetition_penalty": 1.1,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "dry_multiplier": 0.0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_sequence_breakers": (),
    "end_bias": 0.0,
    "banned_openers": (),
}


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _strings(name: str, given: object, effect_of_empty: str) -> tuple[str, ...]:
    if not isinstance(given, (tuple, list)) or not all(isinstance(text, str) for text in given):
        raise ParameterError(f"{name} is {given!r}: give a sequence of strings.")
    if "" in given:
        raise ParameterError(f"{name} holds an empty string, which would {effect_of_empty}.")
    for text in given:
        if lone := _LONE_SURROGATE.search(text):
            raise ParameterError(
                f"{name} holds {text!r}, which no reply can, since UTF-8 cannot: remove "
                f"{lone[0]!r}."
            )
    return tuple(dict.fromkeys(given))


def _check(
    name: str,
    value: object,
    kind: type[int | float],
    low: float | None,
    high: float | None,
    *,
    optional: bool = False,
) -> None:
    if value is None and optional:
        return
    accepted = (int, float) if kind is float else (int,)
    bounds = " ".join(
        text
        for text, bound in ((f"at least {low}", low), (f"at most {high}", high))
        if bound is not None
    )
    wanted = f"{'a whole number' if kind is int else 'a number'} {bounds}".strip()
    if (
        isinstance(value, bool)
        or not isinstance(value, accepted)
        or not abs(value) <= float_info.max  # NaN is no larger, either
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        raise ParameterError(f"{name} is {shown(value)}: give {wanted}.")
