"""The public names of ``urial_core``, and what importing it must not load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import urial_core

ROOT = Path(urial_core.__file__).parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

NAMES = [
    "Choice",
    "Completion",
    "CompletionChunk",
    "CompletionModel",
    "CompletionRequest",
    "Constraint",
    "ContextOverflowError",
    "ConversationError",
    "Example",
    "GenerationError",
    "GenerationParameters",
    "InvalidToolCall",
    "JsonSchema",
    "Message",
    "MissingDependencyError",
    "ModelError",
    "ModelFeatures",
    "ModelLoadError",
    "ParameterError",
    "Prompt",
    "PromptError",
    "PromptFormat",
    "Reply",
    "ReplyDecoder",
    "ReplyEnd",
    "ReplyRequest",
    "ServerError",
    "ServerUnreachableError",
    "TextDelta",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolExamples",
    "ToolUse",
    "UnknownPromptError",
    "UnsupportedContentError",
    "UnsupportedModelError",
    "UnsupportedSchemaError",
    "UrialChat",
    "UrialError",
    "Usage",
    "__version__",
    "compose",
    "escape",
    "load_prompt",
    "preset_names",
    "unescape",
]


def test_the_public_names() -> None:
    """The package exports exactly these names, sorted; any change is a change of the API."""
    assert urial_core.__all__ == NAMES == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_exists_and_has_a_docstring(name: str) -> None:
    """Every exported name exists and, but for the version, has a docstring."""
    value = getattr(urial_core, name)
    assert name == "__version__" or value.__doc__


@pytest.mark.parametrize("module", MODULES)
def test_every_module_declares_its_public_names(module: str) -> None:
    """Every module with code has a docstring and an ``__all__`` without duplicates."""
    tree = ast.parse((ROOT / module).read_text("utf-8"))
    assert ast.get_docstring(tree)
    if module.endswith("__main__.py") or (module.endswith("__init__.py") and len(tree.body) == 1):
        return
    exported = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and node.value
        and ast.unparse(node).startswith("__all__")
    ]
    assert len(exported) == 1
    assert len(set(exported[0])) == len(exported[0])


def test_importing_loads_no_framework() -> None:
    """Importing the core, its presets and its fake model loads no framework and no torch."""
    code = (
        "import sys, json, urial_core, urial_core.testing; urial_core.load_prompt();"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    heavy = {"torch", "transformers", "numpy", "langchain_core", "llama_index", "typer", "rich"}
    heavy |= {"openai", "httpx"}
    assert not heavy & set(json.loads(result.stdout))
