"""Load models from folders and ids, with clear errors, and only when needed."""

from __future__ import annotations

import shutil
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


@pytest.mark.parametrize("damage", ["cut weights", "no configuration"])
def test_a_damaged_conversion_is_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """It is not blamed on the GGUF file."""
    file, conversion = tmp_path / "m.gguf", tmp_path / "conversion"
    file.write_bytes(b"GGUF")
    made = list[int]()

    def convert(*_: Any) -> Path:
        if not conversion.is_dir():
            shutil.copytree(folder, conversion)
            made.append(1)
        return conversion

    monkeypatch.setattr(loading, "converted_gguf", convert)
    monkeypatch.setattr(loading, "_folder_of", lambda *_: conversion)
    convert()
    if damage == "cut weights":
        (conversion / "model.safetensors").write_bytes(b"cut")
    else:
        (conversion / "config.json").unlink()
    model = TransformersModel(file, dtype="float32")
    model.load()
    assert len(made) == 2
    assert model.info["dtype"] == "float32"
