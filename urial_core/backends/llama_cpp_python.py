"""llama-cpp-python's ``Llama`` as a completion model.

The LLM classes that both frameworks wrap around it lose what it accepts and reports: stop strings,
most parameters, the finish reason, usage. The object keeps the KV cache of the last prompt and
allows one call at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from urial_core.backends.blocking import SingleRequestModel, worker_for
from urial_core.backends.completions_server.payload import LLAMA_CPP
from urial_core.backends.completions_server.response import usage_of
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
)
from urial_core.errors import UnsupportedSchemaError
from urial_core.prompts.escaping import encodable
from urial_core.structured.constraints import JsonSchema

__all__ = ["LlamaModel"]

_ARGUMENTS = {**LLAMA_CPP.sampling, "max_tokens": "max_tokens"}
"""Parameter names: llama.cpp's own."""


class LlamaModel(SingleRequestModel):
    """Calls a ``llama_cpp.Llama``."""

    def __init__(
        self,
        llama: Any,
        *,
        name: str,
        cache_key: Mapping[str, Any],
        settings: Mapping[str, Any],
        call: Mapping[str, Any] | None = None,
    ) -> None:
        """Wrap the object.

        Args:
            llama: The object.
            name: The model file.
            cache_key: What decides its output.
            settings: Keyword arguments of each call; a request's own take precedence. Stop strings
                come from the request alone.
            call: Keyword arguments for every call, which take precedence over all others.
        """
        self._llama = llama
        self._options: Any = {"name": name, "cache_key": cache_key, "settings": settings}
        self._call = dict(call or {})
        self.worker = worker_for(llama)

    @property
    def name(self) -> str:
        """The model file."""
        return str(self._options["name"])

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The model file and how it is run."""
        return {**self._options["cache_key"], "call": sorted(self._call.items())}

    @property
    def context_window(self) -> int:
        """The context window that the model was loaded with, in tokens."""
        return int(self._llama.n_ctx())

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self._encode

    @property
    def features(self) -> ModelFeatures:
        """JSON schemas, by ``grammar``; keyword arguments of the object's call."""
        return ModelFeatures(
            enforces_json=True,
            with_arguments=self._with_arguments,
        )

    def complete_one(self, request: CompletionRequest) -> Completion:
        """Complete a prompt."""
        return _chunk_of(self._llama(request.prompt, **self._arguments(request), stream=False))

    def stream_one(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Stream a completion."""
        for part in self._llama(request.prompt, **self._arguments(request), stream=True):
            yield _chunk_of(part)

    def _with_arguments(self, more: Mapping[str, Any]) -> LlamaModel:
        return LlamaModel(self._llama, **self._options, call={**self._call, **more})

    def _encode(self, text: str) -> list[int]:
        encoded = encodable(text).encode()
        return list(self._llama.tokenize(encoded, add_bos=True, special=False))

    def _arguments(self, request: CompletionRequest) -> dict[str, Any]:
        arguments = {**self._options["settings"], **request.parameters.under_names(_ARGUMENTS)}
        if isinstance(request.constraint, JsonSchema):
            arguments["grammar"] = _grammar_of(request.constraint)
        return {**arguments, "stop": list(request.stop), **self._call}


def _chunk_of(part: Mapping[str, Any]) -> CompletionChunk:
    choice = part["choices"][0]
    return CompletionChunk(choice["text"], choice.get("finish_reason"), usage_of(part))


def _grammar_of(schema: JsonSchema) -> Any:
    """Return the ``LlamaGrammar`` for a schema; a call does not take the schema itself.

    Raises:
        UnsupportedSchemaError: llama-cpp-python cannot convert the schema.
    """
    from llama_cpp import LlamaGrammar

    try:
        return LlamaGrammar.from_json_schema(schema.text, verbose=False)
    except Exception as error:
        raise UnsupportedSchemaError(
            f"llama.cpp cannot enforce the JSON schema {schema.text}: {error}. Simplify the schema."
        ) from error
