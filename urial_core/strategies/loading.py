"""Decoding strategies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from urial_core.errors import ParameterError
from urial_core.strategies.best_of_n import BestOfN
from urial_core.strategies.nudging import Nudging
from urial_core.strategies.power import PowerSampling
from urial_core.strategies.rollouts import RolloutPower
from urial_core.strategies.strategy import DecodingStrategy

__all__ = ["STRATEGIES", "load_strategy"]

STRATEGIES: Mapping[str, Callable[..., DecodingStrategy]] = {
    "best_of_n": BestOfN,
    "nudge": Nudging,
    "power": PowerSampling,
    "rollout_power": RolloutPower,
}
"""The strategies that have a name, which stands for their defaults; "nudge" needs a model."""


def load_strategy(value: Any, nudge_with: Any = None) -> DecodingStrategy | None:
    """Return a strategy by its name; a strategy, or None for plain sampling, is returned as is.

    Args:
        value: The name or the strategy.
        nudge_with: For "nudge", the aligned model (see ``Nudging``).

    Raises:
        ParameterError: There is no such strategy; or ``nudge_with`` is unset for "nudge", or set
            for anything else.
    """
    if (value == "nudge") != (nudge_with is not None):
        raise ParameterError(
            "decoding='nudge' needs a small aligned model: pass it as nudge_with."
            if nudge_with is None
            else f"nudge_with is set, and decoding is {value!r}: set decoding='nudge' with it."
        )
    if value is None or isinstance(value, DecodingStrategy):
        return value
    if isinstance(value, str) and value in STRATEGIES:
        return STRATEGIES[value](**({"nudge_with": nudge_with} if value == "nudge" else {}))
    raise ParameterError(
        f"decoding is {value!r}: use one of {', '.join(map(repr, STRATEGIES))}, or a strategy such "
        "as urial_core.strategies.BestOfN(n=4)."
    )
