"""Tools: what can be bound, and how to choose one."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Annotated, Any, TypedDict

import pytest
from fake_models import chat_of
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool, Tool, tool
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1

from langchain_urial.tools import openai_choice, openai_tools
from urial_core.errors import ParameterError
from urial_core.openai_tools import parse_tools
from urial_core.structured.json_validation import match_schema


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def plain(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: One.
        b: Another.
    """
    return a + b


class Add(BaseModel):
    """Add two numbers."""

    a: int = Field(description="One.")
    b: int


class OldAdd(BaseModelV1):
    """Add two numbers."""

    a: int
    b: int


class TypedAdd(TypedDict):
    """Add two numbers."""

    a: int
    b: int


class Node(BaseModel):
    """A node of a tree."""

    value: int
    kids: list[Node] = []


class OldNode(BaseModelV1):
    """A node of a tree."""

    value: int
    kids: list[OldNode] = []


OldNode.update_forward_refs()


class NodeDict(TypedDict):
    """A node of a tree."""

    value: int
    kids: list[NodeDict]


@tool
def plant(tree: Node) -> None:
    """Plant a tree."""


def plant_several(trees: list[Node]) -> None:
    """Plant trees.

    Args:
        trees: The trees.
    """


@tool(parse_docstring=True)
def plant_secretly(trees: list[Node], secret: Annotated[str, InjectedToolArg]) -> None:
    """Plant trees.

    Args:
        trees: The trees.
        secret: What the application passes.
    """


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
FUNCTION = {"name": "add", "description": "Add two numbers.", "parameters": SCHEMA}
OPENAI = {"type": "function", "function": FUNCTION}
FLAT = {"type": "function", **FUNCTION}
"""As OpenAI's Responses API writes it."""
ANTHROPIC = {"name": "add", "description": "Add two numbers.", "input_schema": SCHEMA}
NAMED = {"type": "function", "function": {"name": "add"}}


def from_runnable() -> BaseTool:
    """A runnable made a tool."""
    template = PromptTemplate.from_template("{a} and {b}")
    return template.as_tool(name="add", description="Add two numbers.")


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize(
    "given",
    [
        *[lambda it=it: it for it in (add, plain, Add, OldAdd, TypedAdd)],
        *[
            lambda it=it: it
            for it in (FUNCTION, OPENAI, FLAT, ANTHROPIC, {"title": "add", **SCHEMA})
        ],
        from_runnable,
    ],
    ids=range(11),
)
def test_whatever_describes_a_function_can_be_bound(given: Any) -> None:
    """Each is bound under ``tools`` as OpenAI writes it, and is a tool of the core."""
    bound = chat_of().bind_tools([given()])
    assert isinstance(bound, RunnableBinding)
    [written] = bound.kwargs["tools"]
    assert written["type"] == "function"
    use = parse_tools(bound.kwargs["tools"])
    assert use is not None
    [known] = use.tools
    assert known.name.lower().endswith(("add", "plain"))
    assert set(known.schema["properties"]) == {"a", "b"}
    assert (use.choice, use.forced, use.parallel) == ("auto", None, True)


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        ([{"type": "web_search_preview"}], "'web_search_preview' is run by its provider's servers"),
        ([{"type": "web_search_1", "name": "search"}], "'search' is run by its provider's servers"),
        ([{"type": "object"}], "cannot be bound as a tool"),
        ([{"title": "add", "type": "array"}], "No object matches the parameters of the tool 'add'"),
        ([7], "cannot be bound as a tool"),
    ],
)
def test_what_cannot_be_called_is_refused_when_bound(tools: list[Any], reason: str) -> None:
    """What is not a function is an error before any call."""
    with pytest.raises(ParameterError, match=reason):
        chat_of().bind_tools(tools)


def test_one_tool_may_be_bound_twice_but_two_need_two_names() -> None:
    """A duplicate is left out; another tool of the same name is an error."""
    bound = chat_of().bind_tools([add, add])
    use = parse_tools(bound.kwargs["tools"])
    assert use is not None
    assert [known.name for known in use.tools] == ["add"]
    model = chat_of()
    with pytest.raises(ParameterError, match="Two tools have one name"):
        model.bind_tools([add, {**FUNCTION, "description": "Multiply."}]).invoke("Hi")
    assert model.llm.requests == []


@pytest.mark.parametrize(
    ("choice", "expected", "mode", "forced"),
    [
        (None, None, "auto", None),
        (False, None, "auto", None),
        ("auto", "auto", "auto", None),
        ({"type": "auto"}, "auto", "auto", None),
        ("none", "none", "none", None),
        ("any", "required", "required", None),
        ("required", "required", "required", None),
        (True, "required", "required", None),
        ({"type": "any"}, "required", "required", None),
        ("add", NAMED, "required", "add"),
        (NAMED, NAMED, "required", "add"),
        ({"type": "tool", "name": "add"}, NAMED, "required", "add"),
        ({"auto": {}}, "auto", "auto", None),
        ({"any": {}}, "required", "required", None),
        ({"tool": {"name": "add"}}, NAMED, "required", "add"),
        (add, NAMED, "required", "add"),
    ],
)
def test_every_way_to_write_a_choice_is_understood(
    choice: Any, expected: Any, mode: str, forced: str | None
) -> None:
    """The words of LangChain, OpenAI, Anthropic and Bedrock for a choice, and a tool, are read."""
    bound = chat_of().bind_tools([add, plain], tool_choice=choice)
    assert isinstance(bound, RunnableBinding)
    assert bound.kwargs.get("tool_choice") == expected
    use = parse_tools(bound.kwargs["tools"], bound.kwargs.get("tool_choice"))
    assert use is not None
    assert (use.choice, use.forced) == (mode, forced)


@pytest.mark.parametrize(
    "choice",
    [
        "multiply",
        {"type": "function", "function": {"name": "any"}},
        {"type": "function", "function": 5},
        {"type": "allowed"},
        *(["add"], {"tool": {"name": "multiply"}}, {"some": {}}, {"type": ["any"]}, {}, 5, Add),
    ],
)
def test_an_unknown_tool_cannot_be_chosen(choice: Any) -> None:
    """A choice of what was not bound is an error when it is bound; it names the tools there are."""
    with pytest.raises(ParameterError, match=r"tool_choice is .*are add, plain: name one"):
        chat_of().bind_tools([add, plain], tool_choice=choice)


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ({"type": "auto", "disable_parallel_tool_use": True}, None, 1),
        ({"type": "any", "disable_parallel_tool_use": True}, None, 1),
        ({"type": "auto", "disable_parallel_tool_use": False}, None, 2),
        ({"type": "auto", "disable_parallel_tool_use": True}, True, 2),
        ({"type": "auto"}, False, 1),
    ],
)
@pytest.mark.parametrize("bound", [True, False])
def test_a_choice_may_forbid_parallel_calls(
    choice: Any, parallel: bool | None, expected: int, *, bound: bool
) -> None:
    """Anthropic's choice does, bound or in a call; ``parallel_tool_calls`` takes precedence."""
    begun = '{"name":' if choice["type"] == "any" else ""
    calls = "\n".join(f'{{"name": "add", "arguments": {{"a": 1, "b": {b}}}}}' for b in (1, 2))
    chat = chat_of([("" if begun else "# Tool call:\n````\n") + calls.removeprefix(begun)])
    options: dict[str, Any] = {"tool_choice": choice, "parallel_tool_calls": parallel}
    with_tools = chat.bind_tools([add, plain], **(options if bound else {}))
    message = with_tools.invoke("Add 1 and 1.", **({} if bound else options))
    assert len(message.tool_calls) == expected


def test_a_call_cannot_be_required_of_no_tools() -> None:
    """Without tools, a required call is an error; the other choices are ignored."""
    with pytest.raises(ParameterError, match="there are no tools to call"):
        chat_of().bind_tools([], tool_choice="any")
    assert chat_of().bind_tools([], tool_choice="none").invoke("Hi").content == "Hello!"


def test_a_tool_may_have_the_name_of_a_choice() -> None:
    """The tool's name takes precedence."""
    named = {**FUNCTION, "name": "any"}
    choice = openai_choice("any", openai_tools([named, add]))
    assert choice == {"type": "function", "function": {"name": "any"}}


def test_options_of_the_tools_are_bound_with_them() -> None:
    """Parallel calls, strict schemas, a response format, and other arguments of the call."""
    bound = chat_of().bind_tools(
        [add], parallel_tool_calls=False, strict=True, response_format=Add, temperature=0.5
    )
    assert isinstance(bound, RunnableBinding)
    assert bound.kwargs["tools"][0]["function"]["parameters"]["additionalProperties"] is False
    assert bound.kwargs["response_format"]["json_schema"]["name"] == "Add"
    assert bound.kwargs["temperature"] == 0.5
    use = parse_tools(bound.kwargs["tools"], parallel=bound.kwargs["parallel_tool_calls"])
    assert use is not None
    assert not use.parallel


def test_a_tool_without_parameters_takes_none() -> None:
    """A name alone is a tool; its arguments are an empty object."""
    use = parse_tools(openai_tools([{"name": "now"}]))
    assert use is not None
    assert use.tools[0].schema == {"type": "object", "properties": {}}
    assert use.tools[0].description == ""


def parameters_of(given: Any) -> dict[str, Any]:
    """The parameters that a tool is bound with."""
    [written] = openai_tools([given])
    parameters: dict[str, Any] = written["function"]["parameters"]
    return parameters


@pytest.mark.parametrize(
    "given",
    [
        *(Node, OldNode, NodeDict, plant, plant_several, Node.model_json_schema()),
        {"title": "plant", **Node.model_json_schema()},
        StructuredTool(
            name="plant", description="Plant.", args_schema={**Node.model_json_schema()}
        ),
    ],
    ids=range(8),
)
def test_a_tool_keeps_references(given: Any) -> None:
    """Parameters of a type that holds itself match such values, and no others, at any depth."""
    use = parse_tools(openai_tools([given]))
    assert use is not None
    [known] = use.tools
    assert known.description
    leaf, invalid = {"value": 1, "kids": []}, {"value": "one", "kids": []}
    for kids, matches in ([leaf], True), ([invalid], False), ([{**leaf, "kids": [invalid]}], False):
        tree = {"value": 1, "kids": kids}
        first = next(iter(known.schema.get("properties", ())), None)
        arguments = {"tree": {"tree": tree}, "trees": {"trees": [tree]}}.get(str(first), tree)
        assert (match_schema(arguments, known.parameters)[1] == "") is matches


def test_a_tool_is_described_as_langchain_does() -> None:
    """Arguments have the descriptions of the docstring; those of the application are left out."""
    for given in plant_several, plant_secretly:
        properties = parameters_of(given)["properties"]
        assert list(properties) == ["trees"]
        assert properties["trees"]["description"] == "The trees."
    assert parameters_of(Tool("search", str, "Search."))["properties"]["__arg1"]["type"] == "string"


def test_an_amount_is_a_number() -> None:
    """A decimal is written as a number in a tool as in a response format: a text could be any."""

    class Pay(BaseModel):
        """Pay."""

        amount: Decimal

    def pay(amount: Decimal) -> None:
        """Pay."""

    for given in Pay, pay, tool(pay):
        assert parameters_of(given)["properties"]["amount"]["type"] == "number"


def test_what_cannot_be_described_is_an_error_of_this_project() -> None:
    """Whatever pydantic or LangChain raises for a tool or a schema, it is a ParameterError."""

    class Unknown(TypedDict):
        """Refers to what there is not."""

        field: Missing  # type: ignore[name-defined] # noqa: F821

    for given in Unknown, partial(plain, 1), object, list:
        with pytest.raises(ParameterError, match="cannot be bound as a tool"):
            chat_of().bind_tools([given])
    with pytest.raises(ParameterError, match="is not a schema"):
        chat_of().with_structured_output(Unknown)
