"""LlamaIndex's own text templates: a reply ends exactly before it invents the next turn.

Each template is filled in, and the reply is a proper answer, then the template's own text from its
last turn on, as base models write it.
"""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import version
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole

from llamaindex_urial.translation import core_messages
from urial_core import UrialChat, load_prompt
from urial_core.composing import ReplyRequest
from urial_core.testing import FakeModel

RULER = "---------------------"
PROMPTS = "prompts.default_prompts"
STORE = "indices.property_graph"
TEMPLATES = {  # module: {template: how its next turn begins}
    PROMPTS: {
        "DEFAULT_SUMMARY_PROMPT": None,
        "DEFAULT_INSERT_PROMPT": RULER,
        "DEFAULT_QUERY_PROMPT": RULER,
        "DEFAULT_QUERY_PROMPT_MULTIPLE": RULER,
        "DEFAULT_REFINE_PROMPT": "------------",
        "DEFAULT_TEXT_QA_PROMPT": "Query:",
        "DEFAULT_TREE_SUMMARIZE_PROMPT": "Query:",
        "DEFAULT_KEYWORD_EXTRACT_TEMPLATE": RULER,
        "DEFAULT_QUERY_KEYWORD_EXTRACT_TEMPLATE": RULER,
        "DEFAULT_SCHEMA_EXTRACT_PROMPT": RULER,
        "DEFAULT_TEXT_TO_SQL_PROMPT": "Question:",
        "DEFAULT_TEXT_TO_SQL_PGVECTOR_PROMPT": "Question:",
        "DEFAULT_TABLE_CONTEXT_PROMPT": RULER,
        "DEFAULT_REFINE_TABLE_CONTEXT_PROMPT": RULER,
        "DEFAULT_KG_TRIPLET_EXTRACT_PROMPT": "Text:",
        "DEFAULT_HYDE_PROMPT": None,
        "DEFAULT_SIMPLE_INPUT_PROMPT": None,
        "DEFAULT_JSON_PATH_PROMPT": "Task:",
        "DEFAULT_CHOICE_SELECT_PROMPT": "Question:",
        "DEFAULT_JSONALYZE_PROMPT": "Question:",
    },
    "prompts.chat_prompts": {
        "CHAT_TEXT_QA_PROMPT": "Query:",
        "CHAT_TREE_SUMMARIZE_PROMPT": "Query:",
        "CHAT_REFINE_PROMPT": "New Context:",
        "CHAT_REFINE_TABLE_CONTEXT_PROMPT": RULER,
        "CHAT_CONTENT_QA_PROMPT": "Query:",
        "CHAT_CONTENT_TREE_SUMMARIZE_PROMPT": "Query:",
        "CHAT_CONTENT_REFINE_PROMPT": "Query:",
        "CHAT_CONTENT_CHOICE_SELECT_PROMPT": "Question:",
    },
    "chat_engine.condense_question": {"DEFAULT_PROMPT": "<Follow Up Message>"},
    "chat_engine.condense_plus_context": {"DEFAULT_CONDENSE_PROMPT_TEMPLATE": "Follow Up Input:"},
    "chat_engine.context": {"DEFAULT_CONTEXT_TEMPLATE": "--------------------"},
    "evaluation.answer_relevancy": {"DEFAULT_EVAL_TEMPLATE": "Query:"},
    "evaluation.context_relevancy": {
        "DEFAULT_EVAL_TEMPLATE": "Query:",
        "DEFAULT_REFINE_TEMPLATE": "------------",
    },
    "evaluation.correctness": {"DEFAULT_EVAL_TEMPLATE": "## User Query"},
    "evaluation.faithfulness": {
        "DEFAULT_EVAL_TEMPLATE": "Information:",
        "LLAMA3_8B_EVAL_TEMPLATE": "Information:",
        "DEFAULT_REFINE_TEMPLATE": "------------",
    },
    "evaluation.guideline": {"DEFAULT_EVAL_TEMPLATE": "Query:"},
    "evaluation.relevancy": {
        "DEFAULT_EVAL_TEMPLATE": "Query and Response:",
        "DEFAULT_REFINE_TEMPLATE": "------------",
    },
    "evaluation.pairwise": {"DEFAULT_EVAL_TEMPLATE": "[The Start of Assistant A"},
    "evaluation.dataset_generation": {"DEFAULT_QUESTION_GENERATION_PROMPT": RULER},
    f"{STORE}.sub_retrievers.llm_synonym": {"DEFAULT_SYNONYM_EXPAND_TEMPLATE": "QUERY:"},
    f"{STORE}.sub_retrievers.text_to_cypher": {"DEFAULT_SUMMARY_TEMPLATE": "Question:"},
    f"{STORE}.transformations.dynamic_llm": {"DEFAULT_DYNAMIC_EXTRACT_PROMPT": "Text:"},
    "indices.query.query_transform.prompts": {
        "DEFAULT_DECOMPOSE_QUERY_TRANSFORM_PROMPT": "Question:",
        "DEFAULT_STEP_DECOMPOSE_QUERY_TRANSFORM_PROMPT": "Question:",
    },
    "indices.struct_store.sql_query": {
        "DEFAULT_RESPONSE_SYNTHESIS_PROMPT": "Query:",
        "DEFAULT_REFINE_PROMPT": "------------",
    },
    "indices.vector_store.retrievers.auto_retriever.prompts": {
        "DEFAULT_VECTOR_STORE_QUERY_PROMPT_TMPL": "<< Example"
    },
    "postprocessor.node": {
        "DEFAULT_INFER_PREV_NEXT_TMPL": "Context:",
        "DEFAULT_REFINE_INFER_PREV_NEXT_TMPL": "Context:",
    },
    "postprocessor.pii": {"DEFAULT_PII_TMPL": "Context:"},
    "query_engine.citation_query_engine": {
        "CITATION_QA_TEMPLATE": "Query:",
        "CITATION_REFINE_TEMPLATE": "Query:",
    },
    "query_engine.flare.answer_inserter": {"DEFAULT_ANSWER_INSERT_PROMPT": "Previous Response:"},
    "query_engine.flare.base": {"DEFAULT_INSTRUCT_PROMPT": "Query:"},
    "query_engine.sql_join_query_engine": {
        "DEFAULT_SQL_JOIN_SYNTHESIS_PROMPT": "Original question:",
        "DEFAULT_SQL_AUGMENT_TRANSFORM_PROMPT": None,
    },
    "query_engine.knowledge_graph_query_engine": {
        "DEFAULT_KG_RESPONSE_ANSWER_PROMPT": "Original question:"
    },
    "question_gen.prompts": {"DEFAULT_SUB_QUESTION_PROMPT_TMPL": "# Example"},
    "retrievers.fusion_retriever": {"QUERY_GEN_PROMPT": "Query:"},
    "selectors.prompts": {
        "DEFAULT_SINGLE_SELECT_PROMPT_TMPL": RULER,
        "DEFAULT_MULTI_SELECT_PROMPT_TMPL": RULER,
    },
}
CASES = [
    pytest.param(module, name, marker, id=f"{module}.{name}")
    for module, templates in TEMPLATES.items()
    for name, marker in templates.items()
]
CHAT = UrialChat(FakeModel(), load_prompt("short"))


class _Values(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"The value of {name}."


def filled_in(template: Any) -> list[ChatMessage]:
    """Return a template's messages with a sentence for each of its variables."""
    if isinstance(template, str):
        text = re.sub(r"(?<!\{)\{(\w+)\}(?!\})", r"The value of \1.", template)
        return [ChatMessage(content=text.replace("{{", "{").replace("}}", "}"))]
    passage = [ChatMessage(content="A passage.\nWith two lines.")]
    values = {name: _Values()[name] for name in template.template_vars}
    messages: list[ChatMessage] = template.format_messages(
        **{**values, "context_messages": passage}
    )
    return messages


def decode(request: ReplyRequest, raw: str) -> str:
    """Return the reply that a model's text makes, read in pieces of five characters."""
    pieces = [raw[at : at + 5] for at in range(0, len(raw), 5)]
    chat = UrialChat(FakeModel(pieces), CHAT.prompt)
    return chat.reply([request])[0].text


@pytest.mark.parametrize(("module", "name", "marker"), CASES)
def test_a_reply_ends_before_the_next_turn(module: str, name: str, marker: str | None) -> None:
    """An answer is kept whole, and what the model invents after it is left out.

    Templates without a marker are instructions alone, and have no turn to invent.
    """
    installed = tuple(map(int, version("llama-index-core").split(".")[:3]))
    if name.startswith("CHAT_CONTENT_") and installed < (0, 14, 22):
        pytest.skip("needs llama-index-core 0.14.22")
    messages = filled_in(getattr(import_module(f"llama_index.core.{module}"), name))
    request = CHAT.request(core_messages(messages))
    answers = ("The answer is 4: two and two.\n- Question: a list\n\nIt is certain.", "Yes.")
    for answer in answers:
        assert decode(request, answer) == answer
    if marker is None:
        return
    lines = [line for message in messages for line in (message.content or "").splitlines()]
    at = max(number for number, line in enumerate(lines) if line.strip().startswith(marker))
    for answer in answers:
        for gap in ("\n", "\n\n"):
            assert decode(request, answer + gap + "\n".join(lines[at:])) == answer


def test_a_react_agent_writes_all_of_its_own_labels() -> None:
    """The agent's thoughts and actions pass; it does not invent what a tool returned."""
    from llama_index.core.agent.react.formatter import ReActChatFormatter
    from llama_index.core.tools import FunctionTool

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    question = ChatMessage(role=MessageRole.USER, content="What is 2 + 2?")
    messages = ReActChatFormatter().format([FunctionTool.from_defaults(add)], [question])
    request = CHAT.request(core_messages(messages))
    for reply in (
        'Thought: I add.\nAction: add\nAction Input: {"a": 2, "b": 2}',
        "Thought: I can answer without using any more tools.\nAnswer: 4",
    ):
        assert decode(request, reply) == reply
        assert decode(request, f"{reply}\nObservation: 5\nThought: hm") == reply
