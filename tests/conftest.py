"""Shared by all tests: the environment, and the real base model."""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read by libgomp when torch is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from urial_core.backends.transformers import TransformersModel


@pytest.fixture(scope="session")
def demo_model() -> TransformersModel:
    """The demo extra's base model in float32, where greedy replies are equal to the last token."""
    from urial_core.backends.transformers import TransformersModel
    from urial_core.demo import demo_model_file

    model = TransformersModel(demo_model_file(), dtype="float32")
    model.load()
    return model
