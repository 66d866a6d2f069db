"""Nudging: a small aligned model writes the words at which the base model is unsure.

Base models and aligned ones differ at few tokens, mostly where the base model is unsure. There a
small aligned model takes over for a word (Fei et al. 2025, arXiv 2410.09300). It works on text, so
the two models need not share a tokenizer.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Any

from urial_core.completion import Completion, CompletionRequest, TokenLogprob, Usage
from urial_core.composing import ReplyRequest
from urial_core.decoding.steps import total_usage
from urial_core.decoding.text_reply import decode_completion
from urial_core.errors import ParameterError, UnsupportedModelError, shown
from urial_core.messages import Message
from urial_core.prompts.escaping import escape
from urial_core.replies import Reply
from urial_core.strategies.strategy import (
    Compute,
    DecodingStrategy,
    StrategyStep,
    StrategySteps,
    WriteCompletions,
)

__all__ = ["Nudging"]

NudgeFunction = Callable[[Sequence[Message], str], str]
"""From the conversation, and the answer so far, to how the answer goes on."""

_WORD = re.compile(r"\s*\S+")
_ATTACHED = tuple(".,;:!?)]}")
"""Characters that follow a word without a space."""
_LLAMAINDEX = "llama_index.core.llms"


@dataclass(frozen=True, kw_only=True, repr=False)
class Nudging(DecodingStrategy):
    """Have an aligned model write the words at which the base model is unsure.

    The base model writes some tokens. At the first one that begins a word and where its most
    probable token has less than ``threshold``, the aligned model writes the next word instead, and
    the base model goes on after it. An aligned model that has nothing more to write ends the reply.

    Attributes:
        nudge_with: The aligned model: a chat model of LangChain, an LLM of LlamaIndex, or a
            function from the conversation (``Message``) and the answer so far to how it goes on.
            A chat model gets the answer so far as a last assistant message, to be continued: not
            all can. Where one cannot, use ``opener``.
        threshold: The probability below which the base model is unsure. Default 0.3. 0 never
            asks, and needs no log-probabilities.
        opener: Words that the aligned model writes first, in any case. Default 0.
        tokens_at_once: Tokens that the base model writes before they are looked at. Default 16:
            those after an unsure one are thrown away.
    """

    nudge_with: Any
    threshold: float = 0.3
    opener: int = 0
    tokens_at_once: int = 16

    def __post_init__(self) -> None:
        if not any(hasattr(self.nudge_with, name) for name in ("invoke", "chat", "__call__")):
            raise ParameterError(
                f"nudge_with is {shown(self.nudge_with)}: pass a chat model of LangChain, an LLM "
                "of LlamaIndex, or a function from the conversation and the answer so far to text."
            )
        if not 0 <= self.threshold <= 1 or self.opener < 0 or self.tokens_at_once < 1:
            raise ParameterError(
                f"threshold is {self.threshold}, opener {self.opener} and tokens_at_once "
                f"{self.tokens_at_once}: give 0 to 1, at least 0 and at least 1."
            )
        if not self.threshold and not self.opener:
            raise ParameterError("threshold and opener are both 0: the aligned model has no part.")

    def steps(self, request: ReplyRequest) -> StrategySteps:
        """Write the reply by turns.

        Raises:
            ParameterError: The request has tools or a response format.
            UnsupportedModelError: The base model reports no log-probabilities.
        """
        if request.tools is not None or request.response_format is not None:
            raise ParameterError(
                "Nudging writes replies in text, and this call has tools or a response format: "
                "leave out decoding= for it."
            )
        return (yield from _Nudged(self, request).steps())


@dataclass
class _Nudged:
    """One reply that two models write by turns.

    Attributes:
        text: The raw text so far.
        left: Tokens that may still be written. A nudged word counts as one.
        nudged: How many words the aligned model wrote.
    """

    strategy: Nudging
    request: ReplyRequest
    text: str = ""
    left: int = 0
    nudged: int = 0
    finish: str | None = None
    usages: list[Usage | None] = field(default_factory=list)

    def steps(self) -> StrategySteps:
        """Write the reply."""
        self.left = self.request.max_tokens
        if self.strategy.opener:
            yield from self._nudge(self.strategy.opener)
        while self.finish is None:
            if self.left < 1:
                self.finish = "length"
                break
            (completion,) = yield WriteCompletions([self._next_request()])
            self.usages.append(completion.usage)
            if (place := self._unsure(completion)) is None:
                self._take(completion)
                continue
            self.text += "".join(token.token for token in completion.logprobs[:place])
            self.left -= place
            yield from self._nudge(1)
        return self._reply()

    def _next_request(self) -> CompletionRequest:
        own = self.request.parameters
        limit = self.strategy.tokens_at_once if self.strategy.threshold else self.left
        parameters = replace(
            own,
            max_tokens=min(limit, self.left),
            logprobs=max(own.logprobs or 0, 1) if self.strategy.threshold else own.logprobs,
        )
        return replace(
            self.request,
            prompt=self.request.prompt + self.text,
            prefill=self.request.prefill + self.text,
            parameters=parameters,
        )

    def _take(self, completion: Completion) -> None:
        self.text += completion.text
        self.left -= len(completion.logprobs) or self.left
        if completion.finish != "length":
            self.finish = completion.finish or "stop"

    def _unsure(self, completion: Completion) -> int | None:
        """Return the first token that begins a word and at which the base model is unsure."""
        if not self.strategy.threshold:
            return None
        if completion.text and not completion.logprobs:
            raise UnsupportedModelError(
                "Nudging needs the log-probabilities of the base model's tokens, and it reports "
                "none: use Nudging(threshold=0, opener=8), which needs none."
            )
        before = ""
        for place, token in enumerate(completion.logprobs):
            known = "\ufffd" not in before and completion.text.startswith(before)
            if known and self._begins_word(before, token) and self._is_unsure(token):
                return place
            before += token.token
        return None

    def _begins_word(self, before: str, token: TokenLogprob) -> bool:
        so_far = self.text + before
        return not so_far or so_far[-1].isspace() or token.token[:1].isspace()

    def _is_unsure(self, token: TokenLogprob) -> bool:
        best = max((value for _, value in token.top), default=token.logprob)
        return best < log(self.strategy.threshold)

    def _nudge(self, words: int) -> Generator[StrategyStep, Any, None]:
        """Have the aligned model write the next words; end the reply if it has none."""
        conversation, so_far = self.request.conversation, self.text
        found: str = yield Compute(lambda: _ask(self.strategy.nudge_with, conversation, so_far))
        # llama.cpp's server writes the answer so far first, so the place of spaces is known there.
        echo = so_far.rstrip()
        echoed = bool(echo) and found.startswith(echo)
        taken = _WORD.findall(found.removeprefix(echo))[:words]
        if not taken:
            self.finish = "stop"
            return
        text = "".join(taken)
        if not self.text or self.text[-1].isspace():
            text = text.lstrip()
        elif not echoed and not text[0].isspace() and not text.startswith(_ATTACHED):
            text = f" {text}"
        self.text += escape(text, self.request.format) if self.request.format else text
        self.nudged += len(taken)
        self.left -= len(taken)

    def _reply(self) -> Reply:
        usage = total_usage(self.usages)
        reply = decode_completion(self.request, Completion(self.text, self.finish, usage))
        decoding = {
            "strategy": "nudge",
            "nudged_words": self.nudged,
            "nudged_share": round(self.nudged / max(len(reply.text.split()), 1), 4),
        }
        return replace(reply, end=replace(reply.end, decoding=decoding))


def _ask(model: Any, conversation: Sequence[Message], so_far: str) -> str:
    """Return how a model continues an answer."""
    texts = [(one.role, one.text) for one in conversation if one.text and one.role != "tool"]
    texts += [("assistant", so_far)] if so_far else []
    if hasattr(model, "invoke"):  # LangChain's, which takes pairs
        return str(model.invoke(texts).text)
    if hasattr(model, "chat"):
        message = sys.modules[_LLAMAINDEX].ChatMessage  # loaded, since the object is of its class
        answer = model.chat([message(role=role, content=text) for role, text in texts])
        return answer.message.content or ""
    return str(model(conversation, so_far))
