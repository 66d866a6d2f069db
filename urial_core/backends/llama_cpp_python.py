"""llama-cpp-python's ``Llama`` as a completion model.

The LLM classes that both frameworks wrap around it lose what it accepts and reports: stop strings,
most parameters, the finish reason, usage. The object keeps the KV cache of the last prompt and
allows one call at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from urial_core.backends.blocking import SingleRequestModel, worker_for
from urial_core.backends.completions_server.response import usage_of
from urial_core.backends.wrapping import same_names
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
)
from urial_core.errors import UnsupportedSchemaError
from urial_core.parameters import SAMPLING
from urial_core.structured.constraints import JsonSchema

__all__ = ["Llama", "LlamaModel"]

_ARGUMENTS = same_names(*SAMPLING, repetition_penalty="repeat_penalty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama:
    """A ``llama_cpp.Llama`` and what its owner has set for it.

    Attributes:
        model: The object.
        name: The model file.
        cache_key: What decides its output.
        settings: Keyword arguments of each call; a request's own take precedence.
    """

    model: Any
    name: str
    cache_key: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


class LlamaModel(SingleRequestModel):
    """Calls a ``llama_cpp.Llama``."""

    def __init__(self, llama: Llama, call: Mapping[str, Any] | None = None) -> None:
        """Wrap the object.

        Args:
            llama: The object and its settings; stop strings come from the request alone.
            call: Keyword arguments for every call, which take precedence over all others.
        """
        self._llama = llama
        self._model = llama.model
        self._call = dict(call or {})
        self.worker = worker_for(self._model)

    @property
    def name(self) -> str:
        """The model file."""
        return self._llama.name

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The model file and how it is run."""
        return {**self._llama.cache_key, "call": sorted(self._call.items())}

    @property
    def context_window(self) -> int:
        """The context window that the model was loaded with, in tokens."""
        return int(self._model.n_ctx())

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self._encode

    @property
    def features(self) -> ModelFeatures:
        """JSON schemas, by ``grammar``; keyword arguments of the object's call."""
        return ModelFeatures(
            enforces_json=True,
            with_arguments=lambda more: LlamaModel(self._llama, {**self._call, **more}),
        )

    def complete_one(self, request: CompletionRequest) -> Completion:
        """Complete a prompt."""
        return _chunk_of(self._model(request.prompt, **self._arguments(request), stream=False))

    def stream_one(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Stream a completion."""
        for part in self._model(request.prompt, **self._arguments(request), stream=True):
            yield _chunk_of(part)

    def _encode(self, text: str) -> list[int]:
        return list(self._model.tokenize(text.encode(), add_bos=True, special=False))

    def _arguments(self, request: CompletionRequest) -> dict[str, Any]:
        arguments = {**self._llama.settings, **request.parameters.under_names(_ARGUMENTS)}
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
