"""Every error a user of this project can meet.

UrialError
├── PromptError                 a prompt or its file is invalid
│   └── UnknownPromptError      no preset and no file of that name
├── ConversationError           the messages are no conversation to answer
│   └── UnsupportedContentError content that is not text
├── ParameterError              a parameter's value is out of range
│   └── UnsupportedSchemaError  a JSON schema that cannot be enforced
├── ContextOverflowError        prompt and reply do not fit the context window
├── AnalysisError               questions, records or settings of an analysis are invalid
└── ModelError                  something about the wrapped model
    ├── MissingDependencyError  an optional package is not installed (also an ImportError)
    ├── ModelLoadError          the model could not be loaded
    ├── UnsupportedModelError   the object cannot serve as a completion model
    ├── ServerError             the server that runs the model refused or failed
    │   └── ServerUnreachableError  it did not answer at all
    └── GenerationError         the model failed while it was generating
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

__all__ = [
    "AnalysisError",
    "ContextOverflowError",
    "ConversationError",
    "GenerationError",
    "MissingDependencyError",
    "ModelError",
    "ModelLoadError",
    "ParameterError",
    "PromptError",
    "ServerError",
    "ServerUnreachableError",
    "UnknownPromptError",
    "UnsupportedContentError",
    "UnsupportedModelError",
    "UnsupportedSchemaError",
    "UrialError",
    "install_hint",
    "shown",
]


class UrialError(Exception):
    """Base of all errors of this project; its message says what was invalid and what to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the error without its ``__init__``, which may take more than a message.

        Process pools send errors so.
        """
        return _remade, (type(self), *self.args), self.__dict__


class PromptError(UrialError):
    """A prompt, or the file it comes from, is not well formed."""


class UnknownPromptError(PromptError):
    """What was asked for is neither a preset's name nor a file."""


class ConversationError(UrialError):
    """The messages cannot be written as a conversation the model could continue."""


class UnsupportedContentError(ConversationError):
    """A message holds something other than text."""


class ParameterError(UrialError):
    """A generation parameter's value is out of range or of another type."""


class UnsupportedSchemaError(ParameterError):
    """A JSON schema is invalid, or uses something that cannot be enforced."""


class ContextOverflowError(UrialError):
    """Prompt and reply do not fit the model's context window.

    It is no ``ValueError``, since LlamaIndex's ``Refine`` swallows those.

    Attributes:
        window: The model's context window, in tokens.
        prompt_tokens: Tokens of the prompt.
        max_tokens: Tokens asked for the reply.
        parts: The prompt's parts with their tokens, largest first.
        advice: What to do, where it was found.
    """

    def __init__(
        self,
        window: int,
        prompt_tokens: int,
        max_tokens: int,
        parts: Sequence[tuple[str, int]],
        advice: str = "Shorten the conversation, or lower max_tokens.",
    ) -> None:
        self.window = window
        self.prompt_tokens = prompt_tokens
        self.max_tokens = max_tokens
        self.parts = tuple(sorted(parts, key=lambda part: -part[1]))
        self.advice = advice
        largest = ", ".join(f"{name} {tokens}" for name, tokens in self.parts[:3])
        super().__init__(
            f"The prompt needs {prompt_tokens} tokens and the reply {max_tokens}, together "
            f"{prompt_tokens + max_tokens}, but the model's context window is {window} (its own, "
            "or what context_window= sets, or n_ctx= of llama.cpp). "
            f"{f'Largest parts: {largest}. ' if largest else ''}{advice}"
        )


class AnalysisError(UrialError):
    """A file, an option or earlier results of an analysis are invalid."""


class ModelError(UrialError):
    """The wrapped model is missing, unsuitable, or failed."""


class MissingDependencyError(ModelError, ImportError):
    """An optional package is needed and not installed."""

    @classmethod
    def check(cls, purpose: str, extra: str, *packages: str) -> None:
        """Raise unless packages are installed, with the extra of this project that brings them."""
        if missing := [package for package in packages if not _is_installed(package)]:
            raise cls(f"{purpose} needs {', '.join(missing)}: {install_hint(extra)}")


def install_hint(*extras: str) -> str:
    """Return how to install extras of this project, which no package index has."""
    return f'in a copy of this project\'s repository, pip install -e ".[{",".join(extras)}]"'


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a package around it
        return False


class ModelLoadError(ModelError):
    """The model's files are missing or broken."""


class UnsupportedModelError(ModelError):
    """The object given cannot serve as a completion model."""


class ServerError(ModelError):
    """The server that runs the model refused a request, or failed before any of its answer came.

    Attributes:
        status: The HTTP status of its answer, if there was one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ServerUnreachableError(ServerError):
    """The server did not answer: it is down, elsewhere, or too slow."""


class GenerationError(ModelError):
    """The model failed while it was generating.

    Attributes:
        text: What had been generated of the reply before it failed.
    """

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


def _remade(kind: type[UrialError], *arguments: object) -> UrialError:
    error = kind.__new__(kind, *arguments)
    super(UrialError, error).__init__(*arguments)
    return error


def shown(value: object) -> str:
    """Return a value as an error's message shows it: on one line, and not endlessly."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."
