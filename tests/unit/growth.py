"""How the time of some work grows with its size, as a test can measure it on a shared machine."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from timeit import repeat

TIMES = 16


def is_linear(work: Callable[[int], object], size: int) -> bool:
    """Whether the work takes at this size at most four times 16 times what it takes at a sixteenth.

    Linear time grows 16 times, quadratic time 256 times. The least CPU time of several runs without
    garbage collections is taken, since the speed of a shared machine changes by a factor of two.
    """

    def seconds(size: int, runs: int) -> float:
        return min(repeat(lambda: work(size), timer=process_time, repeat=runs, number=1))

    return seconds(size, 2) < 4 * TIMES * max(seconds(size // TIMES, 3), 0.0005)
