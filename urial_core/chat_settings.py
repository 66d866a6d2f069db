"""Chat settings: the fields, constructors and set-up that both frameworks' chat classes share."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.backends.in_process import BACKEND_OPTIONS, shared_model, without_token
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.wrapping import WrappedModel
from urial_core.call import Call
from urial_core.call_arguments import (
    NESTED_ARGUMENTS,
    REPLACED_ARGUMENTS,
    accepted_arguments,
    flattened_arguments,
    refuse_replaced_arguments,
)
from urial_core.chat import UrialChat
from urial_core.completion import CompletionModel
from urial_core.composing import Overflow
from urial_core.errors import ParameterError, UnsupportedModelError
from urial_core.openai_tools import parse_response_format, parse_tools
from urial_core.parameters import LIMITS, SAMPLING, GenerationParameters
from urial_core.prompts.dynamic_examples import DynamicExamples
from urial_core.prompts.loading import load_prompt
from urial_core.prompts.prompt import Prompt
from urial_core.sampling_settings import SamplingSettings
from urial_core.strategies import DecodingStrategy, load_strategy
from urial_core.written_settings import DecodingSetting, ModelSetting, ObjectSetting

__all__ = ["ChatSettings"]

_FIELDS = (
    *SAMPLING,
    *LIMITS,
    *("n", "stop", "stop_at_template", "prefill", "logprobs", "top_logprobs", "decoding"),
    "nudge_with",
)
"""Fields whose value a call may override, where the class has them."""
_ARGUMENTS = (
    *("tools", "tool_choice", "parallel_tool_calls", "allowed_tools"),
    *("response_format", "model"),
)
"""What only a call is given."""


class ChatSettings(SamplingSettings):
    """The settings of a chat model: a base class beside the framework's own.

    They may be changed: an assignment and ``model_copy(update=...)`` check the value as the
    constructor does, and it applies from the next call on.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, populate_by_name=True, extra="forbid", protected_namespaces=()
    )

    llm: ModelSetting = Field(default=None, repr=False)
    """The base model: a completion LLM of the framework, or a core ``CompletionModel``."""

    model_name: str | None = Field(
        default_factory=lambda: os.environ.get("URIAL_MODEL"), alias="model"
    )
    """Without ``llm``: a hub id, folder or ``.gguf`` file to run in this process. Default:
    ``$URIAL_MODEL``. With ``llm``: the model's name for metadata."""

    backend_options: dict[str, Any] = Field(default_factory=dict)
    """Without ``llm``: ``backend`` and the backend's options; see ``from_model_id``."""

    prompt: str | Path | Prompt = "default"
    """A preset's name, the ``Path`` of a prompt file, or a ``urial_core.Prompt``."""

    example_selector: ObjectSetting = Field(default=None, repr=False)
    """Chooses further examples for each question: an example selector of LangChain, a retriever of
    LlamaIndex, or a function (``urial_core.prompts.dynamic_examples``)."""

    max_examples: int = 3
    """The most examples that ``example_selector`` adds."""

    overflow: Overflow = "error"
    """What to do with a conversation too long for the window: "error", or "truncate" to drop its
    oldest exchanges, then to cut the middle out of texts that are too long by themselves."""

    prefill: bool = False
    """Whether a final assistant message is the beginning of the reply, to be continued."""

    context_window: int | None = None
    """The model's whole window in tokens, where the model does not report it."""

    stop: str | list[str] | None = None
    """Strings at which every reply ends, beside those of the call."""

    stop_at_template: bool = True
    """Whether a reply ends where it would continue the message's own text template: its next
    label, ruler or example."""

    decoding: DecodingSetting = None
    """How a reply is found: None samples one; "best_of_n", "nudge" (with ``nudge_with``), "power",
    "rollout_power", or a strategy such as ``urial_core.strategies.BestOfN(n=4)``."""

    nudge_with: Any = Field(default=None, exclude=True, repr=False)
    """With ``decoding="nudge"``: a small aligned model that writes the words where the base model
    is unsure: a chat model of LangChain, an LLM of LlamaIndex, or a function. To change both
    fields later, use ``model_copy(update=...)``."""

    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """A token for the hub, where ``model`` needs one; or the key given to ``from_endpoint``."""

    _wrapped: WrappedModel = PrivateAttr()
    _prompt: Prompt = PrivateAttr()

    _fixed: ClassVar[frozenset[str]] = frozenset()
    """Fields that the model was made with and that cannot change later."""
    _of_the_model: ClassVar[frozenset[str]] = frozenset({"llm", "backend_options", "api_key"})
    """Fields with which the model is wrapped anew."""

    @model_validator(mode="before")
    @classmethod
    def _collect_backend_options(cls, values: Any) -> Any:
        """Accept the backend's options among the fields, as ``init_chat_model`` passes them.

        What other chat models take and this one has no use for is left out with a warning.
        """
        if not isinstance(values, dict):
            return values
        values = flattened_arguments(values)
        refuse_replaced_arguments(values)
        values = accepted_arguments(values, cls._field_names() | BACKEND_OPTIONS)
        if not (found := BACKEND_OPTIONS & values.keys()):
            return values
        options = {name: values[name] for name in found}
        rest = {name: value for name, value in values.items() if name not in found}
        return {**rest, "backend_options": {**(values.get("backend_options") or {}), **options}}

    @field_validator("model_name", mode="before")
    @classmethod
    def _write_paths(cls, value: Any) -> Any:
        return str(value) if isinstance(value, os.PathLike) else value

    @classmethod
    def _field_names(cls) -> set[str]:
        aliases = {field.alias for field in cls.model_fields.values() if field.alias}
        return cls.model_fields.keys() | aliases

    def model_post_init(self, context: Any, /) -> None:
        """Load the prompt and wrap the model."""
        super().model_post_init(context)
        self._set_up()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a setting as ``model_copy(update=...)`` does.

        Raises:
            ParameterError: The value is invalid, or the setting cannot change any more.
        """
        if "_wrapped" not in (self.__pydantic_private__ or {}) or name not in self._own_fields():
            super().__setattr__(name, value)
            return
        changed = self.model_copy(update={name: value})
        self.__dict__.update(changed.__dict__)
        self.__pydantic_fields_set__.update(changed.__pydantic_fields_set__)
        object.__setattr__(self, "__pydantic_private__", changed.__pydantic_private__)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with the same model, and with some settings changed.

        Args:
            update: Values by the names of fields, checked as the constructor checks them.
            deep: Whether to copy mutable values as well, other than the model.

        Raises:
            ParameterError: A value is invalid, there is no such field, or it cannot change.
        """
        copied = super().model_copy(deep=deep)
        if update:
            copied._change(update)  # noqa: SLF001 - of the same class
        return copied

    def _change(self, update: Mapping[str, Any]) -> None:
        names = {field.alias: name for name, field in type(self).model_fields.items()}
        changes = {names.get(name, name): value for name, value in update.items()}
        if options := {name: changes.pop(name) for name in BACKEND_OPTIONS & changes.keys()}:
            changes["backend_options"] = {**self.backend_options, **options}
        if unknown := changes.keys() - type(self).model_fields.keys():
            raise ParameterError(f"{type(self).__name__} has no field {', '.join(unknown)}.")
        fixed = self._fixed | ({"api_key"} if self.llm is not None else set[str]())
        for name in fixed & changes.keys():
            if changes[name] != getattr(self, name):
                raise ParameterError(
                    f"{name} cannot change: the model given as llm was made with its own. Set it "
                    f"there, or make another {type(self).__name__}."
                )
        for name, value in changes.items():
            self.__pydantic_validator__.validate_assignment(self, name, value)
        if "llm" in changes and "model_name" not in changes:
            self.__pydantic_fields_set__.discard("model_name")  # it is the new model's
        renewing = self._of_the_model | ({"model_name"} if self.llm is None else set[str]())
        self._set_up(
            wrapped=None if renewing & changes.keys() else self._wrapped,
            prompt=None if "prompt" in changes else self._prompt,
        )

    @classmethod
    def _own_fields(cls) -> AbstractSet[str]:
        """Return the fields of this class that are not the framework's own."""
        bases = [base for base in cls.__mro__ if issubclass(base, SamplingSettings)]
        declared = {name for base in bases for name in vars(base).get("__annotations__", ())}
        return cls.model_fields.keys() & (declared | cls._of_the_model)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy everything but the models and the example selector."""
        private = (self.__pydantic_private__ or {}).values()
        own = (self.llm, self.example_selector, self.nudge_with, self.decoding)
        shared = {id(part): part for part in (*own, *private)}
        return super().__deepcopy__({**(memo or {}), **shared})

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle the settings alone: the model is found or wrapped anew."""
        state = super(ChatSettings, copy(self)).__getstate__()  # LlamaIndex takes parts out of it
        if "llm" not in state["__dict__"]:
            raise UnsupportedModelError(f"{type(self.llm)} cannot be pickled: pass model=.")
        return {**state, "__pydantic_private__": {}}

    @classmethod
    def from_model_id(
        cls,
        model_id: Any,
        tokenizer: Any = None,
        *,
        backend_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Run a model in this process. Nothing is loaded before it is needed.

        Args:
            model_id: A hub id, a local folder or a ``.gguf`` file; or a causal language model of
                transformers that is loaded already.
            tokenizer: A loaded model's fast tokenizer.
            backend_options: ``backend`` ("auto", "transformers" or "llama.cpp") and that backend's
                options: those of ``urial_core.backends.transformers.TransformersModel``, such as
                ``dtype``, ``device_map``, ``quantization_config``; or those of
                ``urial_core.backends.llama_cpp.LlamaCppModel``, such as ``n_ctx``, ``n_parallel``.
                By default a ``.gguf`` file runs on llama.cpp where that is installed and no option
                of transformers is given; anything else runs on transformers.
            **kwargs: Fields of this class; the backend's options may be among them too.
        """
        known = cls._field_names() | {*NESTED_ARGUMENTS, *REPLACED_ARGUMENTS}
        kwargs = accepted_arguments(kwargs, known)
        options = dict(backend_options or {})
        options |= {name: kwargs.pop(name) for name in list(kwargs) if name not in known}
        if isinstance(model_id, (str, os.PathLike)):
            return cls(model_name=str(model_id), backend_options=options, **kwargs)
        return cls(llm=TransformersModel(model_id, tokenizer, **options), **kwargs)

    @classmethod
    def from_endpoint(
        cls,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | SecretStr | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """Use a base model behind a server with an OpenAI-style ``/v1/completions``.

        Args:
            base_url: The API's base URL, such as ``http://127.0.0.1:8000/v1``.
            model: The model's name there. Default: the first one that the server lists, which is
                requested now. With a name, nothing is sent before the first call.
            api_key: The server's key, if it requires one.
            timeout: Seconds to wait for a connection or for the next chunk. Default: the SDK's.
            max_retries: How often a failed request is repeated. Default: the SDK's.
            **kwargs: Fields of this class.
        """
        key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        server = CompletionsServerModel(
            base_url,
            model,
            api_key=key.get_secret_value() if key else None,
            timeout=timeout,
            max_retries=max_retries,
        )
        settings = {"api_key": key, "timeout": timeout, "max_retries": max_retries}
        present = {name: value for name, value in settings.items() if name in cls.model_fields}
        return cls(llm=server, **present, **kwargs)

    @property
    def backend_settings(self) -> dict[str, Any]:
        """The backend's options, with the hub token: secret."""
        token = {"token": self.api_key.get_secret_value()} if self.api_key else {}
        return {**token, **self.backend_options}

    @property
    def urial(self) -> UrialChat:
        """The core's chat: the model and its prompt."""
        return self._call({}).chat

    @property
    def prefix_tokens(self) -> int:
        """Tokens of the constant prompt prefix that precedes every conversation."""
        return self._wrapped.model.count_tokens(self._prompt.prefix)

    @abstractmethod
    def _wrap(self, llm: Any) -> WrappedModel:
        """Make a completion model of what was given as ``llm``."""

    def _set_up(self, wrapped: WrappedModel | None = None, prompt: Prompt | None = None) -> None:
        """Load the prompt, wrap the model, and check the parameters before the first call.

        Args:
            wrapped: The model, where it is known.
            prompt: The prompt, where it is known.
        """
        self._prompt = prompt or load_prompt(self.prompt)
        self._wrapped = wrapped or self._wrapped_model()
        self._call({})

    def _wrapped_model(self) -> WrappedModel:
        options, token = without_token(self.backend_options)
        if token is not None:  # options are shown
            self.__dict__.update(api_key=SecretStr(token), backend_options=options)
        if self.llm is not None and self.backend_options:
            raise ParameterError(
                f"{', '.join(self.backend_options)}: options of a model that "
                f"{type(self).__name__} loads by its id. The llm given is set up already; set them "
                "there."
            )
        if self.llm is not None:
            wrapped = self._wrap(self.llm)
            if "model_name" not in self.model_fields_set or not self.model_name:
                self.__dict__["model_name"] = wrapped.model.name  # and not $URIAL_MODEL
            return wrapped
        if self.model_name:
            return WrappedModel(shared_model(self.model_name, self.backend_settings))
        raise UnsupportedModelError(
            "There is no model: pass llm= (a completion LLM), model= (a hub id, folder or "
            ".gguf file), or set URIAL_MODEL."
        )

    def _call(self, kwargs: Mapping[str, Any]) -> Call:
        """Put a call together from these settings and its own arguments.

        A server may be asked for its features if arguments are given: within an event loop, do
        this in another thread.

        Args:
            kwargs: What the call was given, as the OpenAI API names it; None means unset. Names
                that are unknown here are passed on where the model takes arguments; else those
                that do not change the reply's meaning are left out with a warning.

        Raises:
            ParameterError: A value is invalid, or its name unknown.
            UnsupportedModelError: ``model`` names another model, and this one cannot switch.
        """
        given = {name: value for name, value in kwargs.items() if value is not None}
        refuse_replaced_arguments(given)
        own = [name for name in _FIELDS if name in type(self).model_fields] + [*_ARGUMENTS]
        name = str(given.get("model", self.model_name))
        model = self._wrapped.model if name == self.model_name else self._model_named(name)
        takes_arguments = given.keys() - own and model.features.with_arguments is not None
        given = accepted_arguments(given, given if takes_arguments else own)
        if extra := {name: value for name, value in given.items() if name not in own}:
            with_arguments = model.features.with_arguments
            if with_arguments is None:
                raise ParameterError(
                    f"Unknown parameter {', '.join(extra)}: the parameters are {', '.join(own)}."
                )
            model = with_arguments(extra)
        return Call(
            UrialChat(
                model,
                self._prompt,
                self.overflow,
                self.context_window,
                self._strategy(given),
                self._examples,
            ),
            self._parameters(given),
            bool(given.get("prefill", self.prefill)),
            name,
            parse_tools(
                given.get("tools"),
                given.get("tool_choice"),
                parallel=given.get("parallel_tool_calls"),
                allowed=given.get("allowed_tools"),
            ),
            parse_response_format(given.get("response_format")),
            bool(given.get("stop_at_template", self.stop_at_template)),
        )

    def _strategy(self, given: Mapping[str, Any]) -> DecodingStrategy | None:
        """Return the call's strategy; where it names another than "nudge", only its own model."""
        own = self.nudge_with if given.get("decoding", "nudge") == "nudge" else None
        decoding = given.get("decoding", self.decoding)
        return load_strategy(decoding, given.get("nudge_with", own))

    @property
    def _examples(self) -> DynamicExamples | None:
        if self.example_selector is None:
            return None
        return DynamicExamples(self.example_selector, self.max_examples)

    def _model_named(self, name: str) -> CompletionModel:
        if self.llm is None:
            return shared_model(name, self.backend_settings)
        with_model = self._wrapped.model.features.with_model
        if with_model is not None:
            return with_model(name)
        raise UnsupportedModelError(
            f"model={name!r}: {type(self.llm).__name__} serves one model and cannot switch to "
            f"another. Make a second {type(self).__name__} for it."
        )

    def _parameters(self, given: Mapping[str, Any]) -> GenerationParameters:
        """Merge parameters: the call's, then the settings, then what the LLM's owner had set.

        Stop strings add up; a bare string is one, as in the OpenAI API.
        """

        def value(name: str) -> Any:
            return given.get(name, getattr(self, name, None))

        own = dict(self._wrapped.parameters)
        stops = (given.get("stop"), self.stop, own.pop("stop", None))
        top = value("top_logprobs")
        return GenerationParameters(**own).replace(
            **{name: value(name) for name in (*SAMPLING, *LIMITS, "n")},
            stop=tuple(
                text for stop in stops for text in ([stop] if isinstance(stop, str) else stop or ())
            ),
            logprobs=top if top is not None else 0 if value("logprobs") else None,
        )
