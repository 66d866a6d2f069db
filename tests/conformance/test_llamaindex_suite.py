"""The conformance suite for LlamaIndex passes a correct LLM and fails each faulty one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from fake_suite import FakeSuite
from faulty_llms import FAULTS

from llamaindex_urial.conformance import LLMConformanceTests

HERE = Path(__file__).parent


class TestFakeLLM(FakeSuite):
    """An LLM that keeps every rule and claims everything passes every test."""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[str]]:
    """Return the failures of each faulty LLM: their texts, by class and test."""
    report = tmp_path_factory.mktemp("faults") / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "-p",
        "no:cacheprovider",
        "--tb=native",
    ]
    subprocess.run(
        [*command, "--import-mode=importlib", f"--junitxml={report}", HERE / "faulty_llms.py"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        check=False,  # tests are expected to fail
        stdout=subprocess.DEVNULL,
    )
    found: dict[tuple[str, str], list[str]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own file
        llm = case.get("classname", "").rpartition(".Test")[2]
        texts = found.setdefault((llm, case.get("name", "").partition("[")[0]), [])
        texts += [failure.text or "" for failure in case.findall("failure")]
    return found


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("llm", "test"), [(llm, test) for llm, tests in FAULTS.items() for test in sorted(tests)]
)
def test_a_faulty_llm_fails(
    failures: dict[tuple[str, str], list[str]], llm: str, test: str
) -> None:
    """The test of the rule that this LLM breaks fails and shows the contract."""
    assert failures[llm, test]
    for text in failures[llm, test]:
        assert "Contract: " in text
        assert "Relied on by: " in text


def test_every_test_can_fail() -> None:
    """For each test of the suite there is an LLM that fails it."""
    tests = {name for name in dir(LLMConformanceTests) if name.startswith("test_")}
    failed = set[str]().union(*FAULTS.values())
    assert tests - failed == set()
