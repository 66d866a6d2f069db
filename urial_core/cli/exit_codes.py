"""Exit codes of ``urial``.

0 success, 1 an error (reported in one line on stderr), 2 invalid usage, ``INTERRUPTED`` and
``OUTPUT_CLOSED``.
"""

__all__ = ["INTERRUPTED", "OUTPUT_CLOSED"]

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells."""

OUTPUT_CLOSED = 141
"""The exit code when the reader of stdout is gone (``| head``), as in shells."""
