"""llama.cpp in this process: loading, files that are wrong, signals, threads, the end."""

from __future__ import annotations

import gc
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.llama_cpp.private_server import PrivateServer, ServerSettings
from urial_core.demo import demo_model_file
from urial_core.errors import ModelLoadError, ParameterError

pytestmark = pytest.mark.model


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False
    )


def test_neither_torch_nor_transformers() -> None:
    """A GGUF file answers through LangChain with neither torch nor transformers loaded."""
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


def test_ctrl_c_stays_pythons() -> None:
    """With a model loaded, Ctrl-C is still a KeyboardInterrupt, and the process ends by itself."""
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
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    """A file that is empty, of another kind or damaged is an error that names it."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"model\.gguf"):
        LlamaCppModel(path).load()


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is an error that says so."""
    with pytest.raises(ModelLoadError, match="No such file"):
        LlamaCppModel(tmp_path / "none.gguf").load()


@pytest.mark.parametrize("params", [{"no_such_thing": 1}, {"n_batch": "many"}])
def test_parameters_of_llama_cpp(params: dict[str, object]) -> None:
    """A parameter that llama.cpp does not have, or of another type, is named."""
    with pytest.raises(ParameterError, match=next(iter(params))):
        LlamaCppModel(demo_model_file(), params=params).load()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such sockets or modes")
def test_nobody_else_can_ask() -> None:
    """The server listens in a folder that only this user can open; closed, the folder is gone."""
    server = PrivateServer(
        ServerSettings(path=str(demo_model_file()), n_ctx=512, n_parallel=1, n_threads=1)
    )
    assert server.uds is not None
    folder = Path(server.uds).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    server.close()
    assert not folder.exists()


def test_memory_is_freed() -> None:
    """A model that nobody holds is unloaded; a closed one is loaded again when it is asked."""
    model = LlamaCppModel(demo_model_file(), n_ctx=512, n_parallel=1)
    count = model.count_tokens("one two three")
    model.close()
    assert model.count_tokens("one two three") == count
    closing = model._closing
    assert closing.alive
    del model
    gc.collect()
    assert not closing.alive


def test_settings_are_pickled() -> None:
    """A pickled model is one of the same settings, with nothing loaded."""
    model = LlamaCppModel(demo_model_file(), n_ctx=512, n_parallel=1)
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own
    assert again.cache_key == model.cache_key
    assert again.known_context_window is None
