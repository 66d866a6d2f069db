"""LlamaIndex's LlamaCPP class as a completion model, by the llama.cpp object inside it.

The class ignores the arguments of a call, stop strings among them, and streams by changing its own
settings. The object inside it takes all of them, keeps the last page's state, and allows one call
at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from llamaindex_urial.completion_llm import usage_of
from urial_core.backends.in_thread import worker_for
from urial_core.backends.llama_grammar import llama_grammar
from urial_core.backends.one_by_one import OneByOneModel
from urial_core.completion import Completion, CompletionChunk
from urial_core.constraint import Constraint, JsonSchema
from urial_core.request import Request

__all__ = ["LlamaCppModel"]

_ARGUMENTS = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repeat_penalty",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
}


class LlamaCppModel(OneByOneModel):
    """Calls the ``llama_cpp.Llama`` of a ``llama_index.llms.llama_cpp.LlamaCPP``."""

    def __init__(self, llm: Any, call: Mapping[str, Any] | None = None) -> None:
        """Wrap the LLM, with more keyword arguments for every call."""
        self._llm = llm
        self._model: Any = llm._model  # noqa: SLF001 - the class offers no other way to it
        self._call = dict(call or {})
        self.worker = worker_for(self._model)

    @property
    def name(self) -> str:
        """The model file."""
        return str(self._llm.model_path)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model file and how it is run."""
        return {
            "engine": "LlamaCPP",
            "model_path": self._llm.model_path,
            "generate_kwargs": repr(self._llm.generate_kwargs),
            "model_kwargs": repr(self._llm.model_kwargs),
            "call": sorted(self._call.items()),
        }

    @property
    def context_window(self) -> int:
        """The window that the model was loaded with."""
        return int(self._model.n_ctx())

    @property
    def counts_exactly(self) -> bool:
        """Yes: the object has its model's tokenizer."""
        return True

    @property
    def token_ids(self) -> Callable[[str], list[int]]:
        """The model's own encoding."""
        return self._encode

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens, the begin-of-text token included."""
        return len(self._encode(text))

    def constrains(self, constraint: Constraint) -> bool:
        """Whether the object holds a completion to this form: to JSON schemas, by ``grammar``."""
        return isinstance(constraint, JsonSchema)

    def with_call(self, call: Mapping[str, Any]) -> LlamaCppModel:
        """The same with more keyword arguments for every call."""
        return LlamaCppModel(self._llm, {**self._call, **call})

    def complete_one(self, request: Request) -> Completion:
        """Complete a page."""
        return _chunk(self._model(request.prompt, **self._arguments(request), stream=False))

    def stream_one(self, request: Request) -> Generator[CompletionChunk]:
        """Complete a page piece by piece."""
        for part in self._model(request.prompt, **self._arguments(request), stream=True):
            yield _chunk(part)

    def _encode(self, text: str) -> list[int]:
        return list(self._model.tokenize(text.encode(), add_bos=True, special=False))

    def _arguments(self, request: Request) -> dict[str, Any]:
        own = {k: v for k, v in self._llm.generate_kwargs.items() if k not in ("stop", "stream")}
        said = {
            theirs: value
            for ours, theirs in _ARGUMENTS.items()
            if (value := getattr(request.parameters, ours)) is not None
        }
        if isinstance(request.constraint, JsonSchema):
            said["grammar"] = llama_grammar(request.constraint)
        return {**own, **said, "stop": list(request.stop), **self._call}


def _chunk(part: Mapping[str, Any]) -> CompletionChunk:
    choice = part["choices"][0]
    reason = choice.get("finish_reason")
    return CompletionChunk(
        choice["text"],
        finish=reason if reason in ("stop", "length") else None,
        usage=usage_of(part),
    )
