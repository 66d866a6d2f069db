"""LangChain's text chains on the real base model: no reply invents the template's next turn.

The model's answers may be wrong; what is held is that they end where the answer ends.
"""

from __future__ import annotations

import os
import re
import sqlite3
from typing import Any

import pytest
from langchain_core.prompts import PromptTemplate
from langchain_core.tools import tool

from langchain_urial import ChatUrial
from urial_core.backends.llama_cpp import LlamaCppModel

pytestmark = pytest.mark.model
pytest.importorskip("langchain_classic")

LABEL = re.compile(
    r"^(Question|Context|Text|Observation|SQLResult|QUESTION|CONTEXT|STUDENT ANSWER|Human):"
    r"|^[-=]{8,}$",
    re.MULTILINE,
)
"""What only the templates write."""
QUESTIONS = [
    "What is the capital of France?",
    "How many legs has a spider?",
    "Which animals are in the table?",
    "What color is the sky?",
    "How many days are in a week?",
    "Who wrote Hamlet?",
    "What do bees make?",
    "Which animal is the oldest?",
    "What is 7 + 8?",
    "Where do penguins live?",
][: int(os.environ.get("URIAL_TEST_QUESTIONS", "1"))]
"""What the matrix asks with each template; ten at most."""
FIRST, *OTHERS = [
    pytest.param(question, marks=[pytest.mark.matrix] * bool(number))
    for number, question in enumerate(QUESTIONS)
]
TABLE = 'CREATE TABLE "animal" (\n\tname TEXT,\n\tlegs INTEGER,\n\tage INTEGER\n)'


@pytest.fixture
def chat(llama: LlamaCppModel) -> ChatUrial:
    """Return a greedy chat model with the short prompt."""
    return ChatUrial(llm=llama, prompt="short", max_tokens=96, temperature=0)


def ask(chat: ChatUrial, prompt: Any, **values: str) -> str:
    """Return the reply to a filled-in template."""
    template = (
        prompt if isinstance(prompt, PromptTemplate) else PromptTemplate.from_template(prompt)
    )
    return chat.invoke(template.format(**values)).text


@pytest.mark.parametrize("question", [FIRST, *OTHERS])
def test_a_question_over_context(chat: ChatUrial, question: str) -> None:
    """The stuff chain's template ends with the answer."""
    from langchain_classic.chains.question_answering.stuff_prompt import PROMPT

    context = "Paris is the capital of France. Spiders have eight legs."
    assert not LABEL.search(ask(chat, PROMPT, context=context, question=question))


@pytest.mark.parametrize("question", [FIRST, *OTHERS])
def test_a_query_is_one_query(chat: ChatUrial, question: str) -> None:
    """An SQL chain's reply holds the query alone: neither its result nor another question."""
    from langchain_classic.chains.sql_database.prompt import SQLITE_PROMPT

    query = ask(chat, SQLITE_PROMPT, input=f"{question}\nSQLQuery: ", top_k="5", table_info=TABLE)
    assert not LABEL.search(query)
    assert "SQLQuery:" not in query
    assert not query.startswith("```")


@pytest.mark.parametrize("question", [FIRST, *OTHERS])
def test_an_agent_answers_its_own_question(chat: ChatUrial, question: str) -> None:
    """A ReAct agent's steps hold no observation or question that the model invented."""
    from langchain_classic.agents import AgentExecutor, create_react_agent
    from langchain_classic.agents.mrkl.prompt import FORMAT_INSTRUCTIONS, SUFFIX

    @tool
    def search(query: str) -> str:
        """Find a page."""
        return f"A page about {query}."

    form = f"You have tools:\n\n{{tools}}\n\n{FORMAT_INSTRUCTIONS}\n\n{SUFFIX}"
    prompt = PromptTemplate.from_template(form)
    agent = create_react_agent(chat, [search], prompt)
    executor = AgentExecutor(
        agent=agent,
        tools=[search],
        max_iterations=2,
        handle_parsing_errors=True,
        return_intermediate_steps=True,
    )
    result = executor.invoke({"input": question})
    for action, _ in result["intermediate_steps"]:
        assert not LABEL.search(action.log)
    assert not LABEL.search(result["output"])


@pytest.mark.matrix
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", ["PROMPT", "CONTEXT_PROMPT", "COT_PROMPT"])
def test_a_grade(chat: ChatUrial, name: str, question: str) -> None:
    """A grader's reply is about the answer that it was given."""
    from langchain_classic.evaluation.qa import eval_prompt

    values = {"query": question, "result": "Paris", "answer": "Paris", "context": "A book."}
    prompt = getattr(eval_prompt, name)
    asked = {variable: values[variable] for variable in prompt.input_variables}
    assert not LABEL.search(ask(chat, prompt, **asked))


@pytest.mark.matrix
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_refined_answer(chat: ChatUrial, question: str) -> None:
    """The refine chain's reply holds no turn that is not in the prompt."""
    from langchain_classic.chains.question_answering.refine_prompts import DEFAULT_REFINE_PROMPT

    reply = ask(
        chat,
        DEFAULT_REFINE_PROMPT,
        question=question,
        existing_answer="I do not know.",
        context_str="Paris is the capital of France.",
    )
    assert not LABEL.search(reply)
    for asked in re.findall("The original question is as follows: (.*)", reply):
        assert asked == question


def test_no_invented_query_runs() -> None:
    """The chain of a model that goes on with another question runs its first query only."""
    from langchain_classic.chains import create_sql_query_chain

    from urial_core.testing import FakeModel

    class Database:
        dialect = "sqlite"

        def get_table_info(self, table_names: object = None) -> str:
            return TABLE if table_names is None else ""

    written = "SELECT name FROM animal\n\nQuestion: Which number is first?\nSQLQuery: SELECT 1"
    for raw in (written, f"```sql\n{written}", "SELECT name FROM animal\nSQLResult: cat"):
        chat = ChatUrial(llm=FakeModel([raw]), prompt="short")
        query = create_sql_query_chain(chat, Database()).invoke({"question": "Which animals?"})  # type: ignore[arg-type]
        assert query == "SELECT name FROM animal"
        with sqlite3.connect(":memory:") as database:
            database.execute(TABLE)
            database.execute("INSERT INTO animal VALUES ('cat', 4, 3)")
            assert database.execute(query).fetchall() == [("cat",)]
