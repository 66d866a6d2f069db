"""A check that tells, when it fails, which contract was broken and who relies on it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

__all__ = ["contract"]

P = ParamSpec("P")


def contract(relied_on_by: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Mark a test whose docstring is a rule of LlamaIndex's contract.

    Whatever error the test fails with gets the rule as a note.

    Args:
        relied_on_by: Where the rule comes from: the reader in llama-index-core.
    """

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        rule = " ".join(inspect.cleandoc(test.__doc__ or "").split())

        @wraps(test)
        def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            __tracebackhide__ = True
            try:
                test(*args, **kwargs)
            except Exception as error:
                error.add_note(f"Contract: {rule}\nRelied on by: {relied_on_by}")
                raise

        return checked

    return decorate
