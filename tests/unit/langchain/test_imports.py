"""Imports: what the package offers, and what it does not load."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import subprocess
import sys

import pytest

import langchain_urial

HEAVY = ("torch", "llama_index", "langchain_community", "langchain_openai", "langgraph")


@functools.cache
def loaded_by(code: str, *packages: str) -> list[str]:
    """Which of the packages some code loads, in a Python of its own."""
    ask = f"import sys\n{code}\nprint([p for p in {packages!r} if p in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", ask], check=True, capture_output=True, text=True
    ).stdout
    return list(eval(output))  # noqa: S307 - the list printed above


def test_the_package_offers_these_names_and_no_others() -> None:
    """The public names of ``langchain_urial`` are a promise: they are exactly these."""
    assert sorted(langchain_urial.__all__) == [
        "ChatUrial",
        "RAG_PROMPT",
        "__version__",
        "create_rag_chain",
        "document_citations",
        "format_documents",
        "register",
    ]


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.iter_modules(langchain_urial.__path__)]
)
def test_every_module_says_what_it_offers(name: str) -> None:
    """Every module has ``__all__``, and each name in it exists."""
    module = importlib.import_module(f"langchain_urial.{name}")
    assert module.__all__
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import langchain_urial",
        pytest.param(
            "from langchain_urial import ChatUrial; ChatUrial(model='some/model', temperature=0.5)",
            marks=pytest.mark.needs("torch"),
        ),
        pytest.param(
            "from langchain_urial import ChatUrial; ChatUrial.from_model_id('some/model').profile",
            marks=pytest.mark.needs("torch"),
        ),
    ],
    ids=["import", "construct", "profile"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    """Neither importing nor constructing a chat model loads torch or another integration."""
    assert loaded_by(code, *HEAVY) == []


def test_the_adapter_loads_transformers_only_where_langchain_itself_does() -> None:
    """What transformers costs at import is LangChain's own doing, if anyone's."""
    of_langchain = loaded_by("import langchain_core.language_models", "transformers")
    assert loaded_by("import langchain_urial", "transformers") == of_langchain


def test_a_missing_framework_is_an_error_with_the_way_to_install_it() -> None:
    """The error is the project's own, and an ``ImportError``."""
    code = (
        "import sys; sys.modules['langchain_core'] = None\n"
        "from urial_core.errors import MissingDependencyError, install_hint\n"
        "try:\n"
        "    import langchain_urial\n"
        "except MissingDependencyError as error:\n"
        "    assert install_hint('langchain') in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    assert loaded_by(code, "langchain_urial") == []
