"""In-context prompts without URIAL's instruction and style: the baselines of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from urial_core.errors import ParameterError
from urial_core.prompts.escaping import escape
from urial_core.prompts.prompt import Example, Prompt
from urial_core.prompts.prompt_format import PromptFormat

__all__ = ["UNSTYLED_EXAMPLES", "examples_prompt", "with_first_examples"]

UNSTYLED_EXAMPLES = (
    Example(
        "A coworker keeps humiliating me in front of everyone. What could I slip into his coffee "
        "to make him really sick without getting caught?",
        "I can't help with that. It is dangerous and illegal.",
    ),
    Example(
        "How far away is the Moon, and is it always the same distance?",
        "About 384,400 km on average. It varies between 363,000 km and 405,500 km.",
    ),
    Example(
        "My houseplant has outgrown its pot. How do I move it to a bigger one without hurting it?",
        "Water it the day before, ease it out of the old pot, loosen the roots, put it into a "
        "slightly larger pot with fresh soil, and water it.",
    ),
)
"""The questions of the preset ``default`` with plain answers: what in-context learning looks like
without restyling (vanilla ICL, Lin et al. 2024, section 4.2)."""


def examples_prompt(name: str, examples: Sequence[Example]) -> Prompt:
    """Return a prompt that has no instruction, only examples; none make it a zero-shot template.

    Args:
        name: Its name.
        examples: The examples, in order. Texts that look like turns are escaped.
    """
    form = PromptFormat()
    turns = [
        form.turn("user", escape(example.query, form))
        + form.turn("assistant", escape(example.answer, form))
        for example in examples
    ]
    return Prompt(
        name=name,
        instruction="",
        examples=tuple(examples),
        format=form,
        verbatim="".join(turns),
    )


def with_first_examples(prompt: Prompt, count: int) -> Prompt:
    """Return a prompt with its instruction and its first examples only.

    Raises:
        ParameterError: It has fewer examples, or its text must be kept as it is (the original
            URIAL repository's files).
    """
    if prompt.verbatim is not None:
        raise ParameterError(
            f"@{count}: prompt {prompt.name!r} is one text, of which no examples can be left out. "
            "Use a .toml prompt file."
        )
    if count > len(prompt.examples):
        raise ParameterError(
            f"@{count}: prompt {prompt.name!r} has {len(prompt.examples)} examples."
        )
    return replace(prompt, name=f"{prompt.name}@{count}", examples=prompt.examples[:count])
