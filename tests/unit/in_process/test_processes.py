"""Processes that fork, end or are killed while a model is in use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core.backends.temporary_folder import TemporaryFolder

SETUP = """
import os, sys
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from urial_core import GenerationParameters, Message, Prompt, UrialError, compose
from urial_core.backends.transformers import TransformersModel

alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
backend = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
backend.decoder = decoders.ByteLevel()
config = LlamaConfig(
    vocab_size=256, hidden_size=32, num_hidden_layers=2, intermediate_size=64,
    num_attention_heads=4, num_key_value_heads=2,
)
model = TransformersModel(
    AutoModelForCausalLM.from_config(config).eval(),
    PreTrainedTokenizerFast(tokenizer_object=backend),
)
prompt = Prompt(name="t", instruction="A")
request = compose(prompt, [Message("user", "Hi")], GenerationParameters(max_tokens=50))
stream = model.stream(request)
next(stream)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.needs("torch", "transformers")
@pytest.mark.timeout(600)
def test_a_process_ends_with_a_stream_alive() -> None:
    """A stream in a module-level variable does not keep the interpreter from ending normally."""
    done = run(SETUP)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("torch", "transformers")
@pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
@pytest.mark.timeout(600)
def test_a_forked_process_is_told_so() -> None:
    """A model that was used before a fork raises in the child; the parent's goes on."""
    done = run(
        SETUP
        + """
if (child := os.fork()) == 0:
    try:
        model.complete([request])
    except UrialError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(len(list(stream)) > 1)
"""
    )
    assert "Load the model after the fork" in done.stdout, done.stderr
    assert done.stdout.endswith("True\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks on folders")
def test_the_folder_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    """The next process removes it; that of a living process stays, and so does a stranger's."""
    done = run(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from urial_core.backends.temporary_folder import TemporaryFolder\n"
        f"folder = TemporaryFolder(Path({str(tmp_path)!r}))\n"
        "(folder.path / 'weights').write_bytes(b'x' * 1000)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert done.returncode == -9, done.stderr
    [abandoned] = tmp_path.iterdir()
    stranger = tmp_path / "urial-notes"
    stranger.mkdir()
    living = TemporaryFolder(tmp_path)
    assert not abandoned.exists()
    other = TemporaryFolder(tmp_path)
    assert living.path.is_dir()
    other.remove()
    living.remove()
    assert list(tmp_path.iterdir()) == [stranger]


@pytest.mark.needs("torch", "transformers")
@pytest.mark.parametrize("make", [ChatUrial, UrialLLM])
@pytest.mark.parametrize("options", [{"token": "hf_x"}, {"model_kwargs": {"token": "hf_x"}}])
def test_no_text_shows_a_hub_token(make: type, options: dict[str, object]) -> None:
    """Neither among the options nor among ``model_kwargs``."""
    chat = make(model="some/model", backend="transformers", **options)
    model = chat.urial.model
    shown = [repr(chat), str(chat), repr(model), str(model.cache_key), repr(vars(model)["_source"])]
    shown.append(repr(chat.to_json()) if make is ChatUrial else repr(chat.to_dict()))
    assert [text for text in shown if "hf_x" in text] == []
    assert chat.api_key.get_secret_value() == "hf_x"
    assert model._source.token == "hf_x"
