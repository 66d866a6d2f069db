"""Prompt prefixes on disk: a new process starts with them, if it computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from urial_core import GenerationParameters, Message, Prompt, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.prefix_store import PrefixStore

MakeEngine = Callable[..., TransformersModel]
DEFAULT = load_prompt("default")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """Use a cache folder of the test's own; list the files of its prefixes."""
    monkeypatch.setenv("URIAL_CACHE", str(tmp_path))
    return lambda: sorted((tmp_path / "prefixes").glob("*"))


def ask(model: TransformersModel, prompt: Prompt = DEFAULT) -> tuple[str, int, int]:
    """Return a reply's text, how many tokens of its prompt were cached, and how many were not."""
    chat = UrialChat(model, prompt)
    parameters = GenerationParameters(max_tokens=8, temperature=0.0, repetition_penalty=1.0)
    reply = chat.reply([chat.request([Message("user", "Why?")], parameters)])[0]
    usage = reply.end.usage
    assert usage
    assert usage.input_tokens
    return reply.text, usage.cached_tokens or 0, usage.input_tokens - (usage.cached_tokens or 0)


def test_another_model_object_starts_with_the_prefix(
    plain_architecture: str, make_engine: MakeEngine, files: Callable[[], list[Path]]
) -> None:
    """With the same weights, only what follows the prefix is computed, and the text is the same."""
    first, second = (make_engine(plain_architecture, prefix_on_disk=True) for _ in range(2))
    text, cached, _ = ask(first)
    assert not cached
    assert len(files()) == 1
    again, cached, computed = ask(second)
    assert again == text
    assert computed < 40 < cached
    assert len(files()) == 1


def test_other_weights_find_nothing(
    make_model: Callable[[str], Any], tokenizer: Any, files: Callable[[], list[Path]]
) -> None:
    """The smallest change of a weight makes another prefix, though the model has the same name."""
    model = make_model("llama")
    for number, change in enumerate((0, 1e-3, 0)):
        with torch.no_grad():
            model.model.layers[0].mlp.down_proj.weight[0, 0] += change
        _, cached, _ = ask(TransformersModel(model, tokenizer))
        assert bool(cached) is (number == 2)
    assert len(files()) == 2


@pytest.mark.parametrize("change", ["weight", "new parameter", "adapter"])
def test_weights_that_change_in_a_loaded_model_find_nothing(
    make_model: Callable[[str], Any], tokenizer: Any, files: Callable[[], list[Path]], change: str
) -> None:
    """Nothing that other weights computed is reused, in memory or from disk."""
    model, fresh = make_model("llama"), make_model("llama")
    for one in (model, fresh):
        one.model.layers[0].self_attn.k_proj = _Adapted(one.model.layers[0].self_attn.k_proj)
    engine = TransformersModel(model, tokenizer)
    before, *_ = ask(engine)
    for one in (model, fresh):
        _change(one.model.layers[0].self_attn.k_proj, change)
    expected = ask(TransformersModel(fresh, tokenizer, prefix_on_disk=False))[0]
    assert ask(engine)[:2] == (expected, 0)
    assert ask(TransformersModel(fresh, tokenizer))[0] == expected != before
    assert ask(engine)[1]
    assert len(files()) == 2


class _Adapted(torch.nn.Module):
    """A linear layer with an adapter, under the attributes that peft gives one."""

    def __init__(self, base: torch.nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.merged_adapters = list[str]()
        self._active_adapter = ["one"]

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the layer's output; the second adapter changes its sign."""
        out: torch.Tensor = self.base(states)
        return -out if self._active_adapter == ["two"] else out


def _change(layer: _Adapted, change: str) -> None:
    if change == "adapter":
        layer._active_adapter = ["two"]
    elif change == "weight":
        with torch.no_grad():
            layer.base.weight.neg_()
    else:
        layer.base.weight = torch.nn.Parameter(-layer.base.weight.detach())


@pytest.mark.parametrize("content", [b"", b"nothing of the kind" * 9])
def test_a_damaged_file_is_made_again(
    make_engine: MakeEngine, files: Callable[[], list[Path]], content: bytes
) -> None:
    """What cannot be read is computed, and stored for the next."""
    text, *_ = ask(make_engine(prefix_on_disk=True))
    [file] = files()
    whole = file.read_bytes()
    file.write_bytes(content)
    assert ask(make_engine(prefix_on_disk=True))[:2] == (text, 0)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_no_error(
    make_engine: MakeEngine, tmp_path: Path, files: Callable[[], list[Path]]
) -> None:
    """The reply comes all the same."""
    (tmp_path / "prefixes").write_text("in the way", encoding="utf-8")
    assert ask(make_engine(prefix_on_disk=True))[0]
    assert not files()


def test_short_prefixes_and_models_without_a_cache_store_nothing(
    make_engine: MakeEngine, files: Callable[[], list[Path]]
) -> None:
    """A few tokens are computed sooner than read, and other state than keys cannot be reused."""
    ask(make_engine(prefix_on_disk=True), Prompt(name="brief", instruction="Answer."))
    ask(make_engine("mamba", prefix_on_disk=True))
    ask(make_engine(prefix_on_disk=True, prefix_cache_bytes=0))
    assert not files()


def test_the_least_recently_used_are_removed(make_engine: MakeEngine, tmp_path: Path) -> None:
    """The files take no more than the bound; one that is used stays."""
    engine: Any = make_engine()._ready_engine()
    cache = engine.forward.new_cache()
    engine.forward(cache, [range(64)])
    layers = cache.keys_and_values(0, 64)
    store = PrefixStore(engine.forward, tmp_path)
    store.save([0] * 64, layers)
    [file] = tmp_path.iterdir()
    store = PrefixStore(engine.forward, tmp_path, 3 * file.stat().st_size)
    for token in range(5):
        store.save([token] * 64, layers)
        assert store.load([0] * 64) is not None
    kept = [token for token in range(5) if store.load([token] * 64) is not None]
    assert kept == [0, 3, 4]
    for (keys, values), (stored_keys, stored_values) in zip(
        layers, store.load([4] * 64) or [], strict=True
    ):
        assert torch.equal(keys, stored_keys)
        assert torch.equal(values, stored_values)
