"""Naming a base model: the ways in which a user of either framework says which one.

Both adapters' classes are pydantic models of their frameworks'; what they share here are the
constructors, the rule by which the engine's options may stand among the fields, and how the fields
become a completion model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.backends.in_process import BACKEND_OPTIONS, shared_model
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.wrapped import WrappedModel
from urial_core.errors import ParameterError, UnsupportedModelError

__all__ = ["NamesModel", "with_backend_options"]

_ALIASES = ("model", "stop_sequences")


class NamesModel:
    """Constructors for a pydantic class with the fields named here."""

    if TYPE_CHECKING:
        llm: Any
        model_name: str | None
        backend_options: dict[str, Any]
        api_key: SecretStr | None

        @property
        def model_fields_set(self) -> set[str]:
            """Names of the fields that were given."""

        def __init__(self, **fields: Any) -> None: ...

    @classmethod
    def from_model_id(
        cls,
        model_id: Any,
        tokenizer: Any = None,
        *,
        backend_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Run a model in this process. Nothing is loaded before it is needed.

        Args:
            model_id: A hub id, a local folder or a ``.gguf`` file; or a causal language model of
                transformers that is loaded already.
            tokenizer: A loaded model's fast tokenizer.
            backend_options: ``engine`` ("auto", "transformers" or "llama.cpp") and that engine's
                options: those of ``urial_core.backends.transformers.TransformersModel``, such as
                ``dtype``, ``device_map``, ``quantization_config``; or those of
                ``urial_core.backends.llama_cpp.LlamaCppModel``, such as ``n_ctx``, ``n_parallel``.
                By default a ``.gguf`` file runs on llama.cpp where that is installed and no option
                of transformers is given; anything else runs on transformers.
            **kwargs: Fields of this class; the engine's options may stand among them too.
        """
        known = {*_fields_of(cls), *_ALIASES}
        options = dict(backend_options or {})
        options |= {name: kwargs.pop(name) for name in list(kwargs) if name not in known}
        if isinstance(model_id, (str, Path)):
            return cls(model_name=str(model_id), backend_options=options, **kwargs)
        return cls(llm=TransformersModel(model_id, tokenizer, **options), **kwargs)

    @classmethod
    def from_endpoint(
        cls,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | SecretStr | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """Use a base model behind a server with an OpenAI-style ``/v1/completions``.

        Args:
            base_url: The API's base URL, such as ``http://127.0.0.1:8000/v1``.
            model: The model's name there. Default: the first that the server names; it is asked
                for it now. With a name, nothing is sent before the first call.
            api_key: The server's key, if it wants one.
            timeout: Seconds to wait for a connection or for the next piece. Default: the SDK's.
            max_retries: How often a failed request is repeated. Default: the SDK's.
            **kwargs: Fields of this class.
        """
        key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        server = CompletionsServerModel(
            base_url,
            model,
            api_key=key.get_secret_value() if key else None,
            timeout=timeout,
            max_retries=max_retries,
        )
        settings = {"api_key": key, "timeout": timeout, "max_retries": max_retries}
        present = {name: value for name, value in settings.items() if name in _fields_of(cls)}
        return cls(llm=server, **present, **kwargs)

    @property
    def backend_settings(self) -> dict[str, Any]:
        """The engine's options, the hub token among them; not for showing."""
        token = {"token": self.api_key.get_secret_value()} if self.api_key else {}
        return {**token, **self.backend_options}

    def _named_model(self, wrap: Callable[[Any], WrappedModel]) -> WrappedModel:
        """The completion model that the fields name; they are put in order on the way.

        Args:
            wrap: Makes one of what was given as ``llm``.

        Raises:
            ParameterError: There are options for a model that was given set up already.
            UnsupportedModelError: No model is named, or ``llm`` cannot serve as one.
        """
        if isinstance(token := self.backend_options.get("token"), str):  # options are shown
            self.api_key = SecretStr(token)
            self.backend_options = {k: v for k, v in self.backend_options.items() if k != "token"}
        if self.llm is not None and self.backend_options:
            raise ParameterError(
                f"{', '.join(self.backend_options)}: options of a model that "
                f"{type(self).__name__} loads by its id. The llm given is set up already; set them "
                "there."
            )
        if self.llm is not None:
            wrapped = wrap(self.llm)
            if "model_name" not in self.model_fields_set or not self.model_name:
                self.model_name = wrapped.model.name  # and not $URIAL_MODEL
            return wrapped
        if self.model_name:
            return WrappedModel(shared_model(self.model_name, self.backend_settings))
        raise UnsupportedModelError(
            "There is no model: pass llm= (a completion LLM), model= (a hub id, folder or "
            ".gguf file), or set URIAL_MODEL."
        )


def with_backend_options(values: Any) -> Any:
    """A class's arguments, with the engine's options among them gathered in ``backend_options``."""
    if not isinstance(values, dict) or not (found := BACKEND_OPTIONS & values.keys()):
        return values
    options = {**(values.get("backend_options") or {}), **{name: values[name] for name in found}}
    rest = {name: value for name, value in values.items() if name not in found}
    return {**rest, "backend_options": options}


def _fields_of(cls: type) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = cls.model_fields  # type: ignore[attr-defined] # a pydantic class
    return fields
