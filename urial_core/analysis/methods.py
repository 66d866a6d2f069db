"""Methods: the ways to have a conversation answered that a comparison sets side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Protocol

from urial_core.analysis.questions import Question
from urial_core.backends.wrapping import find_class
from urial_core.chat import UrialChat
from urial_core.chat_settings import ChatSettings
from urial_core.completion import CompletionModel, Usage
from urial_core.described import described
from urial_core.errors import UnsupportedModelError
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.prompt import Prompt
from urial_core.strategies import DecodingStrategy

__all__ = ["ChatModelMethod", "Method", "MethodReply", "PromptMethod", "chat_model_method"]


_PARAMETERS = tuple(parameter.name for parameter in fields(GenerationParameters))


@dataclass(frozen=True, slots=True)
class MethodReply:
    """A reply and what is known about it.

    Attributes:
        text: Its text.
        end: What ended it, as ``urial_core.replies.EndReason``, or a chat model's finish reason;
            "length" for the token limit; empty if unknown.
        usage: Its tokens, if they are counted.
    """

    text: str
    end: str
    usage: Usage | None = None


class Method(Protocol):
    """One way to have a conversation answered."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides the replies, as JSON can hold it; no secrets."""

    def prompt_text(self, question: Question) -> str:
        """Return the constant text before a conversation, from which a reply may copy."""

    def reply(self, question: Question, messages: Sequence[Message]) -> MethodReply:
        """Answer a question's conversation so far; threads call it at the same time."""


@dataclass(frozen=True)
class PromptMethod:
    """A base model under a prompt.

    Attributes:
        model: The base model.
        prompt_for: Returns the prompt for a question; it is asked once for each.
        parameters: How to sample.
        context_window: The model's window in tokens, where it does not know it.
        decoding: How a reply is found; None for one sample.
        details: Settings beside the prompt that decide the prompts of all questions.
    """

    model: CompletionModel
    prompt_for: Callable[[Question], Prompt]
    parameters: GenerationParameters
    context_window: int | None = None
    decoding: DecodingStrategy | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt_for", cache(self.prompt_for))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The prompt and the sampling; the model is the comparison's."""
        sampling = self.parameters.under_names({name: name for name in _PARAMETERS})
        strategy = {"decoding": repr(self.decoding)} if self.decoding else {}
        return {**self.details, "parameters": sampling, **strategy}

    def prompt_text(self, question: Question) -> str:
        """Return the prompt prefix."""
        return self.prompt_for(question).prefix

    def reply(self, question: Question, messages: Sequence[Message]) -> MethodReply:
        """Answer; the engine batches what several threads ask at the same time."""
        prompt = self.prompt_for(question)
        chat = UrialChat(
            self.model, prompt, context_window=self.context_window, decoding=self.decoding
        )
        [reply] = chat.reply([chat.request(messages, self.parameters)])
        return MethodReply(reply.text, reply.end.reason, reply.end.usage)


@dataclass(frozen=True)
class ChatModelMethod:
    """A chat model of LangChain or LlamaIndex, such as a tuned one.

    Attributes:
        model: The chat model.
        ask: Sends a conversation to it.
        settings: The model's class, name and sampling, as far as they can be seen.
        prompt: Text that it puts before each conversation, where that is known.
    """

    model: object
    ask: Callable[[Any, Sequence[Message]], MethodReply]
    settings: Mapping[str, Any]
    prompt: str = ""

    def prompt_text(self, question: Question) -> str:  # noqa: ARG002 - as the protocol has it
        """Return what is known to stand before each conversation."""
        return self.prompt

    def reply(self, question: Question, messages: Sequence[Message]) -> MethodReply:  # noqa: ARG002
        """Answer by one call of the model."""
        return self.ask(self.model, messages)


def chat_model_method(model: object) -> ChatModelMethod:
    """Return the method that asks a chat model.

    Args:
        model: A LangChain chat model, or a chain around one that takes messages; or a LlamaIndex
            LLM.

    Raises:
        UnsupportedModelError: It is neither, or a LangChain LLM that completes text.
    """
    settings, prompt = described(model), ""
    if isinstance(model, ChatSettings):
        call = model._call({})  # noqa: SLF001 - of this project
        prompt = call.chat.prompt.prefix
        settings |= {"prompt": call.chat.prompt.digest, "parameters": repr(call.parameters)}
        if call.chat.decoding is not None:
            settings |= {"decoding": repr(call.chat.decoding)}
    if find_class(model, ("BaseLLM",), "langchain_core"):
        raise UnsupportedModelError(
            f"{type(model).__name__} completes text and is no chat model: pass "
            "ChatUrial(llm=...), or compare(..., model=ChatUrial(llm=...))."
        )
    if callable(getattr(model, "invoke", None)):
        return ChatModelMethod(model, _ask_langchain, settings, prompt)
    if callable(getattr(model, "chat", None)) and hasattr(model, "metadata"):
        return ChatModelMethod(model, _ask_llamaindex, settings, prompt)
    raise UnsupportedModelError(
        f"{type(model).__name__} is no method: pass a name such as 'urial:default', a LangChain "
        "chat model or a LlamaIndex LLM."
    )


def _ask_langchain(model: Any, messages: Sequence[Message]) -> MethodReply:
    roles = {"user": "human", "assistant": "ai", "system": "system"}
    answer = model.invoke([(roles[message.role], message.text) for message in messages])
    if isinstance(answer, str):  # a chain that ends with a parser
        return MethodReply(answer, "")
    about = answer.response_metadata
    end = about.get("end_reason") or about.get("finish_reason") or about.get("stop_reason")
    usage = answer.usage_metadata or {}
    cached = (usage.get("input_token_details") or {}).get("cache_read")
    tokens = Usage.of(usage.get("input_tokens"), usage.get("output_tokens"), cached)
    return MethodReply(str(answer.text), _end(end or about.get("done_reason")), tokens)


def _ask_llamaindex(model: Any, messages: Sequence[Message]) -> MethodReply:
    from llama_index.core.base.llms.types import ChatMessage, MessageRole

    given = [ChatMessage(role=MessageRole(m.role), content=m.text) for m in messages]
    response = model.chat(given)
    raw = response.raw
    about = raw if isinstance(raw, Mapping) else getattr(raw, "__dict__", {})
    choices = about.get("choices") or [{}]
    first = choices[0] if isinstance(choices[0], Mapping) else vars(choices[0])
    names = ("end_reason", "finish_reason", "stop_reason", "done_reason")
    end = next((part[name] for part in (about, first) for name in names if part.get(name)), "")
    counts = about.get("usage") or {}
    counts = counts if isinstance(counts, Mapping) else vars(counts)
    tokens = Usage.of(
        counts.get("input_tokens", counts.get("prompt_tokens")),
        counts.get("output_tokens", counts.get("completion_tokens")),
        counts.get("cached_tokens"),
    )
    return MethodReply(response.message.content or "", _end(end), tokens)


def _end(reason: object) -> str:
    """Return a finish reason in this project's words, where providers differ."""
    text = str(getattr(reason, "value", reason) or "").lower()
    return "length" if text in ("length", "max_tokens", "max_output_tokens") else text
