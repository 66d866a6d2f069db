"""LangChain's own test suites for chat models, on the real base model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_urial import ChatUrial
from langchain_urial.structured_output import Method
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.loading import converted_gguf


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of typed output with each method."""
    if metafunc.cls is TestIntegration and "structured_output" in metafunc.function.__name__:
        metafunc.parametrize("method", get_args(Method), indirect=True)


class TestUnit(ChatModelUnitTests):
    """The unit suite; nothing is loaded."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatUrial

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "some/base-model"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"URIAL_MODEL": "some/base-model"}, {}, {"model_name": "some/base-model"}


@pytest.mark.model
class TestIntegration(ChatModelIntegrationTests):
    """The integration suite, greedy, on the demo model in float32.

    What is about typed output runs with each of its methods.
    """

    @pytest.fixture(autouse=True)
    def _use_demo_model(self, demo_model: TransformersModel) -> None:
        # The suite's properties are read after this fixture has run.
        type(self).demo_model = demo_model

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatUrial

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.demo_model.name,
            "engine_options": {"dtype": "float32"},
            "max_tokens": 100,
        }

    @pytest.fixture(autouse=True)
    def method(self, request: pytest.FixtureRequest) -> None:
        """Take the method that the test runs with, if any."""
        type(self).structured_output_method = getattr(request, "param", "json_schema")

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": self.structured_output_method}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        return {"invoke": ["cache_read_input"], "stream": ["cache_read_input"]}

    @property
    def model_override_value(self) -> str:
        # The folder that the GGUF file was converted to: the same weights under another name.
        return str(converted_gguf(Path(self.demo_model.name), torch.float32))

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        """Ask twice: the second page's constant part is known from the first."""
        model = ChatUrial(**self.chat_model_params)
        model.invoke("Hello")
        if not stream:
            return model.invoke("Good evening")
        whole = AIMessageChunk(content="")
        for chunk in model.stream("Good evening"):
            whole += chunk
        return whole
