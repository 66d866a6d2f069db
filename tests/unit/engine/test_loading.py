"""Load models from folders and ids, with clear errors, and only when needed."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from urial_core import (
    GenerationParameters,
    Message,
    ModelLoadError,
    ParameterError,
    UrialChat,
    load_prompt,
)
from urial_core.backends.transformers import TransformersModel, loading
from urial_core.backends.transformers.loading import default_device, resolve_dtype


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any, make_model: Callable[..., Any], tokenizer: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("model")
    make_model("llama").save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_folder(folder: Path) -> None:
    """A local folder in transformers' format loads in the requested dtype."""
    model = TransformersModel(folder, dtype="float32")
    assert model.known_context_window == 4096
    assert model.context_window == 4096
    request = UrialChat(model, load_prompt("short")).request(
        [Message("user", "Why?")], GenerationParameters(max_tokens=4)
    )
    assert model.complete([request])[0].text
    assert model.info["dtype"] == "float32"


def test_nothing_loads_before_it_is_needed(folder: Path) -> None:
    """Creating a model and reading its name loads neither torch nor transformers."""
    code = (
        "import sys; from urial_core.backends.transformers import TransformersModel as T; "
        f"m = T({str(folder)!r}); m.name; m.cache_key; m.known_context_window; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("content", [None, "{}", "not json"])
def test_broken_folder(tmp_path: Path, content: str | None) -> None:
    """A missing or broken model raises an error of one line that names it."""
    path = tmp_path / "broken"
    if content is not None:
        path.mkdir()
        (path / "config.json").write_text(content)
    model = TransformersModel(path)
    with pytest.raises(ModelLoadError, match="broken") as caught:
        model.load()
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelLoadError):
        model.count_tokens("x")


@pytest.mark.parametrize("name", ["./none", "../none", "~/none", "/no/ne"])
def test_a_path_that_is_missing(name: str) -> None:
    """What is written as a path is not looked up on the hub: the error says that it is missing."""
    with pytest.raises(ModelLoadError, match=r"^There is no folder .*ne\.$"):
        TransformersModel(name).load()


def test_broken_weights(folder: Path, tmp_path: Path) -> None:
    """Truncated weights raise an error that says so."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelLoadError, match="Could not load the model"):
        TransformersModel(tmp_path).load()


def test_missing_gguf(tmp_path: Path) -> None:
    """A missing GGUF file is named."""
    with pytest.raises(ModelLoadError, match=r"no file .*none\.gguf"):
        TransformersModel(tmp_path / "none.gguf").load()


def test_dtypes() -> None:
    """Names and dtypes are accepted, others refused; "auto" is a floating-point dtype."""
    cpu = torch.device("cpu")
    assert resolve_dtype("float32", cpu) is torch.float32
    assert resolve_dtype(torch.bfloat16, cpu) is torch.bfloat16
    assert resolve_dtype("auto", default_device()).is_floating_point
    for invalid in ("int8", "nonsense", 3):
        with pytest.raises(ParameterError, match="dtype"):
            resolve_dtype(invalid, cpu)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("computes", "is_fast", "expected"),
    [(True, True, torch.bfloat16), (True, False, torch.float32), (False, True, torch.float32)],
)
def test_a_cpu_uses_bfloat16_where_it_is_fast(
    computes: bool, is_fast: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor must compute in it, and a trial must show that it is no slower."""
    monkeypatch.setattr(loading, "_cpu_computes_bfloat16", lambda: computes)
    monkeypatch.setattr(loading, "bfloat16_is_fast", lambda: is_fast)
    assert resolve_dtype("auto", torch.device("cpu")) is expected


@pytest.fixture
def conversions(
    make_model: Callable[..., Any],
    tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[dict[str, Any]]:
    """Convert any GGUF file into a tiny model; list the reports that transformers gives of it."""
    reports = list[dict[str, Any]]()
    load = loading.AutoModelForCausalLM.from_pretrained
    load_tokenizer = loading.AutoTokenizer.from_pretrained

    def model_of(name: Any, *, gguf_file: str | None = None, **options: Any) -> Any:
        if gguf_file is None:
            return load(name, **options)
        reports.append({"missing_keys": set(), "mismatched_keys": set()})
        return make_model("llama"), reports[-1]

    def tokenizer_of(name: Any, *, gguf_file: str | None = None, **options: Any) -> Any:
        return tokenizer if gguf_file else load_tokenizer(name, **options)

    monkeypatch.setenv("URIAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(loading, "check_gguf", lambda _: None)
    monkeypatch.setattr(loading.MissingDependencyError, "check", lambda *_: None)
    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", model_of)
    monkeypatch.setattr(loading.AutoTokenizer, "from_pretrained", tokenizer_of)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    return reports


def damage_file(folder: Path, name: str, content: bytes | None) -> None:
    """Remove a file, or put something else in its place."""
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("content", [None, b"", b"{}", struct.pack("<Q", 2) + b"{}"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "model.safetensors"])
def test_a_damaged_conversion_is_made_again(
    conversions: list[Any], tmp_path: Path, name: str, content: bytes | None
) -> None:
    """It is not blamed on the GGUF file; weights without tensors do not load at random."""
    model = TransformersModel(tmp_path / "m.gguf", dtype="float32")
    model.load()
    [folder] = (tmp_path / "cache" / "models").iterdir()
    written = (folder / name).read_bytes()
    damage_file(folder, name, content)
    again = TransformersModel(tmp_path / "m.gguf", dtype="float32")
    again.load()
    assert again.info["dtype"] == "float32"
    assert len(conversions) == 2
    assert len((folder / name).read_bytes()) == len(written)
    TransformersModel(tmp_path / "m.gguf", dtype="float32").load()
    assert len(conversions) == 2


def test_a_conversion_of_the_right_size_that_does_not_load_is_made_again(
    conversions: list[Any], tmp_path: Path
) -> None:
    """A disk may lose what was written, and keep the size."""
    TransformersModel(tmp_path / "m.gguf", dtype="float32").load()
    [folder] = (tmp_path / "cache" / "models").iterdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
    TransformersModel(tmp_path / "m.gguf", dtype="float32").load()
    assert len(conversions) == 2


def test_a_file_in_a_conversion_s_place_is_replaced(conversions: list[Any], tmp_path: Path) -> None:
    """The folder is made as if there was nothing."""
    TransformersModel(tmp_path / "m.gguf", dtype="float32").load()
    [folder] = (tmp_path / "cache" / "models").iterdir()
    shutil.rmtree(folder)
    folder.touch()
    TransformersModel(tmp_path / "m.gguf", dtype="float32").load()
    assert len(conversions) == 2


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"missing_keys": {"b", "a"}}, r"\(2 differ\): a is missing"),
        ({"mismatched_keys": {("a", (8, 2), (8, 4))}}, r"a has the shape \(8, 2\), not \(8, 4\)"),
    ],
)
def test_tensors_that_do_not_fit_are_not_filled_in(
    conversions: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    report: dict[str, Any],
    message: str,
) -> None:
    """Transformers would initialize them at random."""
    load = loading.AutoModelForCausalLM.from_pretrained

    def load_with_report(*names: Any, **options: Any) -> Any:
        model, normal = load(*names, **options)
        return model, {**normal, **report}

    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", load_with_report)
    with pytest.raises(ModelLoadError, match=message):
        TransformersModel(tmp_path / "m.gguf", dtype="float32").load()
    assert len(conversions) == 1
    assert not list((tmp_path / "cache").glob("models/*"))
