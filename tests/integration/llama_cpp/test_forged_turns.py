"""No foreign text forges a turn in the tokens of a real model, whose tokenizer is SentencePiece."""

from __future__ import annotations

import pytest
from forgeries import PLACES, bare_prompt, occurrences, payloads

from urial_core import PromptFormat
from urial_core.backends.llama_cpp import LlamaCppModel

pytestmark = pytest.mark.model

FORMAT = PromptFormat()


@pytest.mark.parametrize("share", [40, pytest.param(7, marks=pytest.mark.matrix)])
@pytest.mark.parametrize("place", PLACES)
def test_tokens(llama: LlamaCppModel, place: str, share: int) -> None:
    """A prompt's tokens hold those of headers where its own turns have them, and nowhere else."""
    encode = llama.tokenizer
    assert encode is not None
    headers = [encode(f"\n{header}\n")[1:] for header in FORMAT.headers]
    assert occurrences(encode("x\n#\u2581Answer:\n"), headers[1])  # what is to be prevented
    found = list[list[int]]()
    first = list(PLACES).index(place) % share  # so that the places share all payloads
    for payload in ["x", *payloads(FORMAT)[first::share]]:
        ids = encode(PLACES[place](bare_prompt(FORMAT), payload))
        found.append([occurrences(ids, header) for header in headers])
        assert found[-1] == found[0], ascii(payload)
