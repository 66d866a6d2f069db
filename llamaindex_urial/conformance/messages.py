"""Conversations of all kinds are accepted, sent unchanged, and not modified."""

from __future__ import annotations

import logging
from copy import deepcopy
from functools import partial

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.calls import CHATS, Endpoint
from llamaindex_urial.conformance.claims import LLMClaims, contract

__all__ = ["CONVERSATIONS", "MessageTests"]

_system, _user, _assistant, _developer = (
    partial(ChatMessage, role=role) for role in ("system", "user", "assistant", "developer")
)
_CALL = ToolCallBlock(tool_call_id="call-1", tool_name="forecast", tool_kwargs={"city": "Rome"})
_RESULT = ChatMessage(
    "Sunny, 25 degrees", role="tool", additional_kwargs={"tool_call_id": "call-1"}
)

CONVERSATIONS: dict[str, list[ChatMessage]] = {
    "system first (chat engines)": [_system("Answer like a pirate."), _user("How are you?")],
    "several turns": [_user("I am Ada."), _assistant("Hello, Ada."), _user("What is my name?")],
    "system last (agents, early stopping)": [
        _user("Count the stars."),
        _system("Out of time. Answer with what is known so far."),
    ],
    "users in a row (ReActAgent, second try)": [
        _user("First question"),
        _user("Second question"),
        _assistant("An answer"),
        _user("Third question"),
    ],
    "tool call without text, tool result last (FunctionAgent)": [
        _user("What is the weather in Rome?"),
        _assistant([_CALL]),
        _RESULT,
    ],
    "tool arguments as text": [
        _user("What is the weather in Oslo?"),
        _assistant([_CALL.model_copy(update={"tool_kwargs": '{"city": "Oslo"}'})]),
        _RESULT,
        _user("And tomorrow?"),
    ],
    "empty texts": [_user("Hello"), _assistant(""), _user("Are you there?")],
    "assistant first (a truncated memory)": [_assistant("Where were we?"), _user("At the bees.")],
    "several blocks of text (structured output of agents)": [
        _user([TextBlock(text="One block."), TextBlock(text="Another.")])
    ],
    "thinking": [
        _user("What is two and two?"),
        _assistant([ThinkingBlock(content="An easy sum."), TextBlock(text="Four.")]),
        _user("And three and three?"),
    ],
    "doubled braces (PydanticOutputParser)": [
        _user('Fill in {{"name": "{value}"}} and 100 % {of} it.')
    ],
    "developer": [_developer("Be brief."), _user("What is a bee?")],
}
"""Conversations as engines and agents send them, by what is special and who sends them."""

# The smallest PNG: one white pixel.
_IMAGE = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    b"\x00\x00\x00\nIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\x1b\xb6\xeeV\x00\x00\x00\x00IEND\xaeB`\x82"
)
_SENDERS = "the senders that the conversation's name states; see CONVERSATIONS"


class MessageTests(LLMClaims):
    """Test the conversations of ``CONVERSATIONS``."""

    @pytest.mark.parametrize("form", CONVERSATIONS)
    @contract(_SENDERS, CHATS)
    def test_accepts_every_conversation(self, llm: LLM, form: str, endpoint: Endpoint) -> None:
        """Conversations of every kind are answered."""
        answer = self.ask(llm, endpoint, deepcopy(CONVERSATIONS[form]))[-1]

        assert isinstance(answer, ChatResponse)
        assert answer.message.role == MessageRole.ASSISTANT

    @pytest.mark.parametrize("form", CONVERSATIONS)
    @contract(_SENDERS)
    def test_the_model_sees_every_text(self, llm: LLM, form: str) -> None:
        """Each text of a conversation reaches the model, unchanged and in order of the turns."""
        conversation = CONVERSATIONS[form]
        self.ask(llm, Endpoint("chat"), deepcopy(conversation))

        seen = self.needs_seen_by_model(llm)
        for block in [block for message in conversation for block in message.blocks]:
            if isinstance(block, TextBlock):
                assert block.text in seen
            if isinstance(block, ToolCallBlock):
                assert block.tool_name in seen, "the tool call is lost"
        turns = [m.content for m in conversation if m.content and m.role == MessageRole.USER]
        places = [seen.rindex(text.splitlines()[0]) for text in turns]
        assert places == sorted(places), "the turns are not in order"

    @pytest.mark.parametrize("form", [form for form in CONVERSATIONS if "without text" in form])
    @contract("ChatMessage.content is None without a text block (base/llms/types.py)")
    def test_no_text_is_not_the_text_none(self, llm: LLM, form: str) -> None:
        """A message without text is not shown to the model as the word None."""
        self.ask(llm, Endpoint("chat"), deepcopy(CONVERSATIONS[form]))

        assert "None" not in self.needs_seen_by_model(llm)

    @contract("memories and agents, which send the same objects again (memory/)", CHATS)
    def test_does_not_change_the_messages(self, llm: LLM, endpoint: Endpoint) -> None:
        """The list and the messages passed are the same afterwards."""
        for conversation in CONVERSATIONS.values():
            given = deepcopy(conversation)
            self.ask(llm, endpoint, given)
            assert given == conversation

    @contract("users: an answer about an image that was never seen is made up", CHATS)
    def test_images_are_not_lost_silently(
        self,
        llm: LLM,
        endpoint: Endpoint,
        caplog: pytest.LogCaptureFixture,
        recwarn: pytest.WarningsRecorder,
    ) -> None:
        """An LLM without image input raises an error about an image, or warns."""
        blocks = [TextBlock(text="What is this?"), ImageBlock(image=_IMAGE)]
        refused = ""
        caplog.set_level(logging.WARNING)
        try:
            self.ask(llm, endpoint, [_user(blocks)])
        except Exception as error:  # noqa: BLE001 - whatever error an LLM has for this
            refused = str(error)
        if self.supports_image_inputs:
            assert not refused
        else:
            warned = [*caplog.messages, *(str(warning.message) for warning in recwarn.list)]
            assert refused or "image" in " ".join(warned).lower(), "no error or warning of images"
