"""Records: rows that survive a kill, and that no other settings mix with."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core.analysis.records import RecordFile
from urial_core.analysis.text_files import read_text, write_text
from urial_core.errors import AnalysisError

SETTINGS = {"model": "m", "sampling": {"temperature": 0.0}}


@dataclass(frozen=True)
class Row:
    """A row."""

    name: str
    number: int | None = None


def test_rows_are_resumed(tmp_path: Path) -> None:
    """What one run appends, the next one finds, in order, and adds to."""
    path = tmp_path / "new" / "rows.jsonl"
    with RecordFile(path, Row, SETTINGS) as records:
        records.append(Row("a", 1))
    with RecordFile(path, Row, SETTINGS) as records:
        assert records.rows == [Row("a", 1)]
        records.append(Row("b"))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"name": "a", "number": 1},
        {"name": "b", "number": None},
    ]


@given(st.lists(st.text(), min_size=1, max_size=4), st.data())
def test_a_kill_loses_one_row_at_most(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject
) -> None:
    """Wherever the file's end is cut off, every row whose line was whole is kept."""
    names = [name.encode(errors="replace").decode() for name in names]
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    with RecordFile(path, Row, SETTINGS) as records:
        for name in names:
            records.append(Row(name))
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    kept = path.read_bytes().count(b"\n")
    with RecordFile(path, Row, SETTINGS) as records:
        assert records.rows[:kept] == [Row(name) for name in names[:kept]]
        assert len(records.rows) <= kept + 1
        resumed = [row.name for row in records.rows]
        records.append(Row("last"))
    with RecordFile(path, Row, SETTINGS) as records:
        assert [row.name for row in records.rows] == [*resumed, "last"]


def test_damage_elsewhere_is_an_error(tmp_path: Path) -> None:
    """A damaged line before the end is no trace of a kill: the error names it."""
    path = tmp_path / "rows.jsonl"
    with RecordFile(path, Row, SETTINGS) as records:
        records.append(Row("a"))
    path.write_bytes(b'{"name"\n' + path.read_bytes())
    with pytest.raises(AnalysisError, match=r"rows\.jsonl, line 1 is damaged"):
        RecordFile(path, Row, SETTINGS)


def test_damaged_settings_are_an_error(tmp_path: Path) -> None:
    """Settings that no JSON parser reads, however deep, are an error that names their file."""
    (tmp_path / "rows.settings.json").write_text("[" * 100_000)
    with pytest.raises(AnalysisError, match=r"rows\.settings\.json is damaged"):
        RecordFile(tmp_path / "rows.jsonl", Row, SETTINGS)


@pytest.mark.parametrize("name", ["file/in_a_file", "a\0b", "x" * 300])
def test_paths_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    """A path that can be neither read nor written is an error that names it."""
    (tmp_path / "file").touch()
    path = tmp_path / name
    with pytest.raises(AnalysisError, match="Cannot read"):
        read_text(path)
    with pytest.raises(AnalysisError, match="Cannot write"):
        write_text(path, "a")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    """Rows made with another value of a setting are an error that names it and both values."""
    path = tmp_path / "rows.jsonl"
    with RecordFile(path, Row, SETTINGS) as records:
        records.append(Row("a"))
    other = {**SETTINGS, "sampling": {"temperature": 0.7}}
    with pytest.raises(AnalysisError, match=r"'sampling': temperature it was 0\.0, .* 0\.7"):
        RecordFile(path, Row, other)
    with RecordFile(path, Row, SETTINGS) as records:
        assert records.rows == [Row("a")]


def test_settings_may_be_added(tmp_path: Path) -> None:
    """A new setting is kept beside the old ones, and binds from then on."""
    path = tmp_path / "rows.jsonl"
    with RecordFile(path, Row, SETTINGS) as records:
        records.append(Row("a"))
    RecordFile(path, Row, {"method b": 1}).close()
    RecordFile(path, Row, SETTINGS).close()
    with pytest.raises(AnalysisError, match="method b"):
        RecordFile(path, Row, {"method b": 2})


def test_settings_without_rows_do_not_bind(tmp_path: Path) -> None:
    """Where no row was made yet, other settings replace those of before."""
    path = tmp_path / "rows.jsonl"
    RecordFile(path, Row, SETTINGS).close()
    with RecordFile(path, Row, {"model": "other"}) as records:
        records.append(Row("a"))
        assert json.loads(records.settings_path.read_text()) == {"model": "other"}


@pytest.mark.parametrize("content", [None, "[]", "{"])
def test_rows_without_settings_are_refused(tmp_path: Path, content: str | None) -> None:
    """Rows of which nobody knows how they were made are not added to."""
    path = tmp_path / "rows.jsonl"
    with RecordFile(path, Row, SETTINGS) as records:
        records.append(Row("a"))
        records.settings_path.unlink()
        if content is not None:
            records.settings_path.write_text(content)
    with pytest.raises(AnalysisError, match=r"rows\.settings\.json"):
        RecordFile(path, Row, SETTINGS)


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """A second writer of the same file is refused until the first one closes it."""
    path = tmp_path / "rows.jsonl"
    with (
        RecordFile(path, Row, SETTINGS),
        pytest.raises(AnalysisError, match="Another process is writing"),
    ):
        RecordFile(path, Row, SETTINGS)
    RecordFile(path, Row, SETTINGS).close()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A path that cannot be written is an error that names it."""
    (tmp_path / "rows.jsonl").mkdir()
    with pytest.raises(AnalysisError, match=r"Cannot write .*rows\.jsonl"):
        RecordFile(tmp_path / "rows.jsonl", Row, SETTINGS)
