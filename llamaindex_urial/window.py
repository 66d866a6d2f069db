"""Window: what a base model's context window leaves beside the constant page."""

from __future__ import annotations

import asyncio
import warnings

from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW

from urial_core import CompletionModel, Prompt
from urial_core.completion import estimate_tokens
from urial_core.parameters import DEFAULT_MAX_TOKENS

__all__ = ["Window", "num_output", "warn_if_too_small"]

_REPLY_SHARE = 4
"""Of the room beside the page, one part in so many is set aside for a reply of no stated length."""

_RETRIEVAL_TOKENS = 650
"""What LlamaIndex's question answering needs beside a reply: its template, about 110 tokens, a
padding of 500 (``DEFAULT_RESPONSE_PADDING_SIZE``), and the question."""


class Window:
    """The room that LlamaIndex may plan with: it does not know of the page.

    What is found out is kept, since LlamaIndex asks at every call.
    """

    def __init__(self, model: CompletionModel, prompt: Prompt, stated: int | None) -> None:
        """Measure nothing yet.

        Args:
            model: The completion model.
            prompt: The constant page.
            stated: The window in tokens, where the user has said it.
        """
        self._model = model
        self._page = _scaffold(prompt)
        self._stated = stated
        self._exact: int | None = None

    @property
    def room(self) -> int:
        """Tokens of the window beside the page; may load the model's tokenizer or ask a server.

        LlamaIndex asks for it within event loops too, which must not wait: there it is an estimate,
        if the window is known, until it was counted elsewhere.
        """
        guess = self.room_at_hand if _in_event_loop() else None
        return self.counted_room if guess is None else guess

    @property
    def counted_room(self) -> int:
        """As ``room``, never estimated where the model can count."""
        if self._exact is None:
            window = self._stated or self._model.context_window or DEFAULT_CONTEXT_WINDOW
            self._exact = max(window - self._model.count_tokens(self._page), 0)
        return self._exact

    @property
    def room_at_hand(self) -> int | None:
        """As ``room``, but estimated and without loading anything; None if unknown."""
        if self._exact is not None:
            return self._exact
        window = self._stated or self._model.known_context_window
        return max(window - estimate_tokens(self._page), 0) if window else None


def num_output(room: int, max_tokens: int | None) -> int:
    """Tokens that a reply may take, as far as LlamaIndex has to plan for it."""
    return max_tokens or max(min(DEFAULT_MAX_TOKENS, room // _REPLY_SHARE), 1)


def warn_if_too_small(window: Window, prompt: Prompt, max_tokens: int | None) -> None:
    """Warn where LlamaIndex could not even ask a question about a retrieved text."""
    guess = window.room_at_hand
    if guess is None or _holds_retrieval(guess, max_tokens):
        return
    room = window.counted_room  # the guess is careful: count before a word is said
    if not _holds_retrieval(room, max_tokens):
        warnings.warn(
            f"The model's window leaves {room} tokens beside the page of prompt {prompt.name!r} "
            f"and a reply may take {num_output(room, max_tokens)}: too little for LlamaIndex's "
            f"query engines, which need about {_RETRIEVAL_TOKENS} besides the reply. Choose a "
            "shorter prompt (such as 'short'), a smaller max_tokens, or a model with a larger "
            "window.",
            stacklevel=6,
        )


def _holds_retrieval(room: int, max_tokens: int | None) -> bool:
    return room - num_output(room, max_tokens) >= _RETRIEVAL_TOKENS


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _scaffold(prompt: Prompt) -> str:
    """The page with all that is written around a system message, a query and an answer."""
    prompt_format = prompt.format
    empty = prompt_format.turn("system", "") + prompt_format.turn("user", "")
    return prompt.prefix + empty + prompt_format.open_turn("assistant")
