"""Report pages: whole, self-contained, and safe with any text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("jinja2")

from urial_core.analysis.plots import Curve, Interval, interval_plot, line_plot, ticks
from urial_core.analysis.report_page import render_page, write_page
from urial_core.errors import AnalysisError

FINITE = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


class DataReader(HTMLParser):
    """Reads a page as a browser does: what is in the data's script, and how many scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.data = ""
        self.scripts = 0
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self._inside = ("id", "data") in attrs

    def handle_data(self, data: str) -> None:
        self.data += data if self._inside else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_data_is_read_back(text: str) -> None:
    """Any text in the data is read as it was, and none ends the script that holds it."""
    texts = [text, f"</script><script>alert(1)</script><!-- {text} -->"]
    reader = DataReader(render_page("page.html.jinja", title=text, data=texts))
    assert json.loads(reader.data) == texts
    assert reader.scripts == 2


def test_the_page_loads_nothing() -> None:
    """A page has no address in it that a browser would load, and forbids requests."""
    page = render_page("page.html.jinja", title="T", data={})
    assert "default-src 'none'" in page
    assert not re.findall(r"https?://|@import|url\(|\bsrc=|<link", page)


def test_half_a_character_is_written(tmp_path: Path) -> None:
    """A lone surrogate, which UTF-8 cannot hold, does not lose the report."""
    path = tmp_path / "new" / "report.html"
    write_page(path, "page.html.jinja", title="T", data=["\ud83d!"])
    assert "?!" in path.read_text("utf-8")


def test_an_unwritable_path_is_an_error(tmp_path: Path) -> None:
    """A report that cannot be written is an error that names the file, and leaves none behind."""
    (tmp_path / "report.html").mkdir()
    with pytest.raises(AnalysisError, match=r"Cannot write .*report\.html"):
        write_page(tmp_path / "report.html", "page.html.jinja", title="T", data={})
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def parsed(plot: object) -> ET.Element:
    return ET.fromstring(str(plot))  # noqa: S314 - of this project


@given(FINITE, FINITE)
def test_ticks_cover_the_values(one: float, other: float) -> None:
    """Ticks are few and evenly spaced, from at most the least value to at least the greatest."""
    low, high = sorted((one, other))
    found = ticks(low, high)
    assert found[0] <= low + 1e-6 * abs(low)
    assert found[-1] >= high - 1e-6 * abs(high)
    assert len(found) <= 7
    gaps = [after - before for before, after in pairwise(found)]
    assert all(gap == pytest.approx(gaps[0]) for gap in gaps)


@given(
    st.lists(st.tuples(st.text(st.characters(min_codepoint=32), min_size=1), FINITE), min_size=1)
)
def test_plots_are_well_formed(rows: list[tuple[str, float]]) -> None:
    """Whatever the labels and values, a plot is well-formed XML with a mark for each value."""
    rows = [(label.encode(errors="replace").decode(), value) for label, value in rows]
    rows = [(re.sub(r"[^\x20-\ud7ff\ue000-\ufffd]", "?", label), value) for label, value in rows]
    marks = [Interval(label, value, value - 1, value + 1) for label, value in rows]
    plot = parsed(interval_plot(marks, description='<&">'))
    assert len(plot.findall(".//circle")) == len(rows)
    curves = [
        Curve(label, [1, 2], [value, 0.0], [value, 0.0], [value, 1.0]) for label, value in rows
    ]
    lines = parsed(line_plot(curves, description="d", x_label="x", percent=True))
    assert len(lines.findall(".//polyline")) == len(rows)
