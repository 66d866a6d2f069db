"""This project's errors as LangChain knows them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from langchain_core.exceptions import ContextOverflowError as LangChainContextOverflowError

from urial_core.errors import ContextOverflowError

__all__ = ["ChatContextOverflowError", "langchain_errors"]


class ChatContextOverflowError(ContextOverflowError, LangChainContextOverflowError):
    """The conversation does not fit the window; LangChain's own class for that is a base."""


@contextmanager
def langchain_errors() -> Generator[None]:
    """Raise LangChain's counterpart where it has one."""
    try:
        yield
    except ContextOverflowError as error:
        raise ChatContextOverflowError(
            error.window, error.prompt_tokens, error.max_tokens, error.parts
        ) from error
