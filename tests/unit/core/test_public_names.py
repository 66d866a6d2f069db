"""The public names of ``urial_core``, and what importing it must not load."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import urial_core

NAMES = [
    "AnalysisError",
    "BestOfN",
    "Choice",
    "Citation",
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
    "Nudging",
    "ParameterError",
    "PowerSampling",
    "Prompt",
    "PromptError",
    "PromptFormat",
    "PromptWarning",
    "Reply",
    "ReplyDecoder",
    "ReplyEnd",
    "ReplyRequest",
    "RolloutPower",
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
    "find_citations",
    "load_prompt",
    "number_passages",
    "passages_with_question",
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
