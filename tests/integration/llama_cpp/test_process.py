"""llama.cpp in this process: loading, invalid files, signals, threads, memory."""

from __future__ import annotations

import gc
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.llama_cpp.private_server import PrivateServer
from urial_core.demo import demo_model_file
from urial_core.errors import ModelLoadError, ParameterError

pytestmark = pytest.mark.model


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a subprocess."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False
    )


def test_neither_torch_nor_transformers_is_imported() -> None:
    """A GGUF file answers through LangChain without either."""
    done = run(
        "import sys\n"
        "from langchain_urial import ChatUrial\n"
        "from urial_core.demo import demo_model_file\n"
        "chat = ChatUrial.from_model_id(demo_model_file(), prompt='short', max_tokens=16)\n"
        "print(chat.invoke('What is the capital of France?').text)\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])\n"
    )
    assert done.returncode == 0, done.stderr
    answer, loaded = done.stdout.strip().rsplit("\n", 1)
    assert answer
    assert loaded == "[]"
    assert done.stderr == ""


def test_ctrl_c_still_interrupts_python() -> None:
    """With a model loaded, Ctrl-C is a KeyboardInterrupt, and the process ends normally."""
    done = run(
        "import os, signal, time\n"
        "from urial_core.backends.llama_cpp import LlamaCppModel\n"
        "from urial_core.demo import demo_model_file\n"
        "model = LlamaCppModel(demo_model_file(), n_ctx=512, n_parallel=1)\n"
        "model.load()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(5)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', model.count_tokens('a'))\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted 2\n"


@pytest.mark.parametrize("content", [b"", b"safetensors", b"GGUF\x03\x00\x00\x00nothing more"])
def test_an_invalid_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    """An empty, foreign or damaged file is an error that names it."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"model\.gguf"):
        LlamaCppModel(path).load()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The error says that there is no such file."""
    with pytest.raises(ModelLoadError, match="No such file"):
        LlamaCppModel(tmp_path / "none.gguf").load()


@pytest.mark.parametrize("params", [{"no_such_thing": 1}, {"n_batch": "many"}])
def test_invalid_parameters_of_llama_cpp_are_errors(params: dict[str, object]) -> None:
    """An unknown parameter, or one of another type, is named."""
    with pytest.raises(ParameterError, match=next(iter(params))):
        LlamaCppModel(demo_model_file(), params=params).load()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such sockets or modes")
def test_the_server_is_private() -> None:
    """It listens in a folder that only this user can open; closed, it removes the folder."""
    server = PrivateServer(str(demo_model_file()), n_ctx=512, n_parallel=1, n_threads=1)
    assert server.uds is not None
    folder = Path(server.uds).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    server.close()
    assert not folder.exists()


def test_memory_is_freed() -> None:
    """A model without references is unloaded; a closed one is loaded again when used."""
    model = LlamaCppModel(demo_model_file(), n_ctx=512, n_parallel=1)
    count = model.count_tokens("one two three")
    model.close()
    assert model.count_tokens("one two three") == count
    finalizer = model._finalizer
    assert finalizer.alive
    del model
    gc.collect()
    assert not finalizer.alive


def test_models_can_be_pickled() -> None:
    """The copy has the same settings and nothing loaded."""
    model = LlamaCppModel(demo_model_file(), n_ctx=512, n_parallel=1)
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - just made
    assert again.cache_key == model.cache_key
    assert again.known_context_window is None
