"""Arguments of other chat models: renamed, ignored with a warning, or known."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest

from urial_core import ParameterError, call_arguments
from urial_core.call_arguments import (
    IGNORED_ARGUMENTS,
    accepted_arguments,
    flattened_arguments,
    refuse_replaced_arguments,
)
from urial_core.openai_tools import parse_tools

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("add", "sub", "now")]


@pytest.fixture(autouse=True)
def warned(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Forget what was warned of."""
    names = set[str]()
    monkeypatch.setattr(call_arguments, "_warned", names)
    return names


def test_what_has_no_effect_is_left_out_with_one_warning() -> None:
    """A warning lists the names, and none comes for them again."""
    given = {"service_tier": "flex", "user": "ann", "seed": 1, "temprature": 1}
    with pytest.warns(UserWarning, match="service_tier, user: without effect"):
        assert accepted_arguments(given, ["seed"]) == {"seed": 1, "temprature": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert accepted_arguments(given, ["seed"]) == {"seed": 1, "temprature": 1}


def test_values_that_mean_nothing_are_left_out() -> None:
    """Frameworks pass the defaults of OpenAI's API; other values of the same names are kept."""
    unset = {"n": 1, "logit_bias": {}, "extra_body": {}}
    assert accepted_arguments(unset, []) == {}
    assert accepted_arguments(unset, ["n"]) == {"n": 1}
    used = {"n": 2, "logit_bias": {"5": 1}, "extra_body": {"a": 1}}
    assert accepted_arguments(used, []) == used


def test_what_changes_the_meaning_is_not_ignored() -> None:
    """Arguments that decide what is answered are used or refused, never dropped."""
    deciding = {"logit_bias", "functions", "function_call", "previous_response_id", "min_tokens"}
    assert not deciding & IGNORED_ARGUMENTS


def test_replaced_arguments_are_refused_with_their_successors() -> None:
    """The form of ``functions`` is not that of ``tools``, so it is an error and no other name."""
    refuse_replaced_arguments({"tools": [], "tool_choice": "auto"})
    with pytest.raises(ParameterError, match=r"^function_call: .*Use tool_choice=, or"):
        refuse_replaced_arguments({"function_call": "auto"})


def test_other_names_are_understood() -> None:
    """A known name takes precedence over another name of it."""
    assert accepted_arguments({"max_completion_tokens": 5}, []) == {"max_tokens": 5}
    both = {"max_completion_tokens": 5, "max_tokens": 7}
    assert accepted_arguments(both, ["max_tokens"]) == {"max_tokens": 7}
    assert accepted_arguments({"stop_sequences": ["x"]}, ["stop_sequences"]) == {
        "stop_sequences": ["x"]
    }


def test_nested_arguments_stand_in_for_those_not_given() -> None:
    """They are renamed, and what is given beside them takes precedence, in this order."""
    nested = {"top_p": 0.5, "max_new_tokens": 4, "seed": None}
    assert flattened_arguments({"additional_kwargs": nested}) == {"top_p": 0.5, "max_tokens": 4}
    assert flattened_arguments({"max_tokens": 7, "generate_kwargs": nested})["max_tokens"] == 7
    both = {"generate_kwargs": {"max_tokens": 5}, "additional_kwargs": nested}
    assert flattened_arguments(both)["max_tokens"] == 4
    assert flattened_arguments({"generate_kwargs": None, "n": 2}) == {"n": 2}


@pytest.mark.parametrize(
    "arguments",
    [
        {"allowed": ["now", "add"]},
        {"allowed": [TOOLS[0], {"type": "function", "name": "now"}]},
        {"choice": {"type": "allowed_tools", "mode": "auto", "tools": [TOOLS[0], TOOLS[2]]}},
        {
            "choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [TOOLS[0], TOOLS[2]]},
            }
        },
    ],
)
def test_allowed_tools_leave_the_others_out(arguments: dict[str, Any]) -> None:
    """Of the tools, those that may be called are listed, in their order."""
    use = parse_tools(TOOLS, **arguments)
    assert use is not None
    assert [tool.name for tool in use.tools] == ["add", "now"]
    assert use.choice == "auto"


def test_a_tool_may_have_the_name_of_a_mode() -> None:
    """What names a tool takes precedence over the mode of that name; a dict's type is a mode."""
    tools = [{"type": "function", "function": {"name": "auto"}}]
    for choice, forced in ("auto", "auto"), ({"name": "auto"}, "auto"), ({"type": "auto"}, None):
        use = parse_tools(tools, choice)
        assert use is not None
        assert use.forced == forced


def test_an_unknown_tool_cannot_be_allowed() -> None:
    """A name that no tool has is an error, and not a request without tools."""
    with pytest.raises(ParameterError, match="mul may be called, but the tools are add, sub, now"):
        parse_tools(TOOLS, allowed=["mul"])


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ({"allowed": 5}, "allowed_tools is 5: pass a list"),
        ({"allowed": "add"}, "allowed_tools is 'add': pass a list"),
        ({"allowed": [None]}, "allowed_tools holds None: pass tools' names"),
        (
            {"choice": {"type": "allowed_tools", "mode": "auto"}},
            "use {'type': 'allowed_tools', 'mode': 'auto', 'tools': [...]}",
        ),
        (
            {"choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": 5}}},
            "allowed_tools is 5: pass a list",
        ),
        (
            {"choice": {"type": "allowed_tools", "allowed_tools": ["add"]}},
            "use {'type': 'allowed_tools', 'mode': 'auto', 'tools': [...]}",
        ),
    ],
)
def test_allowed_tools_are_a_list(arguments: dict[str, Any], advice: str) -> None:
    """What limits the tools in another form is an error that says what to write."""
    with pytest.raises(ParameterError, match=re.escape(advice)):
        parse_tools(TOOLS, **arguments)
