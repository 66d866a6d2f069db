"""The threads of OpenMP: how many compute, and that they give up their processor while they wait.

libgomp, which torch and llama.cpp use on Linux, lets a thread that waits for others run in a loop
for seconds. Beside one busy process, or another process that waits in the same way, the threads it
waits for do not get a processor, and decoding is twenty times slower or more.
"""

from __future__ import annotations

import os

__all__ = ["compute_threads", "limit_spinning"]

_OWN_SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_SPINS = "1000"
"""Rounds of the loop, some microseconds: enough for threads that do not wait for a processor."""


def limit_spinning() -> None:
    """Set how long threads wait in a loop, unless the user's environment does.

    libgomp reads it when it is loaded: a program that imports torch before it creates a model in
    this process must set ``GOMP_SPINCOUNT`` itself.
    """
    if not any(name in os.environ for name in _OWN_SETTINGS):
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def compute_threads() -> int:
    """Return how many threads compute: ``OMP_NUM_THREADS``, as torch reads it, or the cores.

    The cores are those that this process may use; of many, half count as hyper-threads.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    usable = known or 1
    return usable if usable <= 4 else usable // 2
