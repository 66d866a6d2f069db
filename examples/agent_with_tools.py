"""Run a LangChain agent with tools: the model calls a calculator and a search, and answers.

The search looks through this project's own documentation, with the full-text search of SQLite. Both
tools are plain functions; LangChain's ``create_agent`` runs the loop. The demo model is tiny: it
calls the right tool more often than it draws the right conclusion.

    python examples/agent_with_tools.py
"""

import ast
import operator
import os
import re
import sqlite3
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import ToolException, tool

from langchain_urial import ChatUrial
from urial_core.demo import DEMO_NOTICE, demo_model_file

QUESTIONS = [
    "What is 127 * 12? Use the calculator.",
    "Search the documentation: what is the prefix cache?",
]
DOCUMENTATION = Path(__file__).parents[1] / "docs"
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


def value_of(node: ast.AST) -> float:
    """Compute an expression's value, without running any code."""
    match node:
        case ast.Expression(body):
            return value_of(body)
        case ast.Constant(int() | float() as number):
            return number
        case ast.UnaryOp(sign, operand) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](value_of(operand))
        case ast.BinOp(left, sign, right) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](value_of(left), value_of(right))
    raise ToolException("Only numbers, + - * / and brackets can be calculated.")


@tool
def calculate(expression: str) -> str:
    """Calculate the value of an arithmetic expression, such as 2 * (3 + 4)."""
    try:
        return str(value_of(ast.parse(expression.strip(), mode="eval")))
    except (SyntaxError, ZeroDivisionError, OverflowError) as error:
        raise ToolException(f"{expression!r} cannot be calculated: {error}") from error


calculate.handle_tool_error = True  # the model gets the error, and may try again


@tool
def search(query: str) -> str:
    """Search the documentation for a word or phrase."""
    pages = sqlite3.connect(":memory:")
    pages.execute("CREATE VIRTUAL TABLE pages USING fts5(title, text)")
    for file in sorted(DOCUMENTATION.glob("*.md")):
        for part in re.split(r"^#+ ", file.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            pages.execute("INSERT INTO pages VALUES (?, ?)", part.split("\n", 1))
    words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))
    found = pages.execute(
        "SELECT title, snippet(pages, 1, '', '', '...', 40) FROM pages "
        "WHERE pages MATCH ? ORDER BY rank LIMIT 1",
        [words or '""'],
    ).fetchone()
    return ": ".join(found) if found else "Nothing was found."


def main() -> None:
    """Ask the questions, and show each step of the agent."""
    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE)
    model = os.environ.get("URIAL_MODEL") or str(demo_model_file())
    agent = create_agent(ChatUrial(model=model, max_tokens=100), [calculate, search])
    for question in QUESTIONS:
        print(f"\n> {question}")
        steps = agent.stream(
            {"messages": [("human", question)]}, {"recursion_limit": 12}, stream_mode="updates"
        )
        for step in steps:
            for update in step.values():
                for message in update["messages"]:
                    show(message)


def show(message: AIMessage | ToolMessage) -> None:
    """Print a message's tool calls, result or text."""
    if isinstance(message, ToolMessage):
        print(f"[{message.name} returned: {message.text}]")
        return
    for call in message.tool_calls:
        print(f"[calls {call['name']} with {call['args']}]")
    if message.text:
        print(message.text)


if __name__ == "__main__":
    main()
