"""Keyboard echo: what is typed ahead must not land in the middle of what is being drawn."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["no_keyboard_echo"]


@contextmanager
def no_keyboard_echo() -> Generator[None]:
    """Keep the terminal from showing what is typed; it is read by the next prompt all the same.

    Does nothing where stdin is no terminal, and on Windows, which echoes only while reading.
    """
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
