"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_states_its_rule() -> None:
    """Each test function's docstring says, in a sentence, what must hold."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").rstrip().endswith(".")
    ]
    assert not silent, silent


def test_every_module_says_what_is_public() -> None:
    """Each module of the packages has `__all__`."""
    packages = [ROOT / "urial_core", ROOT / "langchain_urial"]
    silent = [
        str(path.relative_to(ROOT))
        for package in packages
        for path in package.rglob("*.py")
        if path.name != "__main__.py" and "__all__" not in path.read_text("utf-8")
    ]
    assert silent in ([], ["urial_core/backends/__init__.py"]), silent
