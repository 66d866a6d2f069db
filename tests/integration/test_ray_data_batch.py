"""The batch job of the examples, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "ray_data_batch.py"
SCRIPT = ROOT / "tests" / "servers" / "llama_server.py"

RAY_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}

pytestmark = [
    pytest.mark.model,
    pytest.mark.server,
    pytest.mark.matrix,
    pytest.mark.timeout(700),
]


@pytest.fixture
def server() -> Generator[str]:
    """The API of a llama.cpp server with the demo model."""
    pytest.importorskip("xllamacpp", reason="needs the extra llamacpp")
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--window", "1024"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    yield f"{process.stdout.readline().strip()}/v1"
    process.kill()
    process.communicate()


def start(questions: Path, folder: Path, server: str) -> subprocess.Popen[str]:
    """Start the example on a file of questions, without telemetry.

    Ray would start its workers with a niceness of 15, so that tests beside this one starve them.
    """
    paths = ["--questions", str(questions), "--folder", str(folder)]
    options = ["--server", server, "--in-flight", "4", "--rows-per-part", "8"]
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), *paths, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), **RAY_SETTINGS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def parts(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each part that is recorded as done."""
    from pyarrow import parquet

    done = {file.name.partition(".")[0] for file in done_files(folder)}
    files = sorted((folder / "parts").glob("*.parquet"))
    recorded = [file for file in files if file.name.partition("-")[0].partition(".")[0] in done]
    return {file.name: parquet.read_table(file).to_pylist() for file in recorded}


def done_files(folder: Path) -> list[Path]:
    """Return Ray Data's own records of finished parts."""
    return [f for f in (folder / "done").glob("*.parquet") if ".pending" not in f.name]


def test_a_killed_job_resumes(server: str, tmp_path: Path) -> None:
    """Written rows stay; only the rest is sent; a row without a question has its error."""
    pytest.importorskip("ray.data", reason="needs the extra ray")
    questions, folder = tmp_path / "questions.jsonl", tmp_path / "answers"
    texts = [f"What is {number} plus 1?" for number in range(24)]
    texts[3] = ""
    rows = [
        {"id": f"q{number:02}", "messages": [{"role": "user", "content": text}]}
        for number, text in enumerate(texts)
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    job = start(questions, folder, server)
    deadline = time.monotonic() + 350
    while not done_files(folder):
        assert job.poll() is None, job.communicate()[0][-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    before = parts(folder)
    assert 0 < sum(map(len, before.values())) < len(rows)

    job = start(questions, folder, server)
    shown, _ = job.communicate(timeout=400)
    assert job.returncode == 0, shown[-2000:]
    after = parts(folder)
    assert {name: after[name] for name in before} == before
    answered = {row["id"]: row for part in after.values() for row in part}
    assert sum(map(len, after.values())) == len(answered) == len(rows)
    failed = {row["id"]: row["error"] for row in answered.values() if row["error"]}
    assert list(failed) == ["q03"]
    assert "no message has any text" in failed["q03"]
    assert all(row["reply"] or row["id"] == "q03" for row in answered.values())
    assert "1 with an error" in shown
