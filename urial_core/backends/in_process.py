"""Models that run in this process: which engine runs one, and one in memory for all who name it.

Frameworks make chat models anew at will (LangChain's ``configurable_fields``, LlamaIndex's
``from_dict``); the model behind them must not be loaded again.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from weakref import WeakValueDictionary

from urial_core.backends.llama_cpp import NEEDED_PACKAGES, LlamaCppModel
from urial_core.backends.transformers import TransformersModel
from urial_core.errors import ParameterError

__all__ = ["BACKENDS", "BACKEND_OPTIONS", "InProcessModel", "model_in_process", "shared_model"]

BACKENDS = ("auto", "llama.cpp", "transformers")
"""What the option ``engine`` may be."""

InProcessModel = LlamaCppModel | TransformersModel
"""A model of either engine."""

_OF_LLAMA_CPP = inspect.signature(LlamaCppModel).parameters.keys() - {"model"}
_OF_TRANSFORMERS = inspect.signature(TransformersModel).parameters.keys() - {"model", "tokenizer"}

BACKEND_OPTIONS = frozenset({"engine", *_OF_LLAMA_CPP, *_OF_TRANSFORMERS})
"""Names of the options of a model that runs in this process."""

_SHARED = WeakValueDictionary[str, InProcessModel]()
_sharing = threading.Lock()


def model_in_process(model_id: str, options: Mapping[str, Any]) -> InProcessModel:
    """Make a model that runs in this process. Nothing is loaded before it is needed.

    With ``engine="auto"``, which is the default, a ``.gguf`` file runs on llama.cpp where that is
    installed, unless options of transformers are given (``dtype`` and the like); anything else
    runs on transformers.

    Args:
        model_id: A hub id, a local folder or a ``.gguf`` file.
        options: ``engine``, and the engine's own options.

    Raises:
        ParameterError: There is no such engine, or it has no such option.
        MissingDependencyError: The engine is not installed.
    """
    own = dict(options)
    engine = own.pop("engine", "auto")
    if engine not in BACKENDS:
        raise ParameterError(f"engine is {engine!r}: use one of {', '.join(BACKENDS)}.")
    if engine == "auto":
        engine = _backend_for(model_id, own)
    if engine == "llama.cpp":
        own.pop("token", None)  # the hub's, for what is no file
        _check(engine, own, _OF_LLAMA_CPP)
        return LlamaCppModel(model_id, **own)
    _check(engine, own, _OF_TRANSFORMERS)
    return TransformersModel(model_id, **own)


def shared_model(model_id: str, options: Mapping[str, Any]) -> InProcessModel:
    """As ``model_in_process``: the same object for all who ask with these words.

    Raises:
        ParameterError: There is no such engine, or it has no such option.
        MissingDependencyError: The engine is not installed.
    """
    key = f"{model_id}|{sorted(options.items(), key=str)!r}"
    with _sharing:
        model = _SHARED.get(key)
        if model is None:
            model = _SHARED[key] = model_in_process(model_id, options)
        return model


def _backend_for(model_id: str, options: Mapping[str, Any]) -> str:
    if not model_id.lower().endswith(".gguf"):
        return "transformers"
    said = options.keys() - {"token"}
    if said & _OF_LLAMA_CPP:
        return "llama.cpp"
    return "transformers" if said & _OF_TRANSFORMERS or not _has_llama_cpp() else "llama.cpp"


def _has_llama_cpp() -> bool:
    return all(find_spec(package) for package in NEEDED_PACKAGES)


def _check(engine: str, options: Mapping[str, Any], known: frozenset[str] | set[str]) -> None:
    unknown = options.keys() - known
    if unknown:
        raise ParameterError(
            f"Unknown option {', '.join(sorted(unknown))}: there is no such field, and the "
            f"options of {engine} are {', '.join(sorted(known))}."
        )
