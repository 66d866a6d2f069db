"""Have the aligned side answer conversations, and compare both sides' predictions of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate

from urial_core.analysis.token_shift.rows import TokenShift
from urial_core.analysis.token_shift.scoring import FATAL, AnswerScorer, WrittenAnswer
from urial_core.analysis.token_shift.sides import AlignedSide, base_request
from urial_core.completion import Completion
from urial_core.decoding.reply_decoder import reply_decoder
from urial_core.errors import UrialError
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.prompt_format import PromptFormat

__all__ = ["ComparedAnswer", "answer_and_compare"]


@dataclass(frozen=True, slots=True)
class ComparedAnswer:
    """An answer of the aligned side.

    Attributes:
        text: Its text, as a user would get it.
        end_reason: Why it ended: "delimiter", "end_of_text" or "length".
        tokens: Its tokens, those that end it included.
    """

    text: str
    end_reason: str
    tokens: tuple[TokenShift, ...]


def answer_and_compare(
    side: AlignedSide,
    scorer: AnswerScorer,
    conversations: Sequence[Sequence[Message]],
    parameters: GenerationParameters,
) -> list[ComparedAnswer | UrialError]:
    """Answer conversations with the aligned side, and compare it with the base model.

    All are in the same batch.

    Args:
        side: Who answers.
        scorer: The models of both sides.
        conversations: The conversations; each ends with a user's message.
        parameters: How the aligned side samples.

    Returns:
        For each conversation, its answer, or the error that came instead.

    Raises:
        ModelError: The model cannot be loaded, or has no chat template.
    """

    def answer(messages: Sequence[Message]) -> WrittenAnswer | UrialError:
        try:
            request = side.request(messages, parameters)
            written = scorer.write(request)
            return WrittenAnswer(request, base_request(side, messages), written)
        except FATAL:
            raise
        except UrialError as error:
            return error

    with ThreadPoolExecutor(len(conversations)) as pool:  # they are batched
        answered = list(pool.map(answer, conversations))
    written = [one for one in answered if isinstance(one, WrittenAnswer)]
    compared = iter(scorer.compare(written))
    return [
        _described(one, next(compared), side.answer_format)
        if isinstance(one, WrittenAnswer)
        else one
        for one in answered
    ]


def _described(
    answer: WrittenAnswer,
    found: Sequence[TokenShift] | UrialError,
    answer_format: PromptFormat | None,
) -> ComparedAnswer | UrialError:
    """Add an answer's text, its end, and which tokens are part of that."""
    if isinstance(found, UrialError):
        return found
    completion = answer.completion
    decoder = reply_decoder(answer.request)
    text = decoder.feed(completion.text)
    text += decoder.flush(cut=completion.finish == "length")
    starts = accumulate((len(token.text) for token in found), initial=0)
    length = _length(completion, answer_format)
    tokens = (
        replace(token, ends=start >= length) for token, start in zip(found, starts, strict=False)
    )
    return ComparedAnswer(text, decoder.end_reason(completion.finish), tuple(tokens))


def _length(completion: Completion, answer_format: PromptFormat | None) -> int:
    """Return how many characters of a completion precede what ends it."""
    if completion.finish == "length" or answer_format is None:
        return len(completion.text) + (completion.finish == "length")
    delimiters = tuple(filter(None, (answer_format.fence, *answer_format.headers)))
    lines = completion.text.splitlines(keepends=True)
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith(delimiters)):
        lines.pop()
    return len("".join(lines).rstrip("\n"))
