"""Decoding strategies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from urial_core.errors import ParameterError
from urial_core.strategies.best_of_n import BestOfN
from urial_core.strategies.power import PowerSampling
from urial_core.strategies.strategy import DecodingStrategy

__all__ = ["STRATEGIES", "load_strategy"]

STRATEGIES: Mapping[str, Callable[[], DecodingStrategy]] = {
    "best_of_n": BestOfN,
    "power": PowerSampling,
}
"""The strategies that have a name, which stands for their defaults."""


def load_strategy(value: Any) -> DecodingStrategy | None:
    """Return a strategy by its name; a strategy, or None for plain sampling, is returned as is.

    Raises:
        ParameterError: There is no such strategy.
    """
    if value is None or isinstance(value, DecodingStrategy):
        return value
    if isinstance(value, str) and value in STRATEGIES:
        return STRATEGIES[value]()
    raise ParameterError(
        f"decoding is {value!r}: use one of {', '.join(map(repr, STRATEGIES))}, or a strategy such "
        "as urial_core.strategies.BestOfN(n=4)."
    )
