"""The two sides of a token shift analysis: who writes an answer, and what the base model sees.

Both sides see the same conversation, earlier answers included. The base model sees its turns alone,
in the plain template of the prompt format, with neither instruction nor examples: the zero-shot
template of Lin et al. 2024, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from urial_core.analysis.token_shift.in_process import InProcessScorer
from urial_core.analysis.token_shift.on_server import ServerScorer
from urial_core.analysis.token_shift.scoring import AnswerScorer
from urial_core.backends.completions_server import CompletionsServerModel, is_server_url
from urial_core.backends.transformers import TransformersModel
from urial_core.chat import UrialChat
from urial_core.completion import CompletionRequest, TokenRequest
from urial_core.demo import demo_model_file
from urial_core.errors import ContextOverflowError, UnsupportedModelError
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.loading import load_prompt, preset_names
from urial_core.prompts.prompt import Prompt
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.turns import write_turns

__all__ = [
    "AlignedSide",
    "PromptedSide",
    "ShiftModel",
    "TunedSide",
    "aligned_side",
    "base_request",
    "model_name",
    "model_named",
    "model_settings",
    "prompt_named",
    "scorer_of",
]

ShiftModel = TransformersModel | CompletionsServerModel
"""A model of either side."""

_PROMPT_FILES = (".toml", ".txt")
"""Names of prompt files end so; anything else that is no preset names a model."""


class AlignedSide(Protocol):
    """Who writes the answers."""

    @property
    def model(self) -> ShiftModel:
        """The model that writes the answers."""

    @property
    def name(self) -> str:
        """The side's name in reports."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its answers, apart from how they are sampled."""

    @property
    def answer_format(self) -> PromptFormat | None:
        """The format whose delimiters end an answer; None if only an end-of-text token does."""

    def request(
        self, messages: Sequence[Message], parameters: GenerationParameters
    ) -> CompletionRequest:
        """Return the request for the next answer.

        Raises:
            ContextOverflowError: It does not fit the context window.
        """


@dataclass(frozen=True)
class PromptedSide:
    """The base model itself under a URIAL prompt."""

    model: ShiftModel
    prompt: Prompt

    @property
    def name(self) -> str:
        """The prompt's name."""
        return f"prompt {self.prompt.name!r}"

    @property
    def settings(self) -> dict[str, Any]:
        """The prompt's name and digest."""
        return {"prompt": self.prompt.name, "digest": self.prompt.digest}

    @property
    def answer_format(self) -> PromptFormat | None:
        """The prompt's format."""
        return self.prompt.format

    def request(
        self, messages: Sequence[Message], parameters: GenerationParameters
    ) -> CompletionRequest:
        """Write the conversation after the prompt."""
        chat = UrialChat(self.model, self.prompt)
        return chat.request(messages, parameters, stop_at_template=False)


@dataclass(frozen=True)
class TunedSide:
    """Another model, tuned from the base model, with its own chat template."""

    model: ShiftModel

    @property
    def name(self) -> str:
        """The model's name."""
        return model_name(self.model)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the model's output."""
        return model_settings(self.model)

    @property
    def answer_format(self) -> PromptFormat | None:
        """None: the model ends its answers with an end-of-text token."""
        return None

    def request(
        self, messages: Sequence[Message], parameters: GenerationParameters
    ) -> CompletionRequest:
        """Write the conversation with the model's chat template."""
        turns = [{"role": message.role, "content": message.text} for message in messages]
        ids = self.model.encode_chat(turns)
        window, most = self.model.context_window, parameters.max_tokens or 0
        if window is not None and len(ids) + most > window:
            raise ContextOverflowError(window, len(ids), most, [("conversation", len(ids))])
        return TokenRequest(
            prompt="", prompt_ids=tuple(ids), prefix_length=0, stop=(), parameters=parameters
        )


def model_named(name: str | Path) -> ShiftModel:
    """Return the model of a name: "demo", a hub id, a path or a server's URL."""
    if is_server_url(str(name)):
        return CompletionsServerModel(str(name))
    return TransformersModel(demo_model_file() if name == "demo" else name)


def aligned_side(against: str | Path | Prompt | ShiftModel, model: ShiftModel) -> AlignedSide:
    """Return the side that a user names.

    Args:
        against: A prompt or the name of one (see ``prompt_named``), for the model under it; or a
            tuned model, or its name (see ``model_named``).
        model: The base model.

    Raises:
        PromptError: The prompt file is invalid.
    """
    if isinstance(against, ShiftModel):
        return TunedSide(against)
    prompt = prompt_named(against)
    if prompt is not None:
        return PromptedSide(model, prompt)
    return TunedSide(model_named(str(against)))


def scorer_of(side: AlignedSide, base: ShiftModel) -> AnswerScorer:
    """Return what scores the answers of a side and its base model.

    Raises:
        UnsupportedModelError: One runs in this process, the other on a server.
    """
    match side.model, base:
        case TransformersModel() as aligned, TransformersModel():
            return InProcessScorer(aligned, base)
        case CompletionsServerModel() as aligned, CompletionsServerModel():
            return ServerScorer(aligned, base)
    raise UnsupportedModelError(
        f"One of {model_name(base)} and {side.name} runs in this process and the other on a "
        "server: have both run in this process, or serve both."
    )


def prompt_named(name: str | Path | Prompt) -> Prompt | None:
    """Return the prompt of a preset's name or a prompt file's path; None if it names a model.

    Raises:
        PromptError: The prompt file is invalid.
    """
    if isinstance(name, Prompt) or name in preset_names():
        return load_prompt(name)
    path = Path(name)
    return load_prompt(path) if path.suffix.lower() in _PROMPT_FILES else None


def base_request(side: AlignedSide, messages: Sequence[Message]) -> CompletionRequest:
    """Return the request in which the base model sees a conversation: its turns alone."""
    prompt_format = side.answer_format or PromptFormat()
    turns = write_turns(messages, prompt_format) + prompt_format.open_turn("assistant")
    parameters = GenerationParameters(max_tokens=1)
    return CompletionRequest(
        prompt=turns.lstrip("\n"), prefix_length=0, stop=(), parameters=parameters
    )


def model_name(model: ShiftModel) -> str:
    """Return a model's id, or the name of its file or folder."""
    return Path(model.name).name if Path(model.name).exists() else model.name


def model_settings(model: ShiftModel) -> dict[str, Any]:
    """Return what decides a model's output, as far as another process can have it too."""
    settings = {name: value for name, value in model.cache_key.items() if name != "object"}
    if isinstance(model, CompletionsServerModel):
        settings["model"] = model.name  # the one that is served, where none was named
    return settings
