"""Metadata and serialization of an LLM."""

from __future__ import annotations

import json
import time

from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.llms import LLM, CustomLLM

from llamaindex_urial.conformance.claims import LLMClaims, contract

__all__ = ["MetadataTests"]

_READS = 200
_BASE_NAMES = {"base_component", CustomLLM.class_name()}
_SECRET_NAMES = {"api_key", "apikey", "authorization", "token", "password", "secret"}


class MetadataTests(LLMClaims):
    """Test ``metadata``, ``to_dict``, ``to_json`` and ``to_payload``."""

    @contract("PromptHelper.from_llm_metadata (indices/prompt_helper.py)")
    def test_metadata(self, llm: LLM) -> None:
        """The context window is larger than the output, which is positive or -1 (unknown)."""
        metadata = llm.metadata

        assert isinstance(metadata, LLMMetadata)
        assert metadata.num_output == -1 or 0 < metadata.num_output < metadata.context_window
        assert metadata.context_window > 0

    @contract("evaluators choose templates by model_name (evaluation/faithfulness.py); tracers")
    def test_model_name(self, llm: LLM) -> None:
        """The model has a name other than the default, 'unknown'."""
        assert llm.metadata.model_name.strip()
        assert llm.metadata.model_name != LLMMetadata().model_name

    @contract("the chat engines: whether to send messages or a prompt (llms/llm.py, predict)")
    def test_function_calling_model_is_a_chat_model(self, llm: LLM) -> None:
        """A function-calling model is a chat model too."""
        metadata = llm.metadata
        assert metadata.is_chat_model or not metadata.is_function_calling_model

    @contract("BaseLLM.to_payload, which reads it in each call (llms/callbacks.py)")
    def test_metadata_is_cheap(self, llm: LLM) -> None:
        """Reading the metadata 200 times takes less than a quarter of a second."""
        assert llm.metadata == llm.metadata
        begin = time.perf_counter()
        for _ in range(_READS):
            _ = llm.metadata
        assert time.perf_counter() - begin < 0.25

    @contract("BaseComponent.to_dict (schema.py); load_llm (llms/loading.py)")
    def test_class_name(self, llm: LLM) -> None:
        """The class has a name of its own, and its dictionary holds it."""
        assert llm.class_name() not in _BASE_NAMES
        assert llm.to_dict()["class_name"] == llm.class_name()

    @contract("BaseComponent.to_json (schema.py)")
    def test_dictionary_is_json(self, llm: LLM) -> None:
        """``to_json()`` returns JSON."""
        assert json.loads(llm.to_json())["class_name"] == llm.class_name()

    @contract("BaseComponent.to_dict, which is stored and logged (schema.py)")
    def test_dictionary_holds_no_secret(self, llm: LLM) -> None:
        """``to_dict()`` holds no secret."""
        self.check_no_secret([llm.to_dict()])

    @contract("BaseLLM.to_payload (base/llms/base.py)")
    def test_payload_describes_the_llm(self, llm: LLM) -> None:
        """``to_payload()`` is JSON, names class and model, and has no field for a secret."""
        payload = llm.to_payload()

        assert json.loads(json.dumps(payload, default=str))
        assert payload["class_name"] == llm.class_name()
        assert payload.get("model_name", payload.get("model"))
        assert not {name for name, value in payload.items() if value} & _SECRET_NAMES
