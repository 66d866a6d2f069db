"""Imports: what the package offers, and what it does not load."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import subprocess
import sys

import pytest

import llamaindex_urial
from llamaindex_urial import conformance

HEAVY = ("torch", "transformers", "langchain_urial", "pytest", "openai", "ollama")


@functools.cache
def loaded_by(code: str, *packages: str) -> list[str]:
    """Which of the packages some code loads, in a Python of its own."""
    ask = f"import sys\n{code}\nprint(*[p for p in {packages!r} if p in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", ask], check=True, capture_output=True, text=True
    ).stdout
    return output.split()


def test_the_package_offers_these_names_and_no_others() -> None:
    """The public names are a promise: they are exactly these."""
    assert sorted(llamaindex_urial.__all__) == [
        "NumberedPassages",
        "UrialLLM",
        "__version__",
        "rag_templates",
        "response_citations",
    ]
    assert conformance.__all__ == ["LLMConformanceTests"]


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.iter_modules(llamaindex_urial.__path__)]
)
def test_every_module_says_what_it_offers(name: str) -> None:
    """Every module has ``__all__``, and each name in it exists."""
    module = importlib.import_module(f"llamaindex_urial.{name}")
    assert module.__all__
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import llamaindex_urial",
        pytest.param(
            "from llamaindex_urial import UrialLLM; UrialLLM(model='some/model').to_payload()",
            marks=pytest.mark.needs("torch"),
        ),
        pytest.param(
            "from llamaindex_urial import UrialLLM; UrialLLM.from_model_id('some/model', seed=1)",
            marks=pytest.mark.needs("torch"),
        ),
    ],
    ids=["import", "construct", "from_model_id"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    """Neither importing nor constructing an LLM loads torch, LangChain's adapter or pytest.

    What LlamaIndex's own core loads where it finds it installed is not this package's doing.
    """
    of_core = loaded_by("import llama_index.core.agent.react", *HEAVY)
    assert set(loaded_by(code, *HEAVY)) <= set(of_core)


def test_it_works_without_langchain() -> None:
    """With no LangChain to be found, an LLM is made and answers."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0].startswith('lang'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from llamaindex_urial import UrialLLM\n"
        "from urial_core.testing import FakeModel\n"
        "assert UrialLLM(llm=FakeModel(['Hi!'])).complete('Hello').text == 'Hi!'\n"
    )
    assert loaded_by(code, "langchain_core", "langchain_urial") == []


def test_a_missing_framework_is_an_error_with_the_way_to_install_it() -> None:
    """The error is the project's own, and an ``ImportError``."""
    code = (
        "import sys; sys.modules['llama_index'] = None\n"
        "from urial_core.errors import MissingDependencyError, install_hint\n"
        "try:\n"
        "    import llamaindex_urial\n"
        "except MissingDependencyError as error:\n"
        "    assert install_hint('llamaindex') in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    assert loaded_by(code, "llamaindex_urial") == []
