"""Drop the copy of the prompt that some engines write before the completion."""

from __future__ import annotations

__all__ = ["EchoDecoder"]


class EchoDecoder:
    """Removes one exact leading copy of the prompt; anything else passes unchanged."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._matched = 0
        self._done = not prompt

    def feed(self, text: str) -> str:
        """Take more text; return what is certainly not the echo."""
        if self._done:
            return text
        expected = self._prompt[self._matched : self._matched + len(text)]
        if text.startswith(expected):
            self._matched += len(expected)
            self._done = self._matched == len(self._prompt)
            return text[len(expected) :]
        return self.flush() + text

    def flush(self) -> str:
        """Return what was held back: the start of a copy that never became whole."""
        if self._done:
            return ""
        self._done = True
        return self._prompt[: self._matched]
