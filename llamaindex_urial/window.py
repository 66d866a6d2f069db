"""Window: what the prompt prefix leaves of a base model's context window."""

from __future__ import annotations

import asyncio
import warnings

from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW

from llamaindex_urial.token_ratio import TokenRatio, global_tokenizer_is_set
from urial_core import CompletionModel, Prompt
from urial_core.completion import estimate_tokens
from urial_core.composing import overhead_text
from urial_core.parameters import DEFAULT_MAX_TOKENS

__all__ = ["Window", "num_output", "warn_if_too_small"]

_REPLY_SHARE = 4
"""A reply without ``max_tokens`` is planned with this fraction of the room, one part in so many."""

_RETRIEVAL_TOKENS = 650
"""Tokens that LlamaIndex's question answering needs beside a reply: its template, about 110, a
padding of 500 (``DEFAULT_RESPONSE_PADDING_SIZE``), and the question."""


class Window:
    """The room that LlamaIndex may plan with, since it does not know of the prompt prefix.

    The count is kept, since LlamaIndex asks for it at every call.
    """

    def __init__(self, model: CompletionModel, prompt: Prompt, stated: int | None) -> None:
        """Count nothing yet.

        Args:
            model: The completion model.
            prompt: The prompt.
            stated: The window in tokens, where the user has set it.
        """
        self._model = model
        self._overhead = overhead_text(prompt, with_tools=False)
        self._stated = stated
        self._exact: int | None = None
        self._ratio = TokenRatio(model)

    @property
    def room(self) -> int:
        """Tokens of the window beside the prefix; may load the tokenizer or ask a server.

        LlamaIndex asks for it within event loops too, which must not be blocked: there it is an
        estimate, if the window is known, until it was counted elsewhere.
        """
        estimate = self.known_room if _in_event_loop() else None
        return self.counted_room if estimate is None else estimate

    @property
    def counted_room(self) -> int:
        """As ``room``, counted with the model's tokenizer where there is one."""
        if self._exact is None:
            window = self._stated or self._model.context_window or DEFAULT_CONTEXT_WINDOW
            self._exact = max(window - self._model.count_tokens(self._overhead), 0)
        return self._exact

    @property
    def known_room(self) -> int | None:
        """As ``room``, but estimated and without loading anything; None if unknown."""
        if self._exact is not None:
            return self._exact
        window = self._stated or self._model.known_context_window
        return max(window - estimate_tokens(self._overhead), 0) if window else None

    @property
    def ratio(self) -> float:
        """The model's tokens for each that LlamaIndex counts; an estimate where ``room`` is one."""
        return self._ratio.estimate if _in_event_loop() else self._ratio.counted

    @property
    def known_ratio(self) -> float | None:
        """As ``ratio``, without loading anything; None if LlamaIndex has no tokenizer yet."""
        return self._ratio.estimate if global_tokenizer_is_set() else None


def num_output(room: int, max_tokens: int | None) -> int:
    """Return the tokens that LlamaIndex has to reserve for a reply."""
    return max_tokens or max(min(DEFAULT_MAX_TOKENS, room // _REPLY_SHARE), 1)


def warn_if_too_small(window: Window, prompt: Prompt, max_tokens: int | None) -> None:
    """Warn if the window is too small for a question about a retrieved text."""
    estimate = window.known_room
    if estimate is None or _holds_retrieval(estimate, max_tokens):
        return
    room = window.counted_room  # the estimate is conservative: count before warning
    if not _holds_retrieval(room, max_tokens):
        warnings.warn(
            f"The model's window leaves {room} tokens beside the prompt {prompt.name!r} and a "
            f"reply may take {num_output(room, max_tokens)}: too little for LlamaIndex's "
            f"query engines, which need about {_RETRIEVAL_TOKENS} besides the reply. Choose a "
            "shorter prompt (such as 'short'), a smaller max_tokens, or a model with a larger "
            "window.",
            stacklevel=8,
        )


def _holds_retrieval(room: int, max_tokens: int | None) -> bool:
    return room - num_output(room, max_tokens) >= _RETRIEVAL_TOKENS


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
