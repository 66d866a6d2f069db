"""A conformance suite for LLMs of LlamaIndex, to be run with pytest.

LlamaIndex has no such suite. Subclass ``LLMConformanceTests`` and give it your LLM; each test is a
rule that something in llama-index-core relies on, and says so when it fails.
"""

from pkgutil import iter_modules

import pytest

# Before they are imported: failures of their assertions show the values.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from llamaindex_urial.conformance.suite import LLMConformanceTests

__all__ = ["LLMConformanceTests"]
