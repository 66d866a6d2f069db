"""How the time of some work grows with its size, as a test can measure it on a shared machine."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from timeit import repeat

GROWTH = 16


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of some work, without garbage collections."""
    return repeat(work, timer=process_time, repeat=1, number=1)[0]


def is_linear(work: Callable[[int], object], size: int) -> bool:
    """Whether the work takes at this size at most four times 16 times what it takes at a sixteenth.

    Linear time grows 16 times, quadratic time 256 times. The work is done again if it took too
    long, since the speed of a shared machine changes by a factor of two.
    """
    short = min(cpu_seconds(lambda: work(size // GROWTH)) for _ in range(3))
    limit = 4 * GROWTH * max(short, 0.0005)
    return any(cpu_seconds(lambda: work(size)) < limit for _ in range(3))
