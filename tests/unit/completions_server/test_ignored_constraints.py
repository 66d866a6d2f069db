"""Servers that take a form's fields, say nothing, and let the model write what it likes."""

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
    """A server that writes these texts one after the other, whatever is asked for."""
    rest = list(texts)

    def answer(body: Any) -> Any:
        text = rest.pop(0)
        if body.get("stream"):
            return Pieces([piece(text[:3]), piece(text[3:]), piece("", "stop"), DONE])
        return {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}

    return FakeServer(kind, answer)


def chat_of(server: FakeServer) -> ChatUrial:
    """A chat model by that server."""
    return ChatUrial(llm=server.model(), prompt=PROMPT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("written", ['{"n": 8}', "Eight.", '{"legs": "many"}', '{"legs": 8'])
async def test_a_typed_answer_is_written_anew_once(kind: str, written: str) -> None:
    """Whatever the first one was, the second is asked for below what was wrong."""
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
def test_a_typed_answer_that_fits_no_better_is_an_error(kind: str) -> None:
    """It is never an object, nor a dict."""
    for schema in (Legs, Legs.model_json_schema()):
        server = server_of(kind, '{"n": 8}', f'"n": 8}}{END}')
        with pytest.raises(OutputParserException, match="'legs' is a required property"):
            chat_of(server).with_structured_output(schema).invoke("Spiders?")
    llm = UrialLLM(llm=server_of(kind, '{"n": 8}', f'"n": 8}}{END}').model(), prompt=PROMPT)
    response = llm.as_structured_llm(Legs)
    with pytest.raises(ValidationError, match="legs"):
        response.complete("Spiders?")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_typed_stream_ends_in_an_error(kind: str) -> None:
    """What was given out stands; that it does not fit is said at the end, with the whole text."""
    schema = Legs.model_json_schema()
    for written in ('{"n": 8}', '{"legs": "8"}', '{"legs": 8'):
        typed = chat_of(server_of(kind, written)).with_structured_output(schema)
        with pytest.raises(OutputParserException, match="does not fit") as caught:
            list(typed.stream("Spiders?"))
        assert caught.value.llm_output == written
        typed = chat_of(server_of(kind, written)).with_structured_output(schema)
        with pytest.raises(OutputParserException, match="does not fit"):
            _ = [part async for part in typed.astream("Spiders?")]


@pytest.mark.parametrize("kind", KINDS)
def test_prose_in_place_of_a_typed_stream(kind: str) -> None:
    """None of it is given out, so the answer can be written anew."""
    typed = chat_of(server_of(kind, "Eight legs.", f'"legs": 8}}{END}')).with_structured_output(
        Legs.model_json_schema()
    )
    assert list(typed.stream("Spiders?"))[-1] == {"legs": 8}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_decision_that_is_none(kind: str, way: str) -> None:
    """No option is made of a text that is none of them: header and answer are written freely."""
    answer = "# Answer:\n````\nEight, all of them on the ground."
    choice = 3 if kind == "llama.cpp" else 1  # two to be scored, then one to be chosen
    chosen = [answer] * (2 * choice)  # where nothing is asked, and then for the question
    server = server_of(kind, *chosen, f"{answer}{END}")
    server.tokenizes = kind == "llama.cpp"  # else vLLM need not write to choose
    bound = chat_of(server).bind_tools([Legs])
    parts = [bound.invoke("Spiders?")] if way == "invoke" else list(bound.stream("Spiders?"))
    assert "".join(part.text for part in parts) == "Eight, all of them on the ground."
    *constrained, freely = server.completions
    assert all("grammar" in body or "structured_outputs" in body for body in constrained)
    assert "grammar" not in freely
    assert freely["max_tokens"] == 1024


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_is_written_anew_once(kind: str) -> None:
    """A call that must be made and does not fit is shown with its error, and mended or invalid."""
    wrong = '{"name": "Legs", "arguments": {"n": 8}}'
    for second, calls in ((' {"legs": 8}}', [{"legs": 8}]), (' {"n": 8}}', [{"n": 8}])):
        server = server_of(kind, wrong, second)
        bound = chat_of(server).bind_tools(
            [Legs], tool_choice="any", parallel_tool_calls=False, strict=True
        )
        reply = bound.invoke("Spiders?")
        assert [call["args"] for call in reply.tool_calls] == calls
        assert len(server.completions) == 2
