"""LlamaIndex's text templates on the real base model: no reply invents the template's next turn.

The model's answers may be wrong; what is held is that they end where the answer ends.
"""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.evaluation import (
    AnswerRelevancyEvaluator,
    FaithfulnessEvaluator,
    RelevancyEvaluator,
)
from llama_index.core.prompts import PromptTemplate, default_prompts
from llama_index.core.question_gen.prompts import DEFAULT_SUB_QUESTION_PROMPT_TMPL
from llama_index.core.selectors.prompts import DEFAULT_SINGLE_SELECT_PROMPT_TMPL

from llamaindex_urial import UrialLLM
from urial_core.backends.llama_cpp import LlamaCppModel

pytestmark = pytest.mark.model

LEAK = re.compile(
    r"^(Query|Question|Q|Context|Text|New Context|Original Answer|Information|SQLResult):"
    r"|^[-=]{8,}$|^(Given the |Context information|# Example|<Tools>|<User Question>)",
    re.MULTILINE,
)
"""What only the templates write."""
QUESTIONS = [
    "When does the library open on Saturday?",
    "Which room has a projector?",
    "What do visitors pay for a library card?",
    "How long may I keep a book?",
    "What does a printed page cost?",
    "Can I bring my dog?",
    "Is there a ramp?",
    "What happens if I return a book late?",
    "How do I book a study room?",
    "Which events are for children?",
    "How many books may I borrow?",
    "Where do I get a library card?",
]
TEXT = (
    "The library on Mill Lane opens at nine. It has five study rooms. The Elm Room is the largest."
)
TEMPLATES: dict[str, tuple[Any, dict[str, Any]]] = {
    "keywords": (default_prompts.DEFAULT_KEYWORD_EXTRACT_TEMPLATE, {"max_keywords": 5}),
    "query keywords": (default_prompts.DEFAULT_QUERY_KEYWORD_EXTRACT_TEMPLATE, {"max_keywords": 5}),
    "triplets": (default_prompts.DEFAULT_KG_TRIPLET_EXTRACT_PROMPT, {"max_knowledge_triplets": 5}),
    "refine": (default_prompts.DEFAULT_REFINE_PROMPT, {"existing_answer": "I do not know."}),
    "sub-questions": (
        PromptTemplate(DEFAULT_SUB_QUESTION_PROMPT_TMPL),
        {"tools_str": '{"handbook": "The handbook of a library"}'},
    ),
    "selector": (
        PromptTemplate(DEFAULT_SINGLE_SELECT_PROMPT_TMPL),
        {"num_choices": 2, "context_list": "(1) books\n\n(2) rooms"},
    ),
    "sql": (
        default_prompts.DEFAULT_TEXT_TO_SQL_PROMPT,
        {"dialect": "sqlite", "schema": "Table room: name, seats"},
    ),
}
ASKED = int(os.environ.get("URIAL_TEST_QUESTIONS", "1"))
"""How many questions the matrix asks with each; there are twelve."""
QUICK = ("triplets", "sql")
"""What the default run asks, once."""


@pytest.mark.parametrize("preset", ["default", pytest.param("rag", marks=pytest.mark.matrix)])
@pytest.mark.parametrize(
    "question",
    [
        pytest.param(question, marks=[pytest.mark.matrix] * bool(number))
        for number, question in enumerate(QUESTIONS[:ASKED])
    ],
)
def test_an_answer_over_documents(
    llama: LlamaCppModel, index: VectorStoreIndex, preset: str, question: str
) -> None:
    """No answer of a query engine holds text of LlamaIndex's template."""
    llm = UrialLLM(llm=llama, prompt=preset, max_tokens=96)
    response = str(index.as_query_engine(llm=llm, similarity_top_k=2).query(question))
    assert response.strip()
    assert not LEAK.search(response)


@pytest.mark.parametrize(
    ("name", "question"),
    [
        pytest.param(name, question, marks=[pytest.mark.matrix] * (number > 0 or name not in QUICK))
        for name in TEMPLATES
        for number, question in enumerate(QUESTIONS[:ASKED])
    ],
)
def test_a_template_is_not_continued(llama: LlamaCppModel, name: str, question: str) -> None:
    """Extraction, refinement, sub-questions, selection and SQL end with the answer."""
    template, values = TEMPLATES[name]
    llm = UrialLLM(llm=llama, prompt="short", max_tokens=96)
    texts = {"text": f"{TEXT} {question}", "question": question, "query_str": question}
    texts |= {"context_msg": TEXT}
    asked = {k: v for k, v in {**texts, **values}.items() if k in template.template_vars}
    assert not LEAK.search(llm.predict(template, **asked))


@pytest.mark.matrix
@pytest.mark.parametrize("question", QUESTIONS[:ASKED])
@pytest.mark.parametrize(
    "evaluator",
    [FaithfulnessEvaluator, RelevancyEvaluator, AnswerRelevancyEvaluator],
)
async def test_an_evaluation(llama: LlamaCppModel, evaluator: Any, question: str) -> None:
    """An evaluator's feedback is about the answer that it was given."""
    llm = UrialLLM(llm=llama, prompt="short", max_tokens=64)
    result = await evaluator(llm=llm).aevaluate(
        query=question, response="At nine.", contexts=[TEXT], reference="At nine."
    )
    assert not LEAK.search(result.feedback or "")
