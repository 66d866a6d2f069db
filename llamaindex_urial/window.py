"""Window: the context window that LlamaIndex may plan prompts and memories with."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from math import ceil

from llama_index.core.constants import (
    DEFAULT_CHUNK_SIZE,
    DEFAULT_CONTEXT_WINDOW,
    DEFAULT_SIMILARITY_TOP_K,
)

from llamaindex_urial.token_ratio import Ratios, TokenRatios, global_tokenizer_is_set
from urial_core import CompletionModel, Prompt
from urial_core.completion import estimate_tokens
from urial_core.composing import overhead_text
from urial_core.parameters import DEFAULT_MAX_TOKENS
from urial_core.prompts.turns import write_tools

__all__ = ["Window", "num_output", "warn_if_too_small"]

_REPLY_SHARE = 4
"""A reply without ``max_tokens`` is planned with this fraction of the room, one part in so many."""

_RETRIEVAL_TOKENS = 650
"""Tokens that LlamaIndex's question answering needs beside a reply: its template, about 110, a
padding of 500 (``DEFAULT_RESPONSE_PADDING_SIZE``), and the question."""

_PASSAGES_TOKENS = DEFAULT_SIMILARITY_TOP_K * DEFAULT_CHUNK_SIZE
"""Tokens of the texts that LlamaIndex retrieves by default: they keep room in one prompt, whatever
memories may need, since with less an answer would be pieced together."""

_MEMORY_PADDING = 256
"""Tokens by which LlamaIndex's chat engines keep their memory below the window. An agent's
``ChatMemoryBuffer`` keeps a quarter of it."""


class Window:
    """The tokens that LlamaIndex may plan with, since it does not know what a prompt holds besides.

    Its query engines fill the window with one message; its memories fill it with the contents of
    many, and count neither turn headers nor tools. Counts are kept, since LlamaIndex asks for the
    window at every call.
    """

    def __init__(
        self, model: CompletionModel, prompt: Prompt, stated: int | None, *, tools: bool
    ) -> None:
        """Count nothing yet.

        Args:
            model: The completion model.
            prompt: The prompt.
            stated: The window in tokens, where the user has set it.
            tools: Whether LlamaIndex may pass tools.
        """
        self._model = model
        self._around = overhead_text(prompt, with_tools=False)
        listed = prompt.tool_examples.tools if tools else ()  # in place of those, unknown, to come
        self._around_memory = overhead_text(prompt, with_tools=tools) + write_tools(
            listed, prompt.format
        )
        self._stated = stated
        self._exact: tuple[int, int] | None = None
        self._ratios = TokenRatios(model, prompt)

    def size(self, max_tokens: int | None) -> int:
        """Return the window in LlamaIndex's tokens; may load the tokenizer or ask a server.

        LlamaIndex asks for it within event loops too, which must not be blocked: there it is an
        estimate, if the window is known, until it was counted elsewhere.
        """
        rooms = self._known_rooms if _in_event_loop() else None
        return self._planned(rooms or self._counted_rooms, max_tokens, self._ratios_now)

    def known_size(self, max_tokens: int | None) -> int | None:
        """As ``size``, without loading anything; None if unknown."""
        rooms = self._known_rooms if global_tokenizer_is_set() else None
        return rooms and self._planned(rooms, max_tokens, self._ratios.estimate)

    @property
    def ratio(self) -> float:
        """The model's tokens for each that LlamaIndex counts; an estimate where ``size`` is one."""
        return self._ratios_now.text

    @property
    def known_ratio(self) -> float | None:
        """As ``ratio``, without loading anything; None if LlamaIndex has no tokenizer yet."""
        return self._ratios.estimate.text if global_tokenizer_is_set() else None

    @property
    def counted_room(self) -> int:
        """The model's tokens beside the prefix, counted with its tokenizer where there is one."""
        return self._counted_rooms[0]

    @property
    def known_room(self) -> int | None:
        """As ``counted_room``, but estimated and without loading anything; None if unknown."""
        rooms = self._known_rooms
        return rooms and rooms[0]

    @property
    def _ratios_now(self) -> Ratios:
        return self._ratios.estimate if _in_event_loop() else self._ratios.counted

    @property
    def _counted_rooms(self) -> tuple[int, int]:
        """The model's tokens for one message, and for a conversation with tools."""
        if self._exact is None:
            window = self._stated or self._model.context_window or DEFAULT_CONTEXT_WINDOW
            self._exact = self._rooms(window, self._model.count_tokens)
        return self._exact

    @property
    def _known_rooms(self) -> tuple[int, int] | None:
        if self._exact is not None:
            return self._exact
        window = self._stated or self._model.known_context_window
        return self._rooms(window, estimate_tokens) if window else None

    def _rooms(self, window: int, count: Callable[[str], int]) -> tuple[int, int]:
        return max(window - count(self._around), 0), max(window - count(self._around_memory), 0)

    def _planned(self, rooms: tuple[int, int], max_tokens: int | None, ratios: Ratios) -> int:
        """Return the largest window with which memories fit and question answering still works."""
        message, conversation = rooms
        beside_reply = max(conversation - num_output(conversation, max_tokens), 0)
        memory = int(beside_reply / ratios.turns) + _MEMORY_PADDING
        passages = _RETRIEVAL_TOKENS + _PASSAGES_TOKENS
        reply = max_tokens / ratios.text if max_tokens else passages / (_REPLY_SHARE - 1)
        return min(int(message / ratios.text), max(memory, passages + ceil(reply)))


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
