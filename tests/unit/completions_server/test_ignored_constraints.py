"""Servers that silently ignore the fields of a constraint."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import DONE, PROMPT, FakeServer, Pieces, piece
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, ValidationError

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM

KINDS = ["vllm", "llama.cpp"]
END = "\n````\n"


class Legs(BaseModel):
    """How many legs an animal has."""

    legs: int


def server_of(kind: str, *texts: str) -> FakeServer:
    """Return a fake server that writes these texts one after the other, whatever is requested."""
    rest = list(texts)

    def answer(body: Any) -> Any:
        text = rest.pop(0)
        if body.get("stream"):
            return Pieces([piece(text[:3]), piece(text[3:]), piece("", "stop"), DONE])
        return {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}

    return FakeServer(kind, answer)


def chat_of(server: FakeServer) -> ChatUrial:
    """Return a chat model of that server."""
    return ChatUrial(llm=server.model(), prompt=PROMPT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("written", ['{"n": 8}', "Eight.", '{"legs": "many"}', '{"legs": 8'])
async def test_an_invalid_typed_reply_is_retried_once(kind: str, written: str) -> None:
    """The retry shows the model its first reply and what was invalid."""
    for way in ("invoke", "ainvoke"):
        server = server_of(kind, written, f'"legs": 8}}{END}')
        typed = chat_of(server).with_structured_output(Legs)
        found = typed.invoke("Spiders?") if way == "invoke" else await typed.ainvoke("Spiders?")
        assert found == Legs(legs=8)
        assert [("structured_outputs" in b or "json_schema" in b) for b in server.completions] == [
            True,
            False,
        ]
        assert server.text_of(server.completions[1]["prompt"]).endswith("# Answer:\n````\n{")


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_invalid_typed_reply_is_an_error(kind: str) -> None:
    """It never becomes an object or a dict."""
    for schema in (Legs, Legs.model_json_schema()):
        server = server_of(kind, '{"n": 8}', f'"n": 8}}{END}')
        with pytest.raises(OutputParserException, match="'legs' is a required property"):
            chat_of(server).with_structured_output(schema).invoke("Spiders?")
    llm = UrialLLM(llm=server_of(kind, '{"n": 8}', f'"n": 8}}{END}').model(), prompt=PROMPT)
    response = llm.as_structured_llm(Legs)
    with pytest.raises(ValidationError, match="legs"):
        response.complete("Spiders?")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_invalid_typed_stream_ends_in_an_error(kind: str) -> None:
    """Emitted text stays; the error at the end has the whole text."""
    schema = Legs.model_json_schema()
    for written in ('{"n": 8}', '{"legs": "8"}', '{"legs": 8'):
        typed = chat_of(server_of(kind, written)).with_structured_output(schema)
        with pytest.raises(OutputParserException, match="does not match the schema") as caught:
            list(typed.stream("Spiders?"))
        assert caught.value.llm_output == written
        typed = chat_of(server_of(kind, written)).with_structured_output(schema)
        with pytest.raises(OutputParserException, match="does not match the schema"):
            _ = [part async for part in typed.astream("Spiders?")]


@pytest.mark.parametrize("kind", KINDS)
def test_prose_in_place_of_a_typed_stream_is_retried(kind: str) -> None:
    """None of it is emitted, so the reply can be retried."""
    typed = chat_of(server_of(kind, "Eight legs.", f'"legs": 8}}{END}')).with_structured_output(
        Legs.model_json_schema()
    )
    assert list(typed.stream("Spiders?"))[-1] == {"legs": 8}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_an_invalid_decision_falls_back_to_free_text(kind: str, way: str) -> None:
    """A text that is none of the options makes header and answer unconstrained."""
    answer = "# Answer:\n````\nEight, all of them on the ground."
    choice = 4 if kind == "llama.cpp" else 1  # one to read, two to score, then one to write
    decisions = [answer] * (2 * choice)  # for the calibration, then for the question
    server = server_of(kind, *decisions, f"{answer}{END}")
    server.tokenizes = kind == "llama.cpp"  # else vLLM scores without writing
    bound = chat_of(server).bind_tools([Legs])
    parts = [bound.invoke("Spiders?")] if way == "invoke" else list(bound.stream("Spiders?"))
    assert "".join(part.text for part in parts) == "Eight, all of them on the ground."
    *before, freely = server.completions
    constrained = [body for body in before if {"grammar", "structured_outputs"} & set(body)]
    assert len(constrained) == len(before) - 2 * (kind == "llama.cpp")
    assert "grammar" not in freely
    assert freely["max_tokens"] == 1024


@pytest.mark.parametrize("kind", KINDS)
def test_an_invalid_call_is_retried_once(kind: str) -> None:
    """A forced call that is invalid is shown with its error; the second is valid or invalid."""
    invalid = '{"name": "Legs", "arguments": {"n": 8}}'
    for second, calls in ((' {"legs": 8}}', [{"legs": 8}]), (' {"n": 8}}', [{"n": 8}])):
        server = server_of(kind, invalid, second)
        bound = chat_of(server).bind_tools(
            [Legs], tool_choice="any", parallel_tool_calls=False, strict=True
        )
        reply = bound.invoke("Spiders?")
        assert [call["args"] for call in reply.tool_calls] == calls
        assert len(server.completions) == 2
