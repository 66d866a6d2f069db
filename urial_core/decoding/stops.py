"""Cut the reply at the first of the user's stop strings."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StopDecoder"]


class StopDecoder:
    """Passes text on up to the first stop string, which is left out.

    Of several, the one that is complete first ends the text. Only the longest end of the text that
    could still become a stop string is held back.

    Attributes:
        matched: The stop string that ended the text, or None.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.matched: str | None = None
        self._stop = tuple(stop)
        self._longest = max(map(len, stop), default=0)
        self._held = ""

    def feed(self, text: str) -> str:
        """Take more text; return what certainly stands before any stop string."""
        if self.matched is not None or not self._stop:
            return "" if self._stop else text
        data, self._held = self._held + text, ""
        found = [
            (data.find(stop) + len(stop), -len(stop), stop) for stop in self._stop if stop in data
        ]
        if found:
            end, _, self.matched = min(found)
            return data[: end - len(self.matched)]
        for size in range(min(self._longest - 1, len(data)), 0, -1):
            if any(stop.startswith(data[-size:]) for stop in self._stop if len(stop) > size):
                self._held = data[-size:]
                return data[:-size]
        return data

    def flush(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return "" if self.matched is not None else held
