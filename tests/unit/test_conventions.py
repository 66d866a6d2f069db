"""Rules for the code base that no linter checks."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from copy import copy, deepcopy
from importlib import import_module
from pathlib import Path

import pytest

from urial_core import ContextOverflowError, GenerationError, ServerError, UrialError

ROOT = Path(__file__).parents[2]
PACKAGES = ("langchain_urial", "llamaindex_urial", "urial_core")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
"""The file of each module, by the module's name; a package's name stands for its ``__init__``."""

LONGEST = 450
"""Lines that a module may have."""


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
    """Each module with code has a docstring and one ``__all__`` without repetitions."""
    invalid = []
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text("utf-8"))
        if ast.get_docstring(tree) is None:
            invalid.append(f"{name} has no docstring")
        if name.endswith(".__main__") or (path.name == "__init__.py" and len(tree.body) == 1):
            continue
        lists = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and node.value
            and ast.unparse(node).startswith("__all__")
        ]
        if len(lists) != 1 or len(set(lists[0])) != len(lists[0]):
            invalid.append(f"{name} needs one __all__ without repetitions, and has {lists}")
    assert not invalid, invalid


def test_no_module_is_too_long() -> None:
    """No module of the packages has more than 450 lines."""
    lengths = {name: path.read_text("utf-8").count("\n") for name, path in MODULES.items()}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST}


def imported(module: str, path: Path) -> Iterator[str]:
    """Yield what a module imports: at its top, in functions, and under ``TYPE_CHECKING`` alike.

    ``from package import name`` imports ``package.name`` if that is a module, and otherwise the
    package's ``__init__``. Importing a module does not count as importing the packages around it.
    """
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                parents = parts[: len(parts) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield submodule if submodule in MODULES else base


def import_cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return a shortest cycle through each module that has one, each cycle once."""
    found = dict[frozenset[str], list[str]]()
    for start in sorted(imports):
        paths = [[start]]
        seen = set[str]()
        for path in paths:  # which grows: breadth first, so that the first cycle is a shortest one
            if start in imports[path[-1]]:
                found.setdefault(frozenset(path), [*path, start])
                break
            new = sorted(imports[path[-1]] - seen)
            seen.update(new)
            paths.extend([*path, module] for module in new)
    return list(found.values())


def test_no_import_cycles() -> None:
    """No chain of imports leads back to where it began, whether it runs at import time or later."""
    imports = {
        module: {name for name in imported(module, path) if name in MODULES} - {module}
        for module, path in MODULES.items()
    }
    cycles = import_cycles(imports)
    assert not cycles, "\n".join([f"{len(cycles)} import cycles:", *map(" -> ".join, cycles)])


@pytest.mark.parametrize(
    ("imports", "cycles"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, [["a", "b", "a"]]),
        ({"a": {"b", "c"}, "b": {"c"}, "c": {"a"}}, [["a", "c", "a"], ["b", "c", "a", "b"]]),
    ],
)
def test_cycles_are_found(imports: dict[str, set[str]], cycles: list[list[str]]) -> None:
    """The search finds a shortest cycle through every module, and none where there is none."""
    assert import_cycles(imports) == cycles


def test_all_kinds_of_imports_count(tmp_path: Path) -> None:
    """Imports that are relative, in a function or for type checkers only count as any other."""
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from urial_core import errors, Message\n"
        "def function():\n"
        "    import urial_core.chat\n"
        "    from . import missing\n"
        "    from ..errors import UrialError\n",
        "utf-8",
    )
    assert sorted(imported("urial_core.cli.module", path)) == [
        "typing",
        "urial_core",
        "urial_core.chat",
        "urial_core.cli",
        "urial_core.errors",
        "urial_core.errors",
    ]


def all_errors(kind: type[UrialError]) -> Iterator[type[UrialError]]:
    """Yield a class of errors and those derived from it, tests' own left out."""
    if kind.__module__.partition(".")[0] in PACKAGES:
        yield kind
    for derived in kind.__subclasses__():
        yield from all_errors(derived)


def raised(kind: type[UrialError]) -> UrialError:
    """Return an error of a class, with its attributes."""
    if issubclass(kind, ContextOverflowError):
        return kind(9, 8, 4, [("tools", 2), ("prompt", 6)], "Shorten it.")
    if issubclass(kind, ServerError):
        return kind("It failed.", 503)
    return kind("It failed.", "So far") if issubclass(kind, GenerationError) else kind("It failed.")


@pytest.mark.needs("langchain_core", "llama_index")
def test_every_error_survives_pickling_and_copying() -> None:
    """Each class of errors passes a process pool, and copies, with its message and attributes."""
    for package in PACKAGES:
        import_module(package)
    kinds = set(all_errors(UrialError))
    assert {kind.__name__ for kind in kinds} > {"UrialError", "ChatContextOverflowError"}
    for error in map(raised, kinds):
        error.add_note("While testing.")
        pickled = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
        for twin in (pickled, copy(error), deepcopy(error)):
            assert type(twin) is type(error)
            assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))
            assert getattr(twin, "msg", None) == getattr(error, "msg", None)  # ImportError's
