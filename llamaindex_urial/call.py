"""Call: what one call of the LLM is made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage

from llamaindex_urial.template_stops import template_stops
from llamaindex_urial.translation import core_messages
from urial_core import GenerationParameters, JsonSchema, Prompt, ToolUse, UrialChat
from urial_core.backends.wrapped import SAMPLING, WrappedModel
from urial_core.composing import ReplyRequest
from urial_core.errors import ParameterError
from urial_core.openai_tools import parse_response_format, parse_tools

if TYPE_CHECKING:
    from llamaindex_urial.llm import UrialLLM

__all__ = ["Call"]

_OWN = (
    *SAMPLING,
    "stop",
    "prefill",
    "logprobs",
    "top_logprobs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
)


@dataclass(frozen=True, slots=True)
class Call:
    """The chat and parameters of one call.

    Attributes:
        chat: The model behind its prompt.
        parameters: How to sample. The call's own go before the LLM's, and those before what was set
            on the wrapped model.
        prefill: Whether a final assistant message is to be continued.
        model_name: What to call the model in metadata.
        tools: What may be called, and whether it must be.
        response_format: The form that an answer must have.
    """

    chat: UrialChat
    parameters: GenerationParameters
    prefill: bool
    model_name: str
    tools: ToolUse | None = None
    response_format: JsonSchema | None = None

    @classmethod
    def of(
        cls, owner: UrialLLM, wrapped: WrappedModel, prompt: Prompt, kwargs: Mapping[str, Any]
    ) -> Call:
        """Put a call together.

        Args:
            owner: The LLM.
            wrapped: Its completion model.
            prompt: Its prompt.
            kwargs: What the call was given; None stands for "not given".

        Raises:
            ParameterError: A value is wrong, or its name unknown to the model.
        """
        given = {name: value for name, value in kwargs.items() if value is not None}
        model = wrapped.model
        extra = {key: given.pop(key) for key in list(given) if key not in _OWN}
        if extra:
            with_arguments = model.features.with_arguments
            if with_arguments is None:
                raise ParameterError(
                    f"Unknown parameter {', '.join(extra)}: the parameters are {', '.join(_OWN)}."
                )
            model = with_arguments(extra)

        def value(key: str) -> Any:
            return given.get(key, getattr(owner, key, None))

        parameters = wrapped.parameters_for(value, given.get("stop"), owner.stop)
        return cls(
            UrialChat(model, prompt, owner.overflow, owner.context_window),
            parameters,
            bool(value("prefill")),
            str(owner.model_name),
            parse_tools(
                given.get("tools"),
                given.get("tool_choice"),
                parallel=given.get("parallel_tool_calls"),
            ),
            parse_response_format(given.get("response_format")),
        )

    def request(self, messages: Sequence[ChatMessage]) -> ReplyRequest:
        """Compose the request for a conversation."""
        parameters = self.parameters
        if stops := template_stops(messages):
            parameters = parameters.replace(stop=(*parameters.stop, *stops))
        return self.chat.request(
            core_messages(messages),
            parameters,
            prefill=self.prefill,
            tools=self.tools,
            response_format=self.response_format,
        )

    def plain_request(self, text: str) -> ReplyRequest:
        """Compose the request that has a text continued as it is."""
        return self.chat.plain_request(text, self.parameters)
