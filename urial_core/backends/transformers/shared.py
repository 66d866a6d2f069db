"""One model in memory for all who name it in the same words.

Frameworks make chat models anew at will (LangChain's ``configurable_fields``, LlamaIndex's
``from_dict``); the model behind them must not be loaded again.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from urial_core.backends.transformers.model import TransformersModel
from urial_core.errors import ParameterError

__all__ = ["ENGINE_OPTIONS", "shared_model"]

ENGINE_OPTIONS = inspect.signature(TransformersModel).parameters.keys() - {"model", "tokenizer"}
"""Names of the options of a model that runs in this process."""

_SHARED = WeakValueDictionary[str, TransformersModel]()
_sharing = threading.Lock()


def shared_model(model_id: str, options: Mapping[str, Any]) -> TransformersModel:
    """The model of this id and these options, the same object for all who ask for it.

    Raises:
        ParameterError: The engine has no such option.
    """
    unknown = options.keys() - ENGINE_OPTIONS
    if unknown:
        raise ParameterError(
            f"Unknown option {', '.join(sorted(unknown))}: there is no such field, and the "
            f"engine's options are {', '.join(sorted(ENGINE_OPTIONS))}."
        )
    key = f"{model_id}|{sorted(options.items(), key=str)!r}"
    with _sharing:
        model = _SHARED.get(key)
        if model is None:
            model = _SHARED[key] = TransformersModel(model_id, **options)
        return model
