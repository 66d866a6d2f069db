"""What the web chat reads from a folder, and the sources it shows (examples/web_chat.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra web")

from langchain_core.documents import Document

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))

from web_chat import main, read_passages, sources


def texts(folder: Path) -> dict[str, list[str]]:
    """Return the passages of each file."""
    found = dict[str, list[str]]()
    for passage in read_passages(folder):
        found.setdefault(passage.metadata["source"], []).append(passage.page_content)
    return found


def test_files_of_a_folder(tmp_path: Path) -> None:
    """Names may end in capitals, a folder may have a file's name, and others are left out."""
    (tmp_path / "d.txt").mkdir()
    (tmp_path / "d.txt" / "a.MD").write_text("\ufeff# Hours\n\nAt nine.\n\n\nFriday: ten.", "utf-8")
    (tmp_path / "b.TXT").write_text("# not Markdown", "utf-8")
    (tmp_path / "c.csv").write_text("no", "utf-8")
    assert texts(tmp_path) == {
        "b.TXT": ["# not Markdown"],
        str(Path("d.txt/a.MD")): ["At nine.", "Friday: ten."],
    }


def test_code_keeps_its_comments_and_indentation(tmp_path: Path) -> None:
    """A comment in a block of code is no heading, and a block's lines stay indented."""
    (tmp_path / "a.md").write_text(
        "# Use\n```python\n# the fee\nfee()\n```\n## More\nText.\n\n    x = 1\n    y = 2\n", "utf-8"
    )
    assert texts(tmp_path)["a.md"] == [
        "```python\n# the fee\nfee()\n```",
        "Text.",
        "    x = 1\n    y = 2",
    ]


def test_a_file_in_another_encoding_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not UTF-8 ends the program with its name, without a traceback."""
    (tmp_path / "alt.txt").write_bytes("Öffnung".encode("latin-1"))
    monkeypatch.setattr(sys, "argv", ["web_chat.py", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "alt.txt is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("It opens at nine [1].", "**[1] a.md** (cited)"),
        ("It opens at ten [1]. It is red [1].", "**[1] a.md** (cited, but it lacks: red)"),
        ("It costs 7 euros [1].", "**[1] a.md** (cited, but it lacks: costs, 7, euros)"),
        ("[1]", "**[1] a.md** (cited, but for no statement)"),
        ("It opens at nine.", "**[1] a.md** (not cited)"),
        ("It opens at nine [7].", "**[7]** (cited, but there is no such passage)"),
    ],
)
def test_sources_show_what_is_not_supported(answer: str, shown: str) -> None:
    """Each citation that is not supported is shown as such, also of a passage that is not there."""
    message = sources(answer, [Document("It opens\nat nine.", metadata={"source": "a.md"})])
    assert shown in str(message.content)
    assert "> It opens\n> at nine." in str(message.content)
