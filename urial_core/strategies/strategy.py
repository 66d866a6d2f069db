"""What a decoding strategy is, and what it asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from urial_core.completion import CompletionRequest, ModelFeatures
from urial_core.composing import ReplyRequest
from urial_core.described import described
from urial_core.replies import Reply, TextDelta

__all__ = [
    "Compute",
    "DecodingStrategy",
    "StrategyStep",
    "StrategySteps",
    "WriteCompletions",
    "WriteReplies",
]


@dataclass(frozen=True, slots=True)
class WriteReplies:
    """The strategy wants whole replies, and is sent them in order: one batch."""

    requests: Sequence[ReplyRequest]


@dataclass(frozen=True, slots=True)
class WriteCompletions:
    """The strategy wants raw completions, and is sent them in order: one batch."""

    requests: Sequence[CompletionRequest]


@dataclass(frozen=True, slots=True)
class Compute:
    """The strategy wants a function called that may take long, and is sent its result."""

    function: Callable[[], Any]


StrategyStep = WriteReplies | WriteCompletions | Compute | TextDelta
"""What a strategy yields. Of a ``TextDelta``, it is certain that the reply goes on with it."""

StrategySteps = Generator[StrategyStep, Any, Reply]
"""One reply by a strategy; ``urial_core.chat`` drives it, sync or async."""


class DecodingStrategy(ABC):
    """How a reply is found: a value, whose equal copies act alike.

    Subclass it for a strategy of your own. ``repr`` is part of the keys of caches: a dataclass with
    ``repr=False`` inherits one that shows other models by their class, name and sampling.

    Attributes:
        needs_every_token: Whether the model must report the probability of every token (see
            ``ModelFeatures.reports_every_token``).
    """

    needs_every_token: ClassVar[bool] = False

    def lacking(self, features: ModelFeatures) -> str:
        """Return what the strategy needs a model to report and this one does not; "" for nothing.

        Args:
            features: The model's.
        """
        if self.needs_every_token and not features.reports_every_token:
            return "the probability of every token"
        return ""

    @abstractmethod
    def steps(self, request: ReplyRequest) -> StrategySteps:
        """Find the reply to a request.

        Raises:
            ParameterError: The strategy cannot do what the request asks for; it is raised before
                anything is generated.
        """

    def __repr__(self) -> str:
        """Return the settings, without secrets."""
        names = getattr(self, "__dataclass_fields__", {})  # a subclass may be no dataclass
        settings = ", ".join(f"{name}={_shown(getattr(self, name))}" for name in names)
        return f"{type(self).__name__}({settings})"


def _shown(value: object) -> str:
    return repr(described(value) if isinstance(value, BaseModel) else value)
