"""LangChain's own test suites for chat models, on the real base model."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, get_args

import pytest
from chat_urial_claims import ChatUrialClaims
from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_urial import ChatUrial
from langchain_urial.structured_output import Method
from urial_core.backends.in_process import shared_model
from urial_core.demo import demo_model_file

OWN_OPTIONS = {"n_ctx": 4096, "n_parallel": 1}
"""Options of a model that no other test shares."""


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
class TestLlamaCpp(ChatUrialClaims):
    """The integration suite, greedy, with the default prompt, on llama.cpp in this process."""

    methods: ClassVar[tuple[str, ...]] = get_args(Method)
    quick: ClassVar[set[str]] = {
        "test_ainvoke",
        "test_astream",
        "test_invoke",
        "test_stream",
        "test_structured_output",
        "test_tool_calling",
        "test_tool_message_histories_list_content",
        "test_usage_metadata",
    }
    backend_options: ClassVar[dict[str, Any]] = {"n_ctx": 4096, "n_parallel": 4}

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _models(cls, tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
        """Keep both models loaded, which each test's chat model shares by their names."""
        cls.link = tmp_path_factory.mktemp("model") / "other-name.gguf"
        cls.link.symlink_to(demo_model_file())
        models = [
            shared_model(str(file), cls.backend_options) for file in (demo_model_file(), cls.link)
        ]
        yield
        del models

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": str(demo_model_file()),
            "backend_options": self.backend_options,
            "max_tokens": self.reply_tokens,
        }

    @pytest.fixture(autouse=True)
    def own_model(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the agent's loop run on a model that has read nothing before.

        To call its tool and to answer are a tie for the demo model (0.43 to 0.52), which the
        quantized kernels round either way by what they computed before.
        """
        if "agent_loop" in request.node.name:
            monkeypatch.setattr(type(self), "backend_options", OWN_OPTIONS)

    @property
    def model_override_value(self) -> str:
        # The same weights under another name.
        return str(self.link)
