"""Measures of a prompt: what a search improves, computed for one question-and-answer pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any, Protocol

from urial_core.analysis.answering import Answer
from urial_core.analysis.measured import JUDGED
from urial_core.analysis.method_names import BaseModel
from urial_core.analysis.prompt_search.pool_split import Pair
from urial_core.analysis.text_measures import MEASURES, AnswerInContext, Measure
from urial_core.chat import UrialChat
from urial_core.composing import ReplyRequest
from urial_core.errors import ParameterError, UnsupportedModelError
from urial_core.judge import ASPECTS, Judge
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.escaping import encodable, escape
from urial_core.prompts.prompt import Prompt
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.structured.constraints import Choice

__all__ = [
    "ANSWER_MEASURES",
    "JUDGE_MEASURES",
    "LIKELIHOOD",
    "PairScore",
    "PromptMeasure",
    "check_measure",
    "prompt_measure",
]

LIKELIHOOD = Measure(
    name="likelihood",
    title="Log-probability per token",
    explanation="Mean log-probability per token of good answers, their end included.",
    unit="number",
    better="higher",
)
OVERALL = Measure(
    name="overall",
    title="Overall",
    explanation="The mean of the judge's scores for all six aspects, from 1 to 5.",
    unit="number",
    better="higher",
)
_OF_LATER_TURNS = "copied_from_replies"
_OF_COST = ("input_tokens", "seconds")
"""They improve with every example that is left out, whatever the answers are."""

ANSWER_MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in MEASURES
    if measure.better and measure.name not in (_OF_LATER_TURNS, *_OF_COST)
}
"""Measures of the model's own answers, for which it is known which values are better."""

JUDGE_MEASURES: Mapping[str, Measure] = {
    measure.name: measure for measure in (OVERALL, *JUDGED) if measure.name in (*ASPECTS, "overall")
}
"""A judge's scores of the model's own answers."""


@dataclass(frozen=True, slots=True)
class PairScore:
    """How a prompt does on a pair.

    Attributes:
        value: The measure's value; None where it does not apply, or the judge failed.
        answer: What the model answered; empty if nothing was generated.
        error: Why the judge failed; empty if it did not.
    """

    value: float | None
    answer: str = ""
    error: str = ""


class PromptMeasure(Protocol):
    """What a search improves."""

    @property
    def measure(self) -> Measure:
        """Its name, its unit, and which values are better."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides the values beside model, prompt and pair, as JSON can hold it."""

    def request(self, prompt: Prompt, pair: Pair) -> ReplyRequest:
        """Return the request to the model for a pair.

        Raises:
            ContextOverflowError: The context window is too small for it.
        """

    def score(self, prompt: Prompt, pair: Pair) -> PairScore:
        """Ask the model, and measure; threads call it at the same time."""


def check_measure(name: str, *, has_judge: bool) -> None:
    """Check a measure's name.

    Raises:
        ParameterError: There is no such measure, or it needs a judge, or none.
    """
    judged = ", ".join(JUDGE_MEASURES)
    if name not in (LIKELIHOOD.name, *ANSWER_MEASURES, *JUDGE_MEASURES):
        raise ParameterError(
            f"Unknown measure {name!r}: the measures are {LIKELIHOOD.name}, "
            f"{', '.join(ANSWER_MEASURES)}; with a judge, {judged}."
        )
    if name in JUDGE_MEASURES and not has_judge:
        raise ParameterError(f"Measure {name!r} needs a judge: give a chat model as judge.")
    if has_judge and name not in JUDGE_MEASURES:
        raise ParameterError(f"Measure {name!r} needs no judge: choose one of {judged}, or none.")


def prompt_measure(name: str, base: BaseModel, judge: Judge | None) -> PromptMeasure:
    """Return the measure of a name that ``check_measure`` accepts.

    Args:
        name: "likelihood", or a name of ``ANSWER_MEASURES`` or ``JUDGE_MEASURES``.
        base: The base model; it may be asked what it can do.
        judge: The judge, for ``JUDGE_MEASURES``.

    Raises:
        UnsupportedModelError: The model cannot score given texts, as likelihood needs.
    """
    if name != LIKELIHOOD.name:
        return _Answers(base, {**ANSWER_MEASURES, **JUDGE_MEASURES}[name], judge)
    if not base.model.features.scores_texts:
        raise UnsupportedModelError(
            f"{base.model.name} cannot score given texts, which the measure {name!r} needs: run a "
            "model of transformers in this process, or choose a measure of the model's own "
            f"answers: {', '.join(ANSWER_MEASURES)}; with a judge, {', '.join(JUDGE_MEASURES)}."
        )
    return _Likelihood(base)


@dataclass(frozen=True)
class _Likelihood:
    """The mean log-probability per token of a pair's answer and of what ends it."""

    base: BaseModel

    @property
    def measure(self) -> Measure:
        return LIKELIHOOD

    @property
    def settings(self) -> Mapping[str, Any]:
        return {}

    def request(self, prompt: Prompt, pair: Pair) -> ReplyRequest:
        text = _ended(pair.example.answer, prompt.format)
        parameters = GenerationParameters(max_tokens=self._tokens(text))
        request = _chat(self.base, prompt).request([_asked(pair)], parameters)
        return replace(request, constraint=Choice((text,)))

    def score(self, prompt: Prompt, pair: Pair) -> PairScore:
        request = self.request(prompt, pair)
        [completion] = self.base.model.complete([request])
        [scored] = completion.logprobs
        return PairScore(scored.logprob / request.max_tokens)

    def _tokens(self, text: str) -> int:
        model = self.base.model
        return max(model.count_tokens(text) - model.count_tokens(""), 1)


@dataclass(frozen=True)
class _Answers:
    """A measure of the model's own answer, or a judge's score of it."""

    base: BaseModel
    measure: Measure
    judge: Judge | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        judge = {"judge": self.judge.settings} if self.judge is not None else {}
        return {"parameters": asdict(self.base.parameters), **judge}

    def request(self, prompt: Prompt, pair: Pair) -> ReplyRequest:
        return _chat(self.base, prompt).request([_asked(pair)], self.base.parameters)

    def score(self, prompt: Prompt, pair: Pair) -> PairScore:
        [reply] = _chat(self.base, prompt).reply([self.request(prompt, pair)])
        query, text = pair.example.query, encodable(reply.text)
        if self.judge is not None:
            return self._judged(self.judge, query, text)
        answer = Answer(
            method=prompt.name,
            question=str(pair.number),
            turn=1,
            query=query,
            text=text,
            end=reply.end.reason,
        )
        return PairScore(self.measure.value(AnswerInContext(answer, prompt.prefix)), text)

    def _judged(self, judge: Judge, query: str, text: str) -> PairScore:
        try:
            aspects = {name: one.score for name, one in judge.assess([(query, text)])}
        except Exception as error:  # noqa: BLE001 - of any chat model class
            return PairScore(None, text, encodable(str(error) or type(error).__name__))
        wanted = [self.measure.name] if self.measure is not OVERALL else ASPECTS
        return PairScore(mean(aspects[name] for name in wanted), text)


def _chat(base: BaseModel, prompt: Prompt) -> UrialChat:
    return UrialChat(base.model, prompt, context_window=base.context_window)


def _asked(pair: Pair) -> Message:
    return Message("user", pair.example.query)


def _ended(answer: str, prompt_format: PromptFormat) -> str:
    """Return an answer as a prompt holds it, up to where it is known that it has ended."""
    if prompt_format.fence_ends_turn:
        end = f"\n{prompt_format.fence}"
    else:
        end = prompt_format.turn_end + prompt_format.separator + prompt_format.query_header
    body = answer.strip("\n") if prompt_format.strip_newlines else answer
    return escape(body, prompt_format) + end
