"""The conformance suite on LLMs that break one rule each.

pytest runs this file in a process of its own; see ``test_llamaindex_suite.py``.
"""

from __future__ import annotations

from typing import Any

import faults_in_answers
import faults_in_messages
import faults_in_streams
import faults_in_tools
from fake_llm import FakeLLM
from fake_suite import FakeSuite
from faults_in_streams import TIME_LIMIT

__all__ = ["FAULTS"]

FAULTS: dict[str, set[str]] = {}
"""The tests that each faulty class must fail."""


def _suite_on(faulty: type[FakeLLM]) -> type[FakeSuite]:
    """Make the suite's class for this LLM, with only the tests that it must fail."""
    left_out = {name for name in dir(FakeSuite) if name.startswith("test_")} - faulty.fails
    members: dict[str, Any] = dict.fromkeys(left_out)
    members["llm_class"] = faulty
    members["options"] = {} if "delay" in faulty.__annotations__ else {"delay": 0.0}
    members["time_limit"] = TIME_LIMIT
    return type(f"Test{faulty.__name__}", (FakeSuite,), members)


for _module in (faults_in_answers, faults_in_messages, faults_in_streams, faults_in_tools):
    for _name in [name for name in _module.__all__ if name != "TIME_LIMIT"]:
        FAULTS[_name] = getattr(_module, _name).fails
        globals()[f"Test{_name}"] = _suite_on(getattr(_module, _name))
