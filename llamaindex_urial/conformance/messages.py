"""Conversations of all forms are taken, as they are, and left as they were."""

from __future__ import annotations

import logging
from copy import deepcopy

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.claims import LLMClaims
from llamaindex_urial.conformance.contract import contract
from llamaindex_urial.conformance.conversations import CONVERSATIONS
from llamaindex_urial.conformance.endpoints import CHATS, Endpoint

__all__ = ["MessageTests"]

# The smallest PNG there is: one white point.
_IMAGE = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    b"\x00\x00\x00\nIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\x1b\xb6\xeeV\x00\x00\x00\x00IEND\xaeB`\x82"
)


class MessageTests(LLMClaims):
    """The forms of conversations; see ``CONVERSATIONS``."""

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @pytest.mark.parametrize("form", CONVERSATIONS)
    @contract("whoever the form's name says; see conversations.py")
    def test_takes_conversations_of_every_form(
        self, llm: LLM, form: str, endpoint: Endpoint
    ) -> None:
        """A conversation of this form is answered."""
        answer = self.ask(llm, endpoint, deepcopy(CONVERSATIONS[form]))[-1]

        assert isinstance(answer, ChatResponse)
        assert answer.message.role == MessageRole.ASSISTANT

    @pytest.mark.parametrize("form", CONVERSATIONS)
    @contract("whoever the form's name says; see conversations.py")
    def test_the_model_sees_every_text(self, llm: LLM, form: str) -> None:
        """Each text of a conversation reaches the model, unchanged and in order of the turns."""
        conversation = CONVERSATIONS[form]
        self.ask(llm, Endpoint("chat"), deepcopy(conversation))

        seen = self.seen_by_model(llm)
        if seen is None:
            pytest.skip("`seen_by_model` does not say")
        for message in conversation:
            for block in message.blocks:
                if isinstance(block, TextBlock):
                    assert block.text in seen
                if isinstance(block, ToolCallBlock):
                    assert block.tool_name in seen, "the call of the tool is lost"
        turns = [m.content for m in conversation if m.content and m.role == MessageRole.USER]
        places = [seen.rindex(text.splitlines()[0]) for text in turns]
        assert places == sorted(places), "the turns are not in order"

    @pytest.mark.parametrize("form", [form for form in CONVERSATIONS if "without text" in form])
    @contract("ChatMessage.content is None without a text block (base/llms/types.py)")
    def test_no_text_is_not_the_text_none(self, llm: LLM, form: str) -> None:
        """A message without text is not shown to the model as the word None."""
        self.ask(llm, Endpoint("chat"), deepcopy(CONVERSATIONS[form]))

        seen = self.seen_by_model(llm)
        if seen is None:
            pytest.skip("`seen_by_model` does not say")
        assert "None" not in seen

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("memories and agents, which send the same objects again (memory/)")
    def test_does_not_change_the_messages(self, llm: LLM, endpoint: Endpoint) -> None:
        """The list and the messages given are the same afterwards."""
        for conversation in CONVERSATIONS.values():
            given = deepcopy(conversation)
            self.ask(llm, endpoint, given)
            assert given == conversation

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("users: an answer about an image that was never seen is made up")
    def test_images_are_not_lost_silently(
        self,
        llm: LLM,
        endpoint: Endpoint,
        caplog: pytest.LogCaptureFixture,
        recwarn: pytest.WarningsRecorder,
    ) -> None:
        """An LLM without eyes refuses an image, or warns."""
        question = ChatMessage(
            role="user",
            blocks=[TextBlock(text="What is this?"), ImageBlock(image=_IMAGE)],
        )
        refused = ""
        with caplog.at_level(logging.WARNING):
            try:
                self.ask(llm, endpoint, [question])
            except Exception as error:
                refused = str(error)
        told = [record.getMessage() for record in caplog.records]
        told += [str(warning.message) for warning in recwarn.list]
        warned = any("image" in text.lower() for text in told)
        if self.accepts_images:
            assert not refused
        else:
            assert refused or warned, "neither an error nor a warning that names images"
