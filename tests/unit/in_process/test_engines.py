"""Which engine runs a model in this process, and with what options."""

from __future__ import annotations

from pathlib import Path

import pytest

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core.backends import in_process
from urial_core.backends.in_process import model_in_process, shared_model
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.transformers import TransformersModel
from urial_core.errors import MissingDependencyError, ParameterError

pytestmark = pytest.mark.needs("torch", "xllamacpp")


@pytest.mark.parametrize(
    ("model_id", "options", "engine"),
    [
        ("some/model", {}, TransformersModel),
        ("folder/model.gguf", {}, LlamaCppModel),
        ("folder/MODEL.GGUF", {"engine": "auto"}, LlamaCppModel),
        ("model.gguf", {"n_ctx": 512}, LlamaCppModel),
        ("model.gguf", {"token": "hf_secret"}, LlamaCppModel),
        ("model.gguf", {"dtype": "float32"}, TransformersModel),
        ("model.gguf", {"engine": "transformers"}, TransformersModel),
        ("model", {"engine": "llama.cpp"}, LlamaCppModel),
    ],
)
def test_which_engine(model_id: str, options: dict[str, object], engine: type) -> None:
    """A GGUF file runs on llama.cpp unless transformers' options are given; others do not."""
    assert type(model_in_process(model_id, options)) is engine


def test_without_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without llama.cpp a GGUF file runs on transformers; asked for by name, it is told missing."""
    monkeypatch.setattr(in_process, "find_spec", lambda name: None if name == "xllamacpp" else name)
    assert isinstance(model_in_process("model.gguf", {}), TransformersModel)
    from urial_core.backends.llama_cpp import model

    monkeypatch.setattr(model, "find_spec", lambda name: None if name == "xllamacpp" else name)
    with pytest.raises(MissingDependencyError, match=r"urial-chat\[llamacpp\]"):
        model_in_process("model.gguf", {"engine": "llama.cpp"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "vllm"}, "engine is 'vllm': use one of auto, llama.cpp, transformers"),
        ({"engine": "llama.cpp", "dtype": "float32"}, "Unknown option dtype.*n_parallel"),
        ({"engine": "transformers", "n_ctx": 4}, "Unknown option n_ctx.*dtype"),
        ({"n_ctx": 4, "dtype": "float32"}, "Unknown option dtype"),
        ({"n_threads": 0}, "n_threads 0"),
        ({"n_ctx": -1}, "n_ctx is -1"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], said: str) -> None:
    """An unknown engine or option is an error that lists the known ones."""
    with pytest.raises(ParameterError, match=said):
        model_in_process("model.gguf", options)


def test_one_for_all_who_name_it() -> None:
    """The same words give the same model, other words another."""
    one = shared_model("a.gguf", {"n_ctx": 512})
    assert shared_model("a.gguf", {"n_ctx": 512}) is one
    assert shared_model("a.gguf", {"n_ctx": 1024}) is not one


def test_llama_cpps_identity() -> None:
    """What decides the text is part of the cache_key; how many threads compute it is not."""
    cache_key = LlamaCppModel("a.gguf", n_threads=1).cache_key
    assert LlamaCppModel("a.gguf", n_threads=2).cache_key == cache_key
    assert LlamaCppModel("b.gguf").cache_key != cache_key
    assert LlamaCppModel("a.gguf", params={"rope_freq_base": 1.0}).cache_key != cache_key


@pytest.mark.parametrize("kind", [ChatUrial, UrialLLM])
def test_in_both_frameworks(kind: type[ChatUrial | UrialLLM]) -> None:
    """The engine and its options may stand among the fields, and nothing is loaded for that."""
    chat = kind.from_model_id(Path("model.gguf"), n_parallel=2, max_tokens=7)
    assert chat.backend_options == {"n_parallel": 2}
    model = chat._wrapped.model
    assert isinstance(model, LlamaCppModel)
    assert model.known_context_window is None
    direct = kind(model="model.gguf", engine="transformers")
    assert isinstance(direct._wrapped.model, TransformersModel)
