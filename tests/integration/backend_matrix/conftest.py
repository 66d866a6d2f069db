"""The one real server, the fake servers that it answers for, and the models in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules that all files share

from backend_case import BackendCase
from backend_cases import BACKENDS, FAKE_SERVERS, Kind
from running_server import LlamaServer

from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.transformers import TransformersModel
from urial_core.demo import demo_model_file

FIELDS = {"prompt": "short", "max_tokens": 12, "temperature": 0.0, "repetition_penalty": 1.0}
"""Greedy, with a short prompt, without penalties: servers apply them to the prompt's tokens too."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[LlamaServer]:
    """Start a llama.cpp server with one slot and no store of earlier states.

    So its prefix cache holds exactly what the previous request left: greedy text depends on that.
    """
    pytest.importorskip("xllamacpp", reason="needs the extra llamacpp")
    options = ["--slots", "1", "--cache-ram", "0"]
    started = LlamaServer(tmp_path_factory.mktemp("slots"), options=options)
    yield started
    started.kill()


@pytest.fixture(scope="session")
def ollama(server: LlamaServer) -> Generator[str]:
    """Return the URL of the fake Ollama server."""
    with FAKE_SERVERS["ollama"](server.url).running() as url:
        yield url


@pytest.fixture(scope="session")
def fake_tgi(server: LlamaServer) -> Generator[str]:
    """Return the URL of the fake TGI server."""
    with FAKE_SERVERS["tgi"](server.url).running() as url:
        yield url


@pytest.fixture
def tgi(fake_tgi: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the same, with Hugging Face's client online: it refuses the loopback offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return fake_tgi


@pytest.fixture(scope="session")
def loaded(demo_model: TransformersModel) -> tuple[Any, Any]:
    """Return the base model and its tokenizer as transformers objects, in float32."""
    return demo_model._ready_engine().model, demo_model._tokenization()._tokenizer


@pytest.fixture(scope="session")
def llama() -> Generator[LlamaCppModel]:
    """Return the base model on this project's llama.cpp backend in this process."""
    model = LlamaCppModel(demo_model_file(), n_ctx=2048, n_parallel=1, n_threads=1)
    yield model
    model.close()


@pytest.fixture(scope="session")
def langchain_llama_cpp() -> Any:
    """Return LangChain's class around llama.cpp in this process."""
    from langchain_community.llms import LlamaCpp

    return LlamaCpp(model_path=str(demo_model_file()), n_ctx=2048, n_threads=1, verbose=False)


@pytest.fixture(scope="session")
def llamaindex_llama_cpp() -> Any:
    """Return LlamaIndex's class around llama.cpp in this process."""
    from llama_index.llms.llama_cpp import LlamaCPP

    return LlamaCPP(
        model_path=str(demo_model_file()),
        context_window=2048,
        model_kwargs={"n_threads": 1},
        verbose=False,
    )


@pytest.fixture(params=list(BACKENDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Return each kind of backend in turn."""
    found = BACKENDS[request.param]
    if found.missing:
        pytest.skip(f"needs the package {found.needs}, which must be compiled")
    return found


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[..., BackendCase]:
    """Return a function that makes a backend case, with further fields of the chat model."""
    return lambda kind, **fields: kind.make(request.getfixturevalue, **{**FIELDS, **fields})


@pytest.fixture
def backend_case(kind: Kind, make: Callable[..., BackendCase]) -> BackendCase:
    """Return each backend case in turn, greedy, with a short prompt and short replies."""
    return make(kind)
