"""Report page: one self-contained HTML file, from a template and data.

The page loads nothing: styles, scripts and data are in it, and its content security policy forbids
requests. It follows the reader's light or dark setting.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urial_core import __version__
from urial_core.analysis.text_files import write_text
from urial_core.errors import MissingDependencyError

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["check_report_packages", "render_page", "write_page"]


def check_report_packages() -> None:
    """Raise unless reports can be made: call it before work whose result is a report.

    Raises:
        MissingDependencyError: A package of the extra ``analysis`` is not installed.
    """
    MissingDependencyError.check("A report", "analysis", "jinja2", "numpy")


def render_page(template: str, *, title: str, data: object, **values: Any) -> str:
    """Return a page's HTML.

    Args:
        template: A file in ``templates``; it extends ``page.html.jinja``. Values are escaped.
        title: The page's title.
        data: What the page's script shows, as JSON can hold it; the script reads it with
            ``readData()``. Numbers must be finite.
        values: Further values for the template.

    Raises:
        MissingDependencyError: jinja2 is not installed.
    """
    check_report_packages()
    page = _environment().get_template(template)
    return page.render(title=title, data=data, version=__version__, **values)


def write_page(path: Path, template: str, *, title: str, data: object, **values: Any) -> None:
    """Write a page to a file; see ``render_page``.

    Raises:
        AnalysisError: The file cannot be written.
        MissingDependencyError: jinja2 is not installed.
    """
    write_text(path, render_page(template, title=title, data=data, **values))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # `tojson` escapes <, >, & and ', so that no text of the data ends the script that holds it.
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    environment.globals["source"] = _source
    return environment


def _source(name: str) -> Markup:
    """Return a style sheet or script of the templates as it is."""
    from markupsafe import Markup

    return Markup((files(__package__) / "templates" / name).read_text("utf-8"))  # noqa: S704 - own file
