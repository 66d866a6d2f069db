"""Messages and generation parameters: values that are valid or refused."""

from __future__ import annotations

import ast
import inspect
import math
import re
from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import pytest

from urial_core import (
    ConversationError,
    GenerationParameters,
    Message,
    ParameterError,
    UnsupportedContentError,
)
from urial_core.errors import shown
from urial_core.sampling_settings import SamplingSettings


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_every_role_is_accepted(role: Any) -> None:
    """A message of one of the four roles keeps its role and its text unchanged."""
    message = Message(role, " text\n", name="calculator")
    assert (message.role, message.text, message.name) == (role, " text\n", "calculator")


@pytest.mark.parametrize("role", ["human", "User", "", None, "ai"])
def test_an_unknown_role_is_refused(role: Any) -> None:
    """An unknown role is refused, and the error names it and the valid roles."""
    with pytest.raises(ConversationError) as caught:
        Message(role, "Hi")
    assert repr(role) in str(caught.value)
    for known in ("system", "user", "assistant", "tool"):
        assert known in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, "NoneType"),
        (b"Hi", "bytes"),
        (["Hi"], "list"),
        ({"type": "image"}, "dict"),
        (1, "int"),
    ],
)
def test_text_must_be_a_string(text: Any, kind: str) -> None:
    """Content other than a string is refused as unsupported, and the error names its type."""
    with pytest.raises(UnsupportedContentError, match=rf"must be a str, not {kind}"):
        Message("user", text)


def test_messages_are_frozen_values() -> None:
    """Messages compare by value, are hashable and are immutable."""
    message = Message("user", "Hi")
    assert message == Message("user", "Hi")
    assert len({message, Message("user", "Hi"), Message("user", "Ho")}) == 2
    with pytest.raises(FrozenInstanceError):
        message.text = "Ho"  # type: ignore[misc]


VALID: dict[str, list[Any]] = {
    "max_tokens": [None, 1, 4096],
    "temperature": [None, 0, 0.0, 0.7, 2.5],
    "top_p": [None, 0.01, 1, 1.0],
    "top_k": [None, 0, 50],
    "repetition_penalty": [None, 0.5, 1, 1.3],
    "frequency_penalty": [None, -2, 0, 2],
    "presence_penalty": [None, -2.0, 0.5, 2],
    "dry_multiplier": [None, 0, 0.8],
    "dry_base": [None, 1, 1.75],
    "dry_allowed_length": [None, 1, 9],
    "dry_sequence_breakers": [None, (), (":", "*")],
    "end_bias": [None, 0, 1.5],
    "banned_openers": [None, (), ("I", "As an AI")],
    "seed": [None, -1, 0, 2**63],
    "n": [1, 8],
    "logprobs": [None, 0, 20],
    "stop": [(), ("a", "b")],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in VALID.items() for v in values])
def test_values_in_range_are_kept(name: str, value: Any) -> None:
    """Every value in range is kept unchanged."""
    assert getattr(GenerationParameters(**{name: value}), name) == value


def test_set_parameters_are_renamed_for_an_engine() -> None:
    """An engine gets the parameters that are set, under its own names, and no others."""
    parameters = GenerationParameters(temperature=0, max_tokens=7, seed=1)
    names = {"max_tokens": "n_predict", "temperature": "temp", "top_p": "top_p"}
    assert parameters.under_names(names) == {"n_predict": 7, "temp": 0}
    assert GenerationParameters().under_names(names) == {}


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("max_tokens", 0, "a whole number at least 1"),
        ("max_tokens", 12.5, "a whole number at least 1"),
        ("max_tokens", "12", "a whole number at least 1"),
        ("max_tokens", True, "a whole number at least 1"),
        ("temperature", -0.1, "a number at least 0"),
        ("temperature", math.nan, "a number at least 0"),
        ("temperature", "hot", "a number at least 0"),
        ("top_p", 1.1, "a number at least 0 at most 1"),
        ("top_p", -0.1, "a number at least 0 at most 1"),
        ("top_p", 0, "temperature=0"),
        ("top_k", -1, "a whole number at least 0"),
        ("top_k", 2.0, "a whole number at least 0"),
        ("repetition_penalty", 0, "1.0"),
        ("repetition_penalty", -1, "a number at least 0"),
        ("repetition_penalty", False, "a number at least 0"),
        ("frequency_penalty", 2.1, "at least -2 at most 2"),
        ("frequency_penalty", -2.1, "at least -2 at most 2"),
        ("presence_penalty", 3, "at least -2 at most 2"),
        ("seed", 1.5, "a whole number"),
        ("seed", "1", "a whole number"),
        pytest.param("seed", 10**400, "a whole number", id="seed-huge"),
        ("n", 0, "a whole number at least 1"),
        ("n", None, "a whole number at least 1"),
        ("logprobs", -1, "at least 0 at most 20"),
        ("logprobs", 21, "at least 0 at most 20"),
        ("logprobs", True, "at least 0 at most 20"),
        ("stop", "END", "give a sequence of strings"),
        ("end_bias", 1e308, "give a number at least 0 at most 10000"),
        ("stop", ("END", 1), "give a sequence of strings"),
        ("stop", b"END", "give a sequence of strings"),
        ("stop", None, "give a sequence of strings"),
        ("stop", 5, "give a sequence of strings"),
    ],
)
def test_invalid_values_are_refused(name: str, value: Any, advice: str) -> None:
    """A value out of range or of another type is refused, with its name and what is valid."""
    with pytest.raises(ParameterError) as caught:
        GenerationParameters(**{name: value})
    assert str(caught.value).startswith(f"{name} is {shown(value)}")
    assert advice in str(caught.value)


def test_an_empty_stop_string_is_refused() -> None:
    """An empty stop string is refused, since it would end every reply."""
    with pytest.raises(ParameterError, match="empty string"):
        GenerationParameters(stop=("END", ""))


@pytest.mark.parametrize("name", ["stop", "dry_sequence_breakers", "banned_openers"])
def test_strings_with_a_lone_surrogate_are_refused(name: str) -> None:
    """Half a character is refused under the parameter's name: no reply holds one."""
    with pytest.raises(ParameterError, match=rf"^{name} holds 'END\\ud83d', .* '\\ud83d'"):
        GenerationParameters(**{name: ("x", "END\ud83d")})


def test_infinite_temperature_is_refused() -> None:
    """An infinite temperature is refused."""
    with pytest.raises(ParameterError, match="temperature is inf"):
        GenerationParameters(temperature=math.inf)


def test_stop_strings_are_deduplicated_in_order() -> None:
    """Stop strings become a tuple without duplicates, in the order given."""
    parameters = GenerationParameters(stop=["b", "a", "b"])  # type: ignore[arg-type]
    assert parameters.stop == ("b", "a")


def test_replace_returns_a_changed_copy() -> None:
    """``replace`` returns a changed copy and does not change the original."""
    before = GenerationParameters(temperature=0.5, stop=("x",))
    after = before.replace(temperature=0, stop=(), seed=7)
    assert (after.temperature, after.stop, after.seed) == (0, (), 7)
    assert (before.temperature, before.stop, before.seed) == (0.5, ("x",), None)


def test_replace_keeps_values_for_none() -> None:
    """``None`` in ``replace`` keeps the value of any parameter."""
    before = GenerationParameters(max_tokens=5, temperature=0.5, top_k=3, seed=1, stop=("x",))
    assert before.replace(**dict.fromkeys(VALID)) == before


def test_replace_validates_like_the_constructor() -> None:
    """``replace`` refuses values out of range, and unknown names with a list of the known ones."""
    with pytest.raises(ParameterError, match="top_p is 2"):
        GenerationParameters().replace(top_p=2)
    with pytest.raises(ParameterError, match=r"Unknown parameter temprature: .*temperature"):
        GenerationParameters().replace(temprature=1)


def test_resolved_fills_in_unset_parameters() -> None:
    """``resolved`` gives unset parameters their defaults, and keeps those that are set."""
    resolved = GenerationParameters(temperature=0.5, top_k=3, stop=("x",)).resolved()
    assert resolved == GenerationParameters(
        temperature=0.5,
        top_p=1.0,
        top_k=3,
        repetition_penalty=1.1,
        frequency_penalty=0.0,
        presence_penalty=0.0,
        dry_multiplier=0.0,
        dry_base=1.75,
        dry_allowed_length=2,
        dry_sequence_breakers=(),
        end_bias=0.0,
        banned_openers=(),
        stop=("x",),
    )
    assert GenerationParameters().resolved().temperature == 0.0
    assert resolved.resolved() == resolved


def test_parameters_are_frozen_values() -> None:
    """Parameters compare by value, are hashable and are immutable."""
    assert hash(GenerationParameters(seed=1)) == hash(GenerationParameters(seed=1))
    with pytest.raises(FrozenInstanceError):
        GenerationParameters().seed = 2  # type: ignore[misc]


def test_settings_state_their_defaults() -> None:
    """A number that a setting's docstring states as the default is the one that is used."""
    used = GenerationParameters().resolved()
    stated = dict[str, float]()
    [settings] = ast.parse(inspect.getsource(SamplingSettings)).body
    for setting, docstring in pairwise(settings.body):
        name = setting.target.id if isinstance(setting, ast.AnnAssign) else ""
        if getattr(used, name, None) is not None:
            number = re.search(r"Default:.* (\d+(\.\d+)?)", docstring.value.value)
            stated |= {name: float(number[1])} if number else {}
    assert stated == {name: getattr(used, name) for name in stated}
    assert "dry_allowed_length" in stated
