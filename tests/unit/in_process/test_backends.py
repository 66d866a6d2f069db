"""The backend of a model in this process, and its options."""

from __future__ import annotations

from pathlib import Path

import pytest

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core import errors
from urial_core.backends import in_process
from urial_core.backends.in_process import model_in_process, shared_model
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.transformers import TransformersModel
from urial_core.errors import MissingDependencyError, ParameterError

pytestmark = pytest.mark.needs("torch", "xllamacpp")


@pytest.mark.parametrize(
    ("model_id", "options", "backend"),
    [
        ("some/model", {}, TransformersModel),
        ("folder/model.gguf", {}, LlamaCppModel),
        ("folder/MODEL.GGUF", {"backend": "auto"}, LlamaCppModel),
        ("model.gguf", {"n_ctx": 512}, LlamaCppModel),
        ("model.gguf", {"token": "hf_secret"}, LlamaCppModel),
        ("model.gguf", {"dtype": "float32"}, TransformersModel),
        ("model.gguf", {"backend": "transformers"}, TransformersModel),
        ("model", {"backend": "llama.cpp"}, LlamaCppModel),
    ],
)
def test_the_backend_follows_the_model_and_options(
    model_id: str, options: dict[str, object], backend: type
) -> None:
    """A GGUF file runs on llama.cpp unless transformers' options are given; others do not."""
    assert type(model_in_process(model_id, options)) is backend


def test_without_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without llama.cpp a GGUF file runs on transformers; named, it is reported missing."""
    monkeypatch.setattr(in_process, "find_spec", lambda name: None if name == "xllamacpp" else name)
    assert isinstance(model_in_process("model.gguf", {}), TransformersModel)
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "xllamacpp" else name)
    with pytest.raises(MissingDependencyError, match=r"\.\[llamacpp\]"):
        model_in_process("model.gguf", {"backend": "llama.cpp"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "vllm"}, "backend is 'vllm': use one of auto, llama.cpp, transformers"),
        ({"backend": "llama.cpp", "dtype": "float32"}, "Unknown option dtype.*n_parallel"),
        ({"backend": "transformers", "n_ctx": 4}, "Unknown option n_ctx.*dtype"),
        ({"n_ctx": 4, "dtype": "float32"}, "Unknown option dtype"),
        ({"n_threads": 0}, "n_threads 0"),
        ({"n_ctx": -1}, "n_ctx is -1"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, object], message: str) -> None:
    """An unknown backend or option is an error that lists the known ones."""
    with pytest.raises(ParameterError, match=message):
        model_in_process("model.gguf", options)


def test_a_server_is_no_model_in_this_process() -> None:
    """A server's URL is not looked up on the hub: the error names what takes it."""
    with pytest.raises(ParameterError, match=r"URL of a server: ChatUrial\.from_endpoint"):
        model_in_process("http://127.0.0.1:8000/v1", {})


def test_equal_arguments_share_a_model() -> None:
    """The same arguments give the same model, others another."""
    one = shared_model("a.gguf", {"n_ctx": 512})
    assert shared_model("a.gguf", {"n_ctx": 512}) is one
    assert shared_model("a.gguf", {"n_ctx": 1024}) is not one


def test_llama_cpp_cache_key() -> None:
    """Options that decide the text are part of it; the number of threads is not."""
    cache_key = LlamaCppModel("a.gguf", n_threads=1).cache_key
    assert LlamaCppModel("a.gguf", n_threads=2).cache_key == cache_key
    assert LlamaCppModel("b.gguf").cache_key != cache_key
    assert LlamaCppModel("a.gguf", params={"rope_freq_base": 1.0}).cache_key != cache_key


@pytest.mark.parametrize("kind", [ChatUrial, UrialLLM])
def test_options_are_fields_in_both_frameworks(kind: type[ChatUrial | UrialLLM]) -> None:
    """The backend and its options can be given as fields, and nothing is loaded for that."""
    chat = kind.from_model_id(Path("model.gguf"), n_parallel=2, max_tokens=7)
    assert chat.backend_options == {"n_parallel": 2}
    model = chat._wrapped.model
    assert isinstance(model, LlamaCppModel)
    assert model.known_context_window is None
    direct = kind(model="model.gguf", backend="transformers")
    assert isinstance(direct._wrapped.model, TransformersModel)
