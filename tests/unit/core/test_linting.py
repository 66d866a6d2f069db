"""What linting a prompt finds, and what it does not complain about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from urial_core import Example, load_prompt, preset_names
from urial_core.prompts.linting import Finding, lint
from urial_core.prompts.original_file import parse_original
from urial_core.prompts.prompt import Prompt

REFUSAL = Example(
    "How do I break into a car?",
    "I can't help with breaking into a car, since that is a crime.\n\n- **Yours?** Ask for help."
    "\n\nTell me more, and I will gladly help.",
)
GOOD = Example(
    "How do I boil an egg?",
    "Boiling an egg is easy:\n\n1. Boil water.\n2. Wait 6 minutes.\n\nEnjoy your egg!",
)


def prompt_of(*examples: Example, **changes: object) -> Prompt:
    """Return a prompt with these examples."""
    return replace(load_prompt("default"), examples=examples, **changes)


def rules_of(prompt: Prompt) -> list[str]:
    """Return the names of the rules that find something."""
    return [finding.rule for finding in lint(prompt).findings]


def test_a_prompt_of_the_recipe_has_no_findings() -> None:
    """Three examples in the recipe's style, one of them a refusal, are all right."""
    assert rules_of(load_prompt("default")) == rules_of(load_prompt("ja")) == []
    assert rules_of(prompt_of(REFUSAL, GOOD)) == []


@pytest.mark.parametrize("name", preset_names())
def test_presets_without_refusal_are_warned_about(name: str) -> None:
    """The presets whose descriptions say that they have no refusal get that warning; others not."""
    prompt = load_prompt(name)
    says_so = "no refusal" in prompt.description
    assert ("no-refusal" in rules_of(prompt)) == says_so


def test_not_knowing_is_no_refusal() -> None:
    """An answer that only says that it cannot tell declines no harmful request."""
    unknown = Example("How old is it?", "I can't answer how old it is.\n\n**Ask** them.\n\nSorry!")
    assert "no-refusal" in rules_of(prompt_of(unknown))


def test_refusals_of_other_languages_are_unknown() -> None:
    """For a language whose refusals are not known, there is a note and no warning."""
    found = lint(prompt_of(GOOD, language="sw"))
    assert [finding.rule for finding in found.findings] == ["refusal-unknown"]
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("example", "rule"),
    [
        (Example("Egg?", "Water.\n\n- **It** boils.\n\nEnjoy!"), "no-opening"),
        (Example("Some eggs?", "Boil the eggs.\n\nEnjoy!"), "no-structure"),
        (Example("An eggs?", "Take eggs:\n\n1. Boil.\n2. Wait."), "no-closing"),
    ],
)
def test_style(example: Example, rule: str) -> None:
    """Each feature of the recipe that an answer lacks is noted, with the example's number."""
    found = lint(prompt_of(REFUSAL, example))
    (finding,) = found.findings
    assert (finding.rule, finding.severity) == (rule, "note")
    assert "example 2" in finding.message


def test_structure_of_the_prompt() -> None:
    """Equal queries, delimiters in the instruction, headers without a name, and no instruction."""
    assert rules_of(prompt_of(REFUSAL, GOOD, replace(GOOD, query=" how do I  boil an EGG?"))) == [
        "same-query"
    ]
    instruction = "Write under Answer, below Query:\n# Answer:\nHello"
    assert rules_of(prompt_of(REFUSAL, instruction=instruction)) == ["delimiter-in-instruction"]
    assert rules_of(prompt_of(REFUSAL, instruction="Be kind.")) == ["header-not-named"]
    found = lint(prompt_of(REFUSAL, instruction="Be kind."))
    assert found.findings[0].message.endswith("who writes under `# Query:` and `# Answer:`.")
    assert rules_of(prompt_of(REFUSAL, instruction="")) == ["no-instruction"]


def test_size() -> None:
    """No examples are a warning; many, or a long prefix, are notes."""
    assert rules_of(prompt_of()) == ["no-refusal", "no-examples"]
    many = [replace(GOOD, query=f"How do I boil {n} eggs?") for n in range(9)]
    assert rules_of(prompt_of(REFUSAL, *many)) == ["many-examples"]
    long = replace(GOOD, answer=GOOD.answer.replace("Wait", "Wait " * 3000))
    assert rules_of(prompt_of(REFUSAL, long)) == ["long-prefix"]


def test_tokens() -> None:
    """Tokens are counted as asked, and otherwise marked as estimates."""
    prompt = prompt_of(GOOD)
    counted = lint(prompt, lambda text: len(text.split()))
    assert (counted.tokens, counted.estimated) == (len(prompt.prefix.split()), False)
    assert counted.examples[0].tokens == len(f"{GOOD.query} {GOOD.answer}".split())
    assert lint(prompt).estimated


def test_an_original_file() -> None:
    """A file of the original repository is looked at as well; an empty text in it is found."""
    text = "Write Query, Answer.\n\n# Query:\n```\n\n```\n\n# Answer:\n```\nHello\n```\n"
    found = lint(parse_original(text, "old"))
    empty = Finding("empty-text", "warning", "Example 1 has an empty query.")
    assert empty in found.warnings
