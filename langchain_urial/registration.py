"""Make ``init_chat_model("urial:...")`` work."""

from __future__ import annotations

from typing import Any

from langchain_urial.chat_models import ChatUrial
from langchain_urial.replies import PROVIDER
from urial_core.errors import MissingDependencyError

__all__ = ["register"]


def register() -> None:
    """Register ChatUrial with LangChain's ``init_chat_model`` as the provider ``urial``.

    LangChain offers integrations outside its own repository no public way to do this, so the entry
    goes into a private table of ``langchain.chat_models.base``; hence never on import.

    Raises:
        MissingDependencyError: ``langchain`` is not installed, or keeps no such table any more.
    """
    try:
        from langchain.chat_models import base

        table: dict[str, tuple[str, str, Any]] = base._BUILTIN_PROVIDERS
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            "register() needs the langchain package, in a version with init_chat_model: "
            "pip install -U langchain"
        ) from error
    table[PROVIDER] = ("langchain_urial", ChatUrial.__name__, _create)


def _create(cls: type[ChatUrial], **kwargs: Any) -> ChatUrial:
    return cls(**kwargs)
