"""No foreign text forges a turn: neither in a prompt's characters nor in what its tokens say."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from adversarial import PROMPT_FORMATS
from forgeries import (
    BLANKS,
    INVISIBLE,
    PLACES,
    bare_prompt,
    delimiters,
    occurrences,
    payloads,
)

from urial_core import PromptFormat, escape, load_prompt, unescape

pytestmark = pytest.mark.no_cover  # many inputs to lines that other tests run too

pytest.importorskip("tokenizers")
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FORMATS = {
    name: PROMPT_FORMATS[name] for name in ("4 backticks", "3 backticks", "4 tildes", "none")
}
HARMLESS = "x"
CORPORA = [
    ("4 backticks", 3),
    pytest.param("4 backticks", 1, marks=pytest.mark.matrix),
    *(
        pytest.param(name, 11, marks=pytest.mark.matrix)
        for name in FORMATS
        if name != "4 backticks"
    ),
]
"""The format, and of how many payloads one is tried."""


def _trained(tokenizer: Any, **options: Any) -> Any:
    """Train a tokenizer on prompts, so that headers have tokens of their own."""
    trainer = trainers.BpeTrainer(vocab_size=900, show_progress=False, **options)
    prompts = [load_prompt(name).prefix_with_tools for name in ("default", "short")]
    tokenizer.train_from_iterator(prompts, trainer)
    return tokenizer


def _byte_level(*normalizing: Any) -> Any:
    """Return a tokenizer like GPT-2's, or with a normalizer, like Qwen's."""
    tokenizer = Tokenizer(models.BPE())
    if normalizing:
        tokenizer.normalizer = normalizers.Sequence(list(normalizing))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def _sentencepiece(*normalizing: Any) -> Any:
    """Return a tokenizer like Gemma's: ``U+2581`` stands for a space, bytes for rare characters."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([*normalizing, normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = _trained(tokenizer, special_tokens=special)
    trained.encode_special_tokens = True
    return trained


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "SentencePiece": _sentencepiece,
    "byte-level BPE": _byte_level,
    "NFKC": lambda: _byte_level(
        normalizers.NFKC(), normalizers.Replace(Regex(f"[{INVISIBLE}\u180e]"), "")
    ),
    "NFC": lambda: _byte_level(normalizers.NFC()),
    "SentencePiece with NFKC": lambda: _sentencepiece(
        normalizers.Replace(Regex(f"[{INVISIBLE}\u180e]"), ""),
        normalizers.Replace(Regex(f"[{BLANKS}]"), " "),
        normalizers.NFKC(),
        normalizers.Replace(Regex(" {2,}"), " "),
    ),
}
KINDS = [
    pytest.param(name, marks=[pytest.mark.matrix] * (name in ("NFC", "SentencePiece with NFKC")))
    for name in TOKENIZERS
]


@cache
def tokenizer_of(kind: str) -> Any:
    """Return a tokenizer, made once."""
    return TOKENIZERS[kind]()


@cache
def written_prompts(place: str, format_name: str, share: int) -> dict[str, str]:
    """Return the prompts that hold the payloads at a place; first, one with a harmless text."""
    prompt = bare_prompt(FORMATS[format_name])
    corpus = [HARMLESS, *payloads(prompt.format)[::share]]
    return {payload: PLACES[place](prompt, payload) for payload in corpus}


def header_ids(tokenizer: Any, prompt_format: PromptFormat) -> list[list[int]]:
    """Return the tokens of each header, with the line breaks around it."""
    return [tokenizer.encode(f"\n{header}\n").ids for header in prompt_format.headers]


def test_the_size_of_the_corpus(record_property: Callable[[str, object], None]) -> None:
    """The corpus has more than 1,000 payloads, and each is tried at 18 places or more."""
    corpus = payloads(PromptFormat())
    record_property("payloads", len(corpus))
    record_property("places", len(PLACES))
    assert len(corpus) == len(set(corpus)) > 1000
    assert len(PLACES) >= 18


@pytest.mark.parametrize(("format_name", "share"), CORPORA)
@pytest.mark.parametrize("place", PLACES)
def test_characters(place: str, format_name: str, share: int) -> None:
    """A prompt's lines that begin with a delimiter are those of its own turns."""
    prompts = written_prompts(place, format_name, share)
    expected = delimiters(prompts[HARMLESS], FORMATS[format_name])
    assert sum(expected) > 0
    for payload, prompt in prompts.items():
        assert delimiters(prompt, FORMATS[format_name]) == expected, ascii(payload)
        prompt.encode()  # no lone surrogate is left


@pytest.mark.parametrize(("format_name", "share"), CORPORA)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_tokens(place: str, kind: str, format_name: str, share: int) -> None:
    """A prompt's tokens spell delimiters where its own turns have them, and nowhere else."""
    prompt_format, tokenizer = FORMATS[format_name], tokenizer_of(kind)
    headers = header_ids(tokenizer, prompt_format)
    prompts = written_prompts(place, format_name, share)
    encoded = [one.ids for one in tokenizer.encode_batch(list(prompts.values()))]
    seen = tokenizer.decode_batch(encoded, skip_special_tokens=False)
    counts = [
        (delimiters(text, prompt_format), [occurrences(ids, header) for header in headers])
        for ids, text in zip(encoded, seen, strict=True)
    ]
    for payload, count in zip(prompts, counts, strict=True):
        assert count == counts[0], ascii(payload)


@pytest.mark.parametrize("kind", ["SentencePiece", "NFKC"])
def test_the_corpus_forges_turns_unless_escaped(kind: str) -> None:
    """Written as they are, payloads forge turns below the characters: the tests above can fail."""
    prompt_format, tokenizer = PromptFormat(), tokenizer_of(kind)
    forged = 0
    for payload in payloads(prompt_format):
        text = payload.encode("utf-8", "replace").decode()
        seen = tokenizer.decode(tokenizer.encode(text).ids)
        forged += delimiters(seen, prompt_format) > delimiters(text, prompt_format)
    assert forged >= 6


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_corpus_is_restored(format_name: str) -> None:
    """Escaping is undone exactly, for every payload that a tokenizer can encode."""
    prompt_format = FORMATS[format_name]
    for payload in payloads(prompt_format):
        if not re.search("[\ud800-\udfff]", payload):
            assert unescape(escape(payload, prompt_format), prompt_format) == payload
