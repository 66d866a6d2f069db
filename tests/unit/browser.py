"""A headless Chromium that runs a page's script and returns what the page then holds."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

__all__ = ["chromium", "opened", "text_of"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PRESS = (
    "const press = (key) => document.body.dispatchEvent("
    'new KeyboardEvent("keydown", { key, bubbles: true }));'
)


def chromium() -> str:
    """Return the path of the browser; skip the test where there is none."""
    browser = next(filter(None, map(shutil.which, _NAMES)), None)
    if browser is None:
        pytest.skip("needs Chromium")
    return browser


def opened(page: Path, folder: Path, fragment: str = "", script: str = "") -> str:
    """Open a page and return its document as HTML, after its script ran.

    Args:
        page: The page's file.
        folder: Where the browser keeps its profile, and a copy of the page.
        fragment: The address's part after ``#``.
        script: What a reader does then, as JavaScript; ``press("j")`` presses a key.
    """
    browser = chromium()
    if script:
        folder.mkdir(exist_ok=True)
        text = page.read_text("utf-8").replace(
            "</body>", f"<script>{_PRESS}{script}</script></body>"
        )
        page = folder / "page.html"
        page.write_text(text, "utf-8")
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"),
        *(f"--user-data-dir={folder}", "--dump-dom", f"{page.as_uri()}#{fragment}"),
    ]
    done = subprocess.run(command, capture_output=True, timeout=100, check=True)
    return done.stdout.decode()


def text_of(document: str, element_id: str) -> str:
    """Return the text of an element that holds text only."""
    found = re.search(rf'id="{element_id}"[^>]*>([^<]*)<', document)
    assert found, f"no element {element_id}"
    return unescape(found[1])
