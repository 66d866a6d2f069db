"""Method names: from what a user writes, ``urial:default@1?temperature=0.7``, to methods."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

from urial_core.analysis.example_pool import ExamplePool
from urial_core.analysis.in_context import UNSTYLED_EXAMPLES, examples_prompt, with_first_examples
from urial_core.analysis.methods import Method, PromptMethod
from urial_core.analysis.questions import Question
from urial_core.chat_settings import ChatSettings
from urial_core.completion import CompletionModel, is_completion_model
from urial_core.errors import ParameterError, UnsupportedModelError, shown
from urial_core.parameters import GenerationParameters
from urial_core.prompts.loading import load_prompt, preset_or_file
from urial_core.prompts.prompt import Prompt
from urial_core.strategies import DecodingStrategy, load_strategy

__all__ = ["BaseModel", "base_model", "check_method", "named_method"]

_NAME = re.compile(r"(\w+)(?::([^?]*?))?(?:@(\d{1,9}))?(?:\?(.*))?")
_NAMES = "zero_shot, vanilla, retrieval, urial:PRESET_OR_FILE"
_RETRIEVED = 3
"""Examples that ``retrieval`` takes, as URIAL's own prompts have."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The base model that methods share.

    Attributes:
        model: The model.
        parameters: How to sample, unless a method says otherwise.
        context_window: Its window in tokens, where it does not know it.
    """

    model: CompletionModel
    parameters: GenerationParameters
    context_window: int | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """What identifies the model, in any process."""
        return {name: value for name, value in self.model.cache_key.items() if name != "object"}


def base_model(model: object, parameters: GenerationParameters | None = None) -> BaseModel:
    """Return a base model with its sampling.

    Args:
        model: A ``CompletionModel``; or a ``ChatUrial`` or ``UrialLLM``, of which the model and
            the sampling are taken, and the prompt is not.
        parameters: They take precedence over the object's own.

    Raises:
        UnsupportedModelError: It is something else.
    """
    given = parameters or GenerationParameters()
    if isinstance(model, ChatSettings):
        call = model._call({})  # noqa: SLF001 - of this project
        changes = {name: getattr(given, name) for name in given.__dataclass_fields__}
        own = call.parameters.replace(**{k: v for k, v in changes.items() if v not in (None, ())})
        return BaseModel(call.chat.model, own, call.chat.context_window)
    if is_completion_model(model):
        return BaseModel(model, given)
    raise UnsupportedModelError(
        f"{type(model).__name__} is no base model: pass a CompletionModel of urial_core, or wrap a "
        "framework's completion LLM: ChatUrial(llm=...) or UrialLLM(llm=...)."
    )


def named_method(name: str, base: BaseModel | None, pool: ExamplePool | None) -> Method:
    """Return the method of a name.

    ``zero_shot`` is the turn format alone; ``vanilla`` adds plain, unstyled examples;
    ``retrieval`` adds the examples of a pool that are nearest to the question; ``urial:NAME`` is a
    preset or a prompt file. ``@K`` takes K examples (of a prompt, its first). ``?temperature=0.7``
    sets parameters, joined by ``&``; ``?decoding=power`` sets a decoding strategy by its name.

    Args:
        name: The name.
        base: The base model.
        pool: What ``retrieval`` takes its examples from.

    Raises:
        ParameterError: The name is unknown, a setting is invalid, or the base model or the pool
            is missing.
        PromptError: There is no such prompt, or it is invalid.
    """
    read = _read(name)
    if base is None:
        raise ParameterError(f"Method {name!r} needs a base model: give one as model.")
    base = replace(base, parameters=base.parameters.replace(**read.parameters))
    prompt = read.prompt
    if prompt is None:
        return _retrieval(name, base, pool, read.decoding, read.examples)
    return PromptMethod(
        base.model,
        lambda _: prompt,
        base.parameters,
        base.context_window,
        read.decoding,
        {"prompt": prompt.name, "digest": prompt.digest},
    )


def check_method(name: str, *, has_pool: bool) -> None:
    """Raise what ``named_method`` would raise about a name, before there is a model.

    Args:
        name: The name.
        has_pool: Whether there is a pool for ``retrieval``.

    Raises:
        ParameterError: The name is unknown, a setting is invalid, or the pool is missing.
        PromptError: There is no such prompt, or it is invalid.
    """
    read = _read(name)
    if read.prompt is None and not has_pool:
        raise _needs_pool(name)


@dataclass(frozen=True, slots=True)
class _Name:
    """What a method's name says; the prompt is None for ``retrieval``."""

    prompt: Prompt | None
    examples: int | None
    parameters: Mapping[str, Any]
    decoding: DecodingStrategy | None


def _read(name: str) -> _Name:
    matched = _NAME.fullmatch(name)
    kind, source, count, settings = matched.groups() if matched else ("", None, None, None)
    if kind not in ("zero_shot", "vanilla", "retrieval", "urial") or (kind == "urial") != bool(
        source
    ):
        raise ParameterError(f"Unknown method {shown(name)}: the methods are {_NAMES}.")
    given = dict(_settings(settings or "", name))
    decoding = load_strategy(given.pop("decoding", None))
    GenerationParameters().replace(**given)  # which checks them
    examples = None if count is None else int(count)
    prompt = None if kind == "retrieval" else _prompt(kind, source or "", examples)
    return _Name(prompt, examples, given, decoding)


def _prompt(kind: str, source: str, examples: int | None) -> Prompt:
    if kind == "urial":
        prompt = load_prompt(preset_or_file(source))
        return prompt if examples is None else with_first_examples(prompt, examples)
    available = UNSTYLED_EXAMPLES if kind == "vanilla" else ()
    if examples is not None and examples > len(available):
        raise ParameterError(f"{kind}@{examples}: {kind} has {len(available)} examples.")
    return examples_prompt(kind, available[:examples])


def _retrieval(
    name: str,
    base: BaseModel,
    pool: ExamplePool | None,
    decoding: DecodingStrategy | None,
    examples: int | None,
) -> Method:
    if pool is None:
        raise _needs_pool(name)
    count = _RETRIEVED if examples is None else examples

    def prompt(question: Question) -> Prompt:
        return examples_prompt("retrieval", pool.nearest(question.turns[0], count))

    details = {
        "examples": count,
        "pool": sha256(repr(pool.pairs).encode()).hexdigest(),
        "embedding": pool.embedding_settings,
    }
    return PromptMethod(base.model, prompt, base.parameters, base.context_window, decoding, details)


def _needs_pool(name: str) -> ParameterError:
    return ParameterError(
        f"Method {name!r} needs a pool of question-and-answer pairs and an embedding model "
        "(--pool and --embedding, or pool= and embedding=)."
    )


def _settings(text: str, name: str) -> Mapping[str, object]:
    """Return the parameters that a name sets, as numbers, and the name of a decoding strategy."""
    found = dict[str, object]()
    try:
        for key, value in parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
            found[key] = value if key == "decoding" else json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ParameterError(
            f"Method {shown(name)}: write its settings as ?temperature=0.7&max_tokens=200."
        ) from error
    return found
