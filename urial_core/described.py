"""Describe another library's model object by the settings that decide its output."""

from __future__ import annotations

from typing import Any

__all__ = ["described"]

_NAMES = ("model_name", "model", "model_id", "repo_id", "deployment_name")
_SETTINGS = (
    *("temperature", "top_p", "top_k", "max_tokens", "max_new_tokens", "seed"),
    *("frequency_penalty", "presence_penalty", "repetition_penalty", "repeat_penalty"),
)


def described(model: object) -> dict[str, Any]:
    """Return an object's class, its model's name and its sampling settings; no secrets."""
    found = {name: getattr(model, name, None) for name in (*_NAMES, *_SETTINGS)}
    plain = {name: value for name, value in found.items() if isinstance(value, str | int | float)}
    return {"class": type(model).__name__, **plain}
