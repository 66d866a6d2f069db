"""``predict`` and its kin, which engines call."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import LLM
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate, PromptTemplate

from llamaindex_urial.conformance.claims import LLMClaims
from llamaindex_urial.conformance.contract import contract
from llamaindex_urial.conformance.recording import Recorded, recording

__all__ = ["PredictionTests"]

_METHODS = ["predict", "stream", "apredict", "astream"]
_TEMPLATES = {
    "template": PromptTemplate("{question}"),
    "chat template": ChatPromptTemplate(
        message_templates=[
            ChatMessage(role="system", content="You are kind."),
            ChatMessage(role="user", content="{question}"),
        ]
    ),
}


class PredictionTests(LLMClaims):
    """Templates in, text out."""

    @pytest.fixture
    def prompted_llm(self, llm: LLM) -> Generator[LLM]:
        """The LLM with a system prompt."""
        before, llm.system_prompt = llm.system_prompt, "Answer in the manner of a pirate."
        yield llm
        llm.system_prompt = before

    @pytest.mark.parametrize("template", _TEMPLATES)
    @pytest.mark.parametrize("method", _METHODS)
    @contract("response synthesizers (response_synthesizers/)")
    def test_predicts(self, llm: LLM, method: str, template: str) -> None:
        """Each method gives text."""
        assert self._predicted(llm, method, _TEMPLATES[template]).strip()

    @pytest.mark.parametrize("template", _TEMPLATES)
    @pytest.mark.parametrize("method", _METHODS[1:])
    @contract("response synthesizers, streaming or not (response_synthesizers/)")
    def test_predicts_the_same(self, llm: LLM, method: str, template: str) -> None:
        """All methods give the same text."""
        self.needs("deterministic")
        prompt = _TEMPLATES[template]
        assert self._predicted(llm, method, prompt) == self._predicted(llm, "predict", prompt)

    @pytest.mark.parametrize("template", _TEMPLATES)
    @pytest.mark.parametrize("method", _METHODS)
    @contract("LLM._extend_messages and _extend_prompt add it already (llms/llm.py)")
    def test_system_prompt_is_applied_once(
        self, prompted_llm: LLM, method: str, template: str
    ) -> None:
        """``system_prompt`` is in the question just once, and reaches the model just once."""
        system_prompt = prompted_llm.system_prompt or ""

        with recording(prompted_llm) as recorded:
            self._predicted(prompted_llm, method, _TEMPLATES[template])

        assert _asked(recorded).count(system_prompt) == 1, "in the question"
        seen = self.seen_by_model(prompted_llm)
        assert seen is None or seen.count(system_prompt) == 1, "in what the model sees"

    def _predicted(self, llm: LLM, method: str, template: BasePromptTemplate) -> str:
        async def awaited() -> str:
            answer = await getattr(llm, method)(template, question=self.prompt)
            return answer if method == "apredict" else "".join([text async for text in answer])

        if method.startswith("a"):
            return self.run_async(awaited())
        return self.run(lambda: "".join(getattr(llm, method)(template, question=self.prompt)))


def _asked(recorded: Recorded) -> str:
    start = recorded.named("LLMChatStartEvent", "LLMCompletionStartEvent")[0]
    if hasattr(start, "prompt"):
        return str(start.prompt)
    return "\n".join(message.content or "" for message in start.messages)
