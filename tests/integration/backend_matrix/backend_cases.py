"""The backend matrix: every way in which a user can run the same base model.

To add one, write a function that makes it and a row in ``BACKENDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from backend_case import BackendCase, LangChainBackend, LlamaIndexBackend
from fake_ollama import FakeOllama
from fake_tgi import FakeTgi

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core.demo import demo_model_file

__all__ = ["BACKENDS", "FAKE_SERVERS", "Kind"]

FAKE_SERVERS = {"ollama": FakeOllama, "tgi": FakeTgi}

Given = Callable[[str], Any]
"""Returns a fixture by its name, such as ``server``, ``ollama`` or ``tgi``."""

_WINDOW = 2048


@dataclass(frozen=True)
class Kind:
    """A kind of backend.

    Attributes:
        make: Makes a case of it, from fixtures and the chat model's fields.
        server: Whether the one real server runs the model.
        usage: The ways in which tokens are reported.
        reports_length: Whether the engine reports that it ended at ``max_tokens``.
        constrains: Whether the model can be constrained to a JSON schema.
        closed_by_garbage_collection: Whether the class holds a stream's connection in a reference
            cycle, so that closing the stream closes it only at the next garbage collection.
        needs: A package that it requires and that the extra ``test`` does not install.
    """

    make: Callable[..., BackendCase]
    server: bool = True
    usage: tuple[str, ...] = ("sync", "async", "stream", "async stream", "several")
    reports_length: bool = True
    constrains: bool = True
    closed_by_garbage_collection: bool = False
    needs: str | None = None

    @property
    def missing(self) -> bool:
        """Whether the package it needs is missing."""
        return self.needs is not None and find_spec(self.needs) is None


_NEVER = ()
_WHOLE = ("sync", "async")


def _chat_endpoint(given: Given, **fields: Any) -> BackendCase:
    url = given("server").base_url
    return LangChainBackend(ChatUrial.from_endpoint(url, timeout=120.0, **fields))


def _chat_openai(given: Given, **fields: Any) -> BackendCase:
    from langchain_openai import OpenAI

    llm = OpenAI(base_url=given("server").base_url, api_key="none", model="gemma")
    return LangChainBackend(ChatUrial(llm=llm, **fields))


def _chat_ollama(given: Given, **fields: Any) -> BackendCase:
    from langchain_ollama import OllamaLLM

    return LangChainBackend(
        ChatUrial(llm=OllamaLLM(base_url=given("ollama"), model="gemma"), **fields)
    )


def _chat_tgi(given: Given, **fields: Any) -> BackendCase:
    from langchain_huggingface import HuggingFaceEndpoint

    return LangChainBackend(ChatUrial(llm=HuggingFaceEndpoint(endpoint_url=given("tgi")), **fields))


def _chat_llama_cpp(given: Given, **fields: Any) -> BackendCase:
    return LangChainBackend(ChatUrial(llm=given("langchain_llama_cpp"), **fields))


def _chat_transformers(given: Given, **fields: Any) -> BackendCase:
    model, tokenizer = given("loaded")
    return LangChainBackend(ChatUrial.from_model_id(model, tokenizer, **fields))


def _chat_llama(given: Given, **fields: Any) -> BackendCase:
    return LangChainBackend(ChatUrial(llm=given("llama"), **fields))


def _chat_pipeline(given: Given, **fields: Any) -> BackendCase:
    from langchain_huggingface import HuggingFacePipeline
    from transformers import pipeline

    model, tokenizer = given("loaded")
    made = pipeline("text-generation", model=model, tokenizer=tokenizer)
    return LangChainBackend(ChatUrial(llm=HuggingFacePipeline(pipeline=made), **fields))


def _llm_endpoint(given: Given, **fields: Any) -> BackendCase:
    url = given("server").base_url
    return LlamaIndexBackend(UrialLLM.from_endpoint(url, timeout=120.0, **fields))


def _llm_openai_like(given: Given, **fields: Any) -> BackendCase:
    from llama_index.llms.openai_like import OpenAILike

    llm = OpenAILike(
        model="gemma", api_base=given("server").base_url, api_key="none", context_window=_WINDOW
    )
    return LlamaIndexBackend(UrialLLM(llm=llm, **fields))


def _llm_ollama(given: Given, **fields: Any) -> BackendCase:
    from llama_index.llms.ollama import Ollama

    llm = Ollama(model="gemma", base_url=given("ollama"), context_window=_WINDOW)
    return LlamaIndexBackend(UrialLLM(llm=llm, **fields))


def _llm_llamafile(given: Given, **fields: Any) -> BackendCase:
    from llama_index.llms.llamafile import Llamafile

    return LlamaIndexBackend(UrialLLM(llm=Llamafile(base_url=given("server").url), **fields))


def _llm_llama_cpp(given: Given, **fields: Any) -> BackendCase:
    return LlamaIndexBackend(UrialLLM(llm=given("llamaindex_llama_cpp"), **fields))


def _llm_llama(given: Given, **fields: Any) -> BackendCase:
    return LlamaIndexBackend(UrialLLM(llm=given("llama"), **fields))


def _llm_huggingface(given: Given, **fields: Any) -> BackendCase:
    from llama_index.llms.huggingface import HuggingFaceLLM

    model, tokenizer = given("loaded")
    llm = HuggingFaceLLM(
        model=model, tokenizer=tokenizer, model_name=str(demo_model_file()), context_window=_WINDOW
    )
    return LlamaIndexBackend(UrialLLM(llm=llm, **fields))


BACKENDS = {
    "LangChain from_endpoint": Kind(_chat_endpoint),
    "LangChain OpenAI": Kind(
        _chat_openai, usage=_WHOLE, constrains=False, closed_by_garbage_collection=True
    ),
    "LangChain OllamaLLM": Kind(_chat_ollama),
    "LangChain HuggingFaceEndpoint": Kind(_chat_tgi, usage=_NEVER, reports_length=False),
    "LangChain LlamaCpp": Kind(_chat_llama_cpp, server=False, needs="llama_cpp"),
    "LangChain HuggingFacePipeline": Kind(_chat_pipeline, server=False),
    "LangChain from_model_id, transformers": Kind(_chat_transformers, server=False),
    "LangChain from_model_id, llama.cpp": Kind(_chat_llama, server=False),
    "LlamaIndex from_endpoint": Kind(_llm_endpoint),
    "LlamaIndex OpenAILike": Kind(
        _llm_openai_like, constrains=False, closed_by_garbage_collection=True
    ),
    "LlamaIndex Ollama": Kind(_llm_ollama),
    "LlamaIndex Llamafile": Kind(_llm_llamafile),
    "LlamaIndex LlamaCPP": Kind(_llm_llama_cpp, server=False, needs="llama_index.llms.llama_cpp"),
    "LlamaIndex from_model_id, llama.cpp": Kind(_llm_llama, server=False),
    "LlamaIndex HuggingFaceLLM": Kind(_llm_huggingface, server=False),
}
"""The kinds of backends, by name."""
