"""How much memory a process may take."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_memory"]


def available_memory() -> int | None:
    """Return the memory that can be used without swapping, in bytes; None if it is unknown."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as lines:
            of_system = (
                next(int(line.split()[1]) for line in lines if "MemAvailable" in line) * 1024
            )
    except (OSError, StopIteration, ValueError):
        try:
            of_system = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, OSError, ValueError):
            return None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no limit
        return of_system
    return min(of_system, limit)
