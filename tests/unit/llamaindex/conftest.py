"""Settings of the LlamaIndex adapter's tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `fake_llms`, which several files share


@pytest.fixture
def default_tokenizer() -> Iterator[None]:
    """LlamaIndex's own tokenizer, whatever a test sets in its place."""
    import llama_index.core

    before = llama_index.core.global_tokenizer
    llama_index.core.global_tokenizer = None
    yield
    llama_index.core.global_tokenizer = before
