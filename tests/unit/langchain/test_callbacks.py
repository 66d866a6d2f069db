"""Callbacks: they see the chat model's run and the reply, and nothing of what lies beneath."""

from __future__ import annotations

from typing import Any

import pytest
from fake_models import (
    END,
    JUNK,
    PROMPT,
    AsyncStreamingLLM,
    PlainLLM,
    ReportingModel,
    StreamingLLM,
    chat_of,
)
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    BaseCallbackHandler,
    get_usage_metadata_callback,
)
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableLambda

from langchain_urial import ChatUrial
from urial_core import CompletionChunk, GenerationError, Usage

SCRIPT = ["\n", "Hel", "lo!\n", "````\n", JUNK]
SHOWN = ["Hel", "lo!"]
LLMS = [PlainLLM, StreamingLLM, AsyncStreamingLLM]


class Diary(BaseCallbackHandler):
    """Records the events it gets."""

    def __init__(self) -> None:
        self.starts = list[str]()
        self.tokens = list[str]()
        self.ends = list[str]()
        self.errors = list[BaseException]()

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **kwargs: Any
    ) -> None:
        """Write down a chat model's start."""
        self.starts.append("chat")

    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], **kwargs: Any) -> None:
        """Write down a completion model's start."""
        self.starts.append("llm")

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        """Write down a token."""
        self.tokens.append(token)

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Write down a reply."""
        self.ends.append(response.generations[0][0].text)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        """Write down an error."""
        self.errors.append(error)


class AsyncDiary(AsyncCallbackHandler):
    """The same for the event loop."""

    def __init__(self) -> None:
        self.tokens = list[str]()

    async def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        """Write down a token."""
        self.tokens.append(token)


async def test_handlers_see_the_reply_alone() -> None:
    """Tokens and replies in callbacks are those of the reply: no fence, and nothing behind it."""
    chat, diary, other = chat_of(SCRIPT), Diary(), AsyncDiary()
    list(chat.stream("Hi", {"callbacks": [diary]}))
    [_ async for _ in chat.astream("Hi", {"callbacks": [diary, other]})]
    chat.invoke("Hi", {"callbacks": [diary]})
    assert diary.tokens == [*SHOWN, "", *SHOWN, ""]
    assert other.tokens == [*SHOWN, ""]
    assert diary.ends == ["Hello!"] * 3
    assert diary.starts == ["chat"] * 3


@pytest.mark.parametrize("kind", LLMS)
async def test_the_wrapped_llm_is_not_a_run_of_its_own(kind: type[PlainLLM]) -> None:
    """A call is one run, the chat model's; the LLM inside reports nothing."""
    llm_diary = Diary()
    chat = ChatUrial(llm=kind(callbacks=[llm_diary]), prompt=PROMPT)
    diary = Diary()
    config: Any = {"callbacks": [diary]}
    chain = RunnableLambda(lambda text: text) | chat
    chain.invoke("Hi", config)
    list(chain.stream("Hi", config))
    await chain.ainvoke("Hi", config)
    [_ async for _ in chain.astream("Hi", config)]
    chain.batch(["Hi", "Ho"], config)
    assert diary.starts == ["chat"] * 6
    assert diary.ends == ["Hello!"] * 6
    assert llm_diary.starts == []
    assert all(END.strip() not in token for token in diary.tokens)


@pytest.mark.parametrize("kind", LLMS)
async def test_events_tell_the_reply_alone(kind: type[PlainLLM]) -> None:
    """``astream_events`` has one chat model's events, whose text is the reply's."""
    chat = ChatUrial(llm=kind(reply="".join(SCRIPT)), prompt=PROMPT)
    events = [event async for event in chat.astream_events("Hi", version="v2")]
    assert {event["event"] for event in events} == {
        "on_chat_model_start",
        "on_chat_model_stream",
        "on_chat_model_end",
    }
    pieces = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(pieces) == "Hello!"
    assert events[-1]["data"]["output"].content == "Hello!"


@pytest.mark.filterwarnings("ignore:.*is in beta")
async def test_protocol_events_tell_the_reply_alone() -> None:
    """Version 3 of the events, sync and async, has the reply's text, usage and no format."""
    chat = chat_of(SCRIPT)
    stream = chat.stream_events("Hi", version="v3")
    assert "".join(stream.text) == "Hello!"
    assert stream.output.text == "Hello!"
    assert stream.output.usage_metadata is not None
    async_stream = await chat.astream_events("Hi", version="v3")
    assert "".join([piece async for piece in async_stream.text]) == "Hello!"


async def test_a_chain_inside_a_chain_streams_to_its_handlers() -> None:
    """``invoke`` streams inside where someone listens for tokens further out."""
    chat = chat_of(SCRIPT)
    chain = RunnableLambda(chat.invoke) | RunnableLambda(lambda m: m.content)
    events = [event async for event in chain.astream_events("Hi", version="v2")]
    pieces = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert pieces == [*SHOWN, ""]


async def test_errors_reach_the_handlers() -> None:
    """An error of the model's ends the run as an error, once."""
    chat = chat_of([GenerationError("broken")])
    diary = Diary()
    for attempt in (chat.invoke, lambda *args: list(chat.stream(*args))):
        with pytest.raises(GenerationError, match="broken"):
            attempt("Hi", {"callbacks": [diary]})
    with pytest.raises(GenerationError, match="broken"):
        await chat.ainvoke("Hi", {"callbacks": [diary]})
    assert [str(error) for error in diary.errors] == ["broken"] * 3
    assert diary.ends == []


async def test_usage_is_added_up_by_model() -> None:
    """LangChain's usage callback finds tokens and the model's name, however the call was made."""
    chunk = CompletionChunk(f"Hello!{END}", finish="stop", usage=Usage(10, 4, 6))
    chat = ChatUrial(llm=ReportingModel(chunk), prompt=PROMPT)
    with get_usage_metadata_callback() as usage:
        chat.invoke("Hi")
        await chat.ainvoke("Hi")
        list(chat.stream("Hi"))
        chat.batch(["Hi", "Ho"])
    found = usage.usage_metadata["reporting"]
    assert (found["input_tokens"], found["output_tokens"], found["total_tokens"]) == (50, 20, 70)
    assert found["input_token_details"]["cache_read"] == 30


def test_a_trace_names_model_and_parameters_and_no_page() -> None:
    """Traces get LangSmith's standard names, and the parameters as they really were."""
    seen = list[dict[str, Any]]()

    class Tracer(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            seen.append(kwargs)

    chat = chat_of(temperature=0.5, stop=["own"])
    message = chat.invoke("Hi", {"callbacks": [Tracer()]}, stop=["END"], max_tokens=9)
    assert isinstance(message, AIMessage)
    [run] = seen
    expected = {
        "ls_provider": "urial-chat",
        "ls_model_name": "fake",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 9,
        "ls_stop": ["END", "own"],
    }
    assert {name: run["metadata"].get(name) for name in expected} == expected
