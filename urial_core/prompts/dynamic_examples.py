"""Dynamic examples: few-shot examples that are chosen for each question.

They follow the constant examples of the prompt, which stay first, so that the prefix cache holds
those for every question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from urial_core.errors import ParameterError, shown
from urial_core.prompts.prompt import Example, Prompt

__all__ = ["DynamicExamples"]

_QUERY_KEYS = ("query", "question", "input", "prompt")
_ANSWER_KEYS = ("answer", "output", "response", "completion")


@dataclass(frozen=True, slots=True)
class DynamicExamples:
    """Chooses examples for a question.

    Attributes:
        selector: An example selector of LangChain, a retriever of LlamaIndex, or a function from
            the question to examples. An example is an ``Example``; a dict with a question (under
            "query", "question", "input" or "prompt") and an answer (under "answer", "output",
            "response" or "completion"); or a node whose metadata has the answer, and the question
            too unless it is the node's text.
        limit: The most examples for a question.
    """

    selector: Any
    limit: int = 3

    def __post_init__(self) -> None:
        methods = ("select_examples", "retrieve", "__call__")
        if not any(hasattr(self.selector, name) for name in methods):
            raise ParameterError(
                f"example_selector is {shown(self.selector)}: pass an example selector of "
                "LangChain, a retriever of LlamaIndex, or a function from a question to examples."
            )
        limit: object = self.limit
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ParameterError(f"max_examples is {limit!r}: give a whole number at least 1.")

    def choose(self, question: str, prompt: Prompt) -> list[Example]:
        """Return the examples for a question, in the selector's order.

        Those whose question is one of the prompt's examples, or another's, are left out.

        Raises:
            ParameterError: The selector returned something other than examples.
        """
        seen = {_normalized(example.query) for example in prompt.examples}
        chosen = list[Example]()
        for found in self._select(question):
            example = _example(found)
            if len(chosen) < self.limit and (key := _normalized(example.query)) not in seen:
                seen.add(key)
                chosen.append(example)
        return chosen

    def _select(self, question: str) -> Iterable[Any]:
        if (select := getattr(self.selector, "select_examples", None)) is not None:
            keys = getattr(self.selector, "input_keys", None) or ("input",)
            found = select(dict.fromkeys(keys, question))
        elif (retrieve := getattr(self.selector, "retrieve", None)) is not None:
            found = retrieve(question)
        else:
            found = self.selector(question)
        if not isinstance(found, Iterable):
            raise ParameterError(f"The example selector returned {shown(found)}: give a list.")
        return found


def _normalized(text: str) -> str:
    return " ".join(text.casefold().split())


def _example(found: Any) -> Example:
    """Return what a selector found as an example.

    Raises:
        ParameterError: It has no question or no answer.
    """
    if isinstance(found, Example):
        return found
    fields = found if isinstance(found, Mapping) else _fields_of_node(found)
    query = next((fields[key] for key in _QUERY_KEYS if fields.get(key)), None)
    answer = next((fields[key] for key in _ANSWER_KEYS if fields.get(key)), None)
    if not isinstance(query, str) or not isinstance(answer, str):
        raise ParameterError(
            f"The example selector returned {shown(found)}, which has no question and answer: give "
            f"each example a text under one of {', '.join(_QUERY_KEYS)} and one of "
            f"{', '.join(_ANSWER_KEYS)} (of a node: in its metadata)."
        )
    return Example(query.strip(), answer.strip())


def _fields_of_node(found: Any) -> Mapping[str, Any]:
    """Return a node's question and answer: its metadata, and its text as the question."""
    node = getattr(found, "node", found)
    metadata = getattr(node, "metadata", None)
    if not isinstance(metadata, Mapping):
        return {}
    return {"prompt": getattr(node, "text", None), **metadata}
