"""LangChain's own text templates: a reply ends exactly before it invents the next turn.

Each template is filled in, and the reply is a proper answer, then the template's own text from its
last turn on, as base models write it.
"""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from urial_core import PromptFormat, ReplyDecoder
from urial_core.prompts.template_stops import template_stops

pytest.importorskip("langchain_classic")

SQL_DIALECTS = [
    "PROMPT",
    "CRATEDB_PROMPT",
    "DUCKDB_PROMPT",
    "GOOGLESQL_PROMPT",
    "MSSQL_PROMPT",
    "MYSQL_PROMPT",
    "MARIADB_PROMPT",
    "ORACLE_PROMPT",
    "POSTGRES_PROMPT",
    "SQLITE_PROMPT",
    "CLICKHOUSE_PROMPT",
    "PRESTODB_PROMPT",
]
TEMPLATES = {  # module: {template: how its next turn begins}
    "chains.api.prompt": {"API_URL_PROMPT": "Question:", "API_RESPONSE_PROMPT": "Question:"},
    "chains.chat_vector_db.prompts": {
        "QA_PROMPT": "Question:",
        "CONDENSE_QUESTION_PROMPT": "Follow Up Input:",
    },
    "chains.conversation.prompt": {
        "PROMPT": "Human:",
        "ENTITY_EXTRACTION_PROMPT": "EXAMPLE",
        "ENTITY_MEMORY_CONVERSATION_TEMPLATE": "Human:",
        "ENTITY_SUMMARIZATION_PROMPT": "Last line of conversation:",
        "KNOWLEDGE_TRIPLE_EXTRACTION_PROMPT": "EXAMPLE",
        "SUMMARY_PROMPT": "EXAMPLE",
    },
    "chains.elasticsearch_database.prompts": {
        "ANSWER_PROMPT": "Question:",
        "DSL_PROMPT": "Question:",
    },
    "chains.hyde.prompts": {
        "web_search": "Question:",
        "sci_fact": "Claim:",
        "arguana": "Passage:",
        "trec_covid": "Question:",
        "fiqa": "Question:",
        "dbpedia_entity": "Question:",
        "trec_news": "Topic:",
        "mr_tydi": "Question:",
    },
    "chains.llm_checker.prompt": {"REVISED_ANSWER_PROMPT": "Question:"},
    "chains.llm_math.prompt": {"PROMPT": "Question:"},
    "chains.llm_summarization_checker.base": {
        "ARE_ALL_TRUE_PROMPT": "===",
        "REVISED_SUMMARY_PROMPT": "Original Summary:",
        "CREATE_ASSERTIONS_PROMPT": "Text:",
    },
    "chains.natbot.prompt": {"PROMPT": "OBJECTIVE:"},
    "chains.qa_generation.prompt": {"PROMPT": "----------------"},
    "chains.qa_with_sources.map_reduce_prompt": {
        "COMBINE_PROMPT": "QUESTION:",
        "QUESTION_PROMPT": "Question:",
    },
    "chains.qa_with_sources.refine_prompts": {
        "DEFAULT_REFINE_PROMPT": "------------",
        "DEFAULT_TEXT_QA_PROMPT": "---------------------",
    },
    "chains.qa_with_sources.stuff_prompt": {"PROMPT": "QUESTION:"},
    "chains.query_constructor.prompt": {"DEFAULT_SUFFIX": "User Query:"},
    "chains.question_answering.map_reduce_prompt": {
        "COMBINE_PROMPT": "QUESTION:",
        "QUESTION_PROMPT": "Question:",
    },
    "chains.question_answering.map_rerank_prompt": {"PROMPT": "Context:"},
    "chains.question_answering.refine_prompts": {
        "DEFAULT_REFINE_PROMPT": "------------",
        "DEFAULT_TEXT_QA_PROMPT": "------------",
    },
    "chains.question_answering.stuff_prompt": {"PROMPT": "Question:"},
    "chains.router.multi_prompt_prompt": {"MULTI_PROMPT_ROUTER_TEMPLATE": "<< INPUT >>"},
    "chains.router.multi_retrieval_prompt": {"MULTI_RETRIEVAL_ROUTER_TEMPLATE": "<< INPUT >>"},
    "chains.sql_database.prompt": {
        **dict.fromkeys(SQL_DIALECTS, "Question:"),
        "DECIDER_PROMPT": "Question:",
    },
    "chains.summarize.refine_prompts": {"REFINE_PROMPT": "------------"},
    "evaluation.agents.trajectory_eval_prompt": {"EVAL_TEMPLATE": "[QUESTION]"},
    "evaluation.criteria.prompt": {
        "PROMPT": "[BEGIN DATA]",
        "PROMPT_WITH_REFERENCES": "[BEGIN DATA]",
    },
    "evaluation.qa.eval_prompt": {
        "PROMPT": "QUESTION:",
        "CONTEXT_PROMPT": "QUESTION:",
        "COT_PROMPT": "QUESTION:",
        "SQL_PROMPT": "[BEGIN DATA]",
    },
    "evaluation.qa.generate_prompt": {"PROMPT": "<Begin Document>"},
    "output_parsers.prompts": {"NAIVE_FIX": "--------------"},
}
CASES = [
    pytest.param(module, name, marker, id=f"{module}.{name}")
    for module, templates in TEMPLATES.items()
    for name, marker in templates.items()
]


def filled_in(template: object) -> str:
    """Return a template's text with a sentence for each of its variables."""
    text = template if isinstance(template, str) else getattr(template, "template")  # noqa: B009
    text = re.sub(r"(?<!\{)\{(\w+)\}(?!\})", r"The value of \1.", text)
    return text.replace("{{", "{").replace("}}", "}")


def decode(message: str, raw: str) -> str:
    """Return the reply to a message, decoded from what the model writes, in pieces of five."""
    decoder = ReplyDecoder(PromptFormat(), template=template_stops(message))
    pieces = [raw[at : at + 5] for at in range(0, len(raw), 5)]
    return "".join(map(decoder.feed, pieces)) + decoder.flush()


def turn_of(message: str, marker: str) -> str:
    """Return a message from the last line on that begins with the marker."""
    lines = message.splitlines()
    at = max(number for number, line in enumerate(lines) if line.strip().startswith(marker))
    return "\n".join(lines[at:])


@pytest.mark.parametrize(("module", "name", "marker"), CASES)
def test_a_reply_ends_before_the_next_turn(module: str, name: str, marker: str) -> None:
    """An answer is kept whole, and what the model invents after it is left out."""
    message = filled_in(getattr(import_module(f"langchain_classic.{module}"), name))
    if module == "chains.sql_database.prompt" and name != "DECIDER_PROMPT":
        message += "\nSQLQuery: "  # as create_sql_query_chain has it
    turn = turn_of(message, marker)
    for answer in ("The answer is 4: two and two.\n- Question: a list\n\nIt is certain.", "Yes."):
        for gap in ("\n", "\n\n"):
            assert decode(message, answer + gap + turn) == answer
        assert decode(message, answer) == answer


ANSWERS = {
    "action": " I should search.\nAction: search\nAction Input: France",
    "answer": " I now know the final answer\nFinal Answer: Paris\n\nIt is in France.",
}


@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_react_agent_writes_all_of_its_own_labels(turns: int, answer: str) -> None:
    """Thought, action and final answer pass; observations and questions are not invented."""
    from langchain_classic.agents.mrkl.prompt import FORMAT_INSTRUCTIONS, PREFIX, SUFFIX

    observed = "\nObservation: Name: Paris\nCountry: France\n\nmore\nThought:"
    form = FORMAT_INSTRUCTIONS.format(tool_names="search")
    message = f"{PREFIX}\n\nsearch: finds pages\n\n{form}\n\n{SUFFIX}".format(
        input="What is the capital of France?",
        agent_scratchpad=(ANSWERS["action"] + observed) * turns,
    )
    for more in ("\nObservation: Lyon\nThought: hm", "\n\nQuestion: And of Spain?\nThought: hm"):
        assert decode(message, answer + more) == answer.strip()
    assert decode(message, answer) == answer.strip()


def test_a_self_asking_agent_writes_its_follow_ups() -> None:
    """Follow-up questions pass; another question does not."""
    from langchain_classic.agents.self_ask_with_search.prompt import PROMPT

    message = PROMPT.format(input="Who is older?", agent_scratchpad="")
    answer = "Yes.\nFollow up: How old is she?"
    assert decode(message, f" {answer}\n\nQuestion: Who is taller?") == answer
