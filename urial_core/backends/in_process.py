"""Models that run in this process: the backend of each, and one loaded model for all its users.

Frameworks create chat models anew at any time (LangChain's ``configurable_fields``, LlamaIndex's
``from_dict``); the model behind them must not be loaded again.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from weakref import WeakValueDictionary

from urial_core.backends.completions_server import is_server_url
from urial_core.backends.llama_cpp import NEEDED_PACKAGES, LlamaCppModel
from urial_core.backends.transformers import TransformersModel
from urial_core.errors import ParameterError

__all__ = [
    "BACKENDS",
    "BACKEND_OPTIONS",
    "InProcessModel",
    "backend_for",
    "model_in_process",
    "shared_model",
    "without_token",
]

InProcessModel = LlamaCppModel | TransformersModel
"""A model of either backend."""

_OPTIONS = {
    "llama.cpp": inspect.signature(LlamaCppModel).parameters.keys() - {"model"},
    "transformers": inspect.signature(TransformersModel).parameters.keys() - {"model", "tokenizer"},
}

BACKENDS = ("auto", *_OPTIONS)
"""Values of the option ``backend``."""

BACKEND_OPTIONS = frozenset({"backend"}.union(*_OPTIONS.values()))
"""Names of the options of a model that runs in this process."""

_TOKENS = ("token", "use_auth_token")
"""Names of a hub token among a model's options, and among its ``model_kwargs``."""

_SHARED = WeakValueDictionary[str, InProcessModel]()
_shared_lock = threading.Lock()


def model_in_process(model_id: str, options: Mapping[str, Any]) -> InProcessModel:
    """Return a model that runs in this process. Nothing is loaded before it is needed.

    With ``backend="auto"``, the default, a ``.gguf`` file runs on llama.cpp where that is
    installed, unless options of transformers are given (``dtype`` and the like); anything else
    runs on transformers.

    Args:
        model_id: A hub id, a local folder or a ``.gguf`` file.
        options: ``backend``, and the backend's own options.

    Raises:
        ParameterError: There is no such backend, or it has no such option; or the model is behind
            a server.
        MissingDependencyError: The backend is not installed.
    """
    if is_server_url(model_id):
        raise ParameterError(
            f"{model_id} is the URL of a server: ChatUrial.from_endpoint(...) and "
            "UrialLLM.from_endpoint(...) take it."
        )
    own = dict(options)
    backend = own.pop("backend", "auto")
    if backend not in BACKENDS:
        raise ParameterError(f"backend is {backend!r}: use one of {', '.join(BACKENDS)}.")
    if backend == "auto":
        backend = backend_for(model_id, own)
    if backend == "llama.cpp":
        own.pop("token", None)  # for the hub, which has no part in a local file
    known = _OPTIONS[backend]
    if unknown := own.keys() - known:
        raise ParameterError(
            f"Unknown option {', '.join(sorted(unknown))}: it is neither a field nor an option of "
            f"{backend}, which are {', '.join(sorted(known))}."
        )
    model: type[InProcessModel] = LlamaCppModel if backend == "llama.cpp" else TransformersModel
    return model(model_id, **own)


def shared_model(model_id: str, options: Mapping[str, Any]) -> InProcessModel:
    """As ``model_in_process``, but return the same object for the same arguments.

    Raises:
        ParameterError: There is no such backend, or it has no such option.
        MissingDependencyError: The backend is not installed.
    """
    key = f"{model_id}|{sorted(options.items(), key=str)!r}"
    with _shared_lock:
        model = _SHARED.get(key)
        if model is None:
            model = _SHARED[key] = model_in_process(model_id, options)
        return model


def without_token(options: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return a model's options without the hub token, and the token, from wherever it was."""
    own = dict(options)
    nested = own.get("model_kwargs")
    if isinstance(nested, Mapping):
        own["model_kwargs"], token = without_token(nested)
        if token is not None:
            own.setdefault("token", token)
    found = [own.pop(name) for name in _TOKENS if isinstance(own.get(name), str)]
    return own, next(iter(found), None)


def backend_for(model_id: str, options: Mapping[str, Any]) -> str:
    """Return the backend that "auto" stands for, with a model and options of a backend."""
    if not model_id.lower().endswith(".gguf"):
        return "transformers"
    given = options.keys() - {"token"}
    if given & _OPTIONS["llama.cpp"]:
        return "llama.cpp"
    installed = all(find_spec(package) for package in NEEDED_PACKAGES)
    return "transformers" if given & _OPTIONS["transformers"] or not installed else "llama.cpp"
