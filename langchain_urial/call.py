"""Call: what one call of the chat model is made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from langchain_urial.structured_output import openai_format
from langchain_urial.tools import openai_choice, openai_tools
from langchain_urial.translation import core_messages
from urial_core import GenerationParameters, Prompt, UrialChat
from urial_core.backends.in_process import shared_model
from urial_core.backends.wrapped import SAMPLING, WrappedModel
from urial_core.composing import ReplyRequest
from urial_core.errors import ParameterError, UnsupportedModelError
from urial_core.openai_tools import parse_response_format, parse_tools
from urial_core.structured.constraints import JsonSchema
from urial_core.tools import ToolUse

if TYPE_CHECKING:
    from langchain_urial.chat_models import ChatUrial

__all__ = ["Call"]

_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
_OWN = (*SAMPLING, "n", *_TOOLS, "response_format", "model", "prefill", "logprobs", "top_logprobs")


@dataclass(frozen=True, slots=True)
class Call:
    """The chat, parameters and names of one call.

    Attributes:
        chat: The model behind its prompt.
        parameters: How to sample. The call's own go before the chat model's, and those before what
            was set on the wrapped LLM.
        prefill: Whether a final AI message is to be continued.
        model_name: What to call the model in metadata.
        tools: What the replies may call.
        response_format: The form of replies in text.
    """

    chat: UrialChat
    parameters: GenerationParameters
    prefill: bool
    model_name: str
    tools: ToolUse | None = None
    response_format: JsonSchema | None = None

    @classmethod
    def of(
        cls,
        owner: ChatUrial,
        wrapped: WrappedModel,
        prompt: Prompt,
        kwargs: Mapping[str, Any],
        stop: Sequence[str] | None,
    ) -> Call:
        """Put a call together.

        Args:
            owner: The chat model.
            wrapped: Its completion model.
            prompt: Its prompt.
            kwargs: What the call was given; None stands for "not given".
            stop: Stop strings of the call.

        Raises:
            ParameterError: A value is wrong, or its name unknown to the model.
            UnsupportedModelError: Another model was asked for where there can be none.
        """
        given = {name: value for name, value in kwargs.items() if value is not None}
        given.pop("stream", None)
        model, name = wrapped.model, str(owner.model_name)
        if other := given.get("model"):
            model, name = _other_model(owner, model, str(other)), str(other)
        extra = {key: given.pop(key) for key in list(given) if key not in _OWN}
        if extra:
            with_arguments = model.features.with_arguments
            if with_arguments is None:
                raise ParameterError(
                    f"Unknown parameter {', '.join(extra)}: the parameters are {', '.join(_OWN)} "
                    "and stop."
                )
            model = with_arguments(extra)

        def value(key: str) -> Any:
            return given.get(key, getattr(owner, key))

        tools = openai_tools(given.get("tools", ()))
        choice = openai_choice(given.get("tool_choice"), tools)
        form = given.get("response_format")
        parameters = wrapped.parameters_for(value, stop, owner.stop)
        return cls(
            UrialChat(model, prompt, owner.overflow, owner.context_window),
            parameters,
            bool(value("prefill")),
            name,
            parse_tools(tools, choice, parallel=given.get("parallel_tool_calls")),
            parse_response_format(openai_format(form) if form is not None else None),
        )

    def requests(self, messages: Sequence[BaseMessage]) -> list[ReplyRequest]:
        """Compose the requests for a conversation: ``n`` of them, with seeds of their own."""
        request = self.chat.request(
            core_messages(messages),
            self.parameters,
            prefill=self.prefill,
            tools=self.tools,
            response_format=self.response_format,
        )
        seed = self.parameters.seed
        if self.parameters.n == 1:
            return [request]
        return [
            replace(
                request,
                parameters=request.parameters.replace(
                    n=1, seed=None if seed is None else seed + number
                ),
            )
            for number in range(self.parameters.n)
        ]


def _other_model(owner: ChatUrial, model: Any, name: str) -> Any:
    if name == owner.model_name:
        return model
    if owner.llm is None:
        return shared_model(name, owner.backend_settings)
    with_model = model.features.with_model
    if with_model is not None:
        return with_model(name)
    raise UnsupportedModelError(
        f"model={name!r}: {type(owner.llm).__name__} serves one model and cannot switch to "
        "another. Make a second ChatUrial for it."
    )
