"""Around LangChain's ``LlamaCpp``: the llama.cpp object inside it is called."""

from __future__ import annotations

from typing import Any

import pytest
from fake_models import END, JUNK, PROMPT

from langchain_urial import ChatUrial
from urial_core.backends.llama_cpp_python import LlamaModel

LlamaCpp = pytest.importorskip("langchain_community.llms.llamacpp").LlamaCpp


class Llama:
    """As much of ``llama_cpp.Llama`` as is called; it reports usage of whole texts only."""

    def __init__(self) -> None:
        self.calls = list[dict[str, Any]]()

    def __call__(self, prompt: str, *, stream: bool, **kwargs: Any) -> Any:
        self.calls.append({"prompt": prompt, **kwargs})
        if stream:
            reasons = [(piece, None) for piece in ("Hel", "lo")] + [("!", "length")]
            return ({"choices": [{"text": text, "finish_reason": why}]} for text, why in reasons)
        usage = {"prompt_tokens": 50, "completion_tokens": 7}
        choice = {"text": f"Hello!{END}{JUNK}", "finish_reason": "stop"}
        return {"choices": [choice], "usage": usage}

    def n_ctx(self) -> int:
        return 2048

    def tokenize(self, text: bytes, *, add_bos: bool, special: bool) -> list[int]:
        assert add_bos
        assert not special
        return [1, *text]


@pytest.fixture
def llm() -> Any:
    """The class as a user sets it, without loading anything."""
    return LlamaCpp.model_construct(
        {"model_path", "max_tokens", "stop"},
        model_path="/models/base.gguf",
        client=Llama(),
        max_tokens=33,
        stop=["OWN"],
        temperature=0.3,
        repeat_penalty=1.1,
    )


def test_what_was_set_on_it_and_said_reaches_llama_cpp(llm: Any) -> None:
    """A request's parameters take precedence over the owner's; stop strings add up."""
    chat = ChatUrial(llm=llm, prompt=PROMPT)
    assert isinstance(chat.urial.model, LlamaModel)
    message = chat.invoke("Hi", stop=["MINE"], top_p=0.8, seed=4, frequency_penalty=0.1)
    assert message.text == "Hello!"
    [call] = llm.client.calls
    assert call["prompt"].startswith(PROMPT.prefix)
    assert call["stop"] == ["\n````", "\n# Query:\n", "MINE", "OWN"]
    names = ("max_tokens", "temperature", "repeat_penalty", "top_p", "seed", "frequency_penalty")
    assert [call[name] for name in names] == [33, 0.3, 1.1, 0.8, 4, 0.1]
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] == 7
    chat.invoke("Hi", mirostat_mode=2)
    assert llm.client.calls[1]["mirostat_mode"] == 2


def test_a_streamed_reply_reports_its_end_and_usage(llm: Any) -> None:
    """A reply truncated at its limit reports it; tokens are counted, begin-of-text once."""
    chunks = list(ChatUrial(llm=llm, prompt=PROMPT).stream("Hi"))
    assert chunks[-1].response_metadata["finish_reason"] == "length"
    usage = chunks[-1].usage_metadata
    assert usage is not None
    assert usage["output_tokens"] == len("Hello!")
    assert usage["input_tokens"] == 1 + len(llm.client.calls[0]["prompt"])
