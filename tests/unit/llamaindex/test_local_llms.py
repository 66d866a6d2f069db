"""Around LlamaIndex's classes for models in this process, and LangChain's LLMs."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_llms import END, JUNK, PIECES, PROMPT, WAYS, ask
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from llama_index.core.llms import MockLLM
from pydantic import Field, PrivateAttr

from llamaindex_urial import UrialLLM
from urial_core import UnsupportedModelError
from urial_core.backends.transformers import TransformersModel

TEXT = f"Hello!{END}{JUNK}"


class Llama:
    """As much of ``llama_cpp.Llama`` as is called."""

    def __init__(self) -> None:
        self.calls = list[dict[str, Any]]()

    def __call__(self, prompt: str, *, stream: bool, **kwargs: Any) -> Any:
        self.calls.append({"prompt": prompt, **kwargs})
        if stream:
            return ({"choices": [{"text": piece, "finish_reason": None}]} for piece in PIECES)
        usage = {"prompt_tokens": 50, "completion_tokens": 7}
        return {"choices": [{"text": TEXT, "finish_reason": "length"}], "usage": usage}

    def n_ctx(self) -> int:
        return 2048

    def tokenize(self, text: bytes, *, add_bos: bool, special: bool) -> list[int]:
        assert not special
        return [*([1] if add_bos else []), *text]


class LlamaCPP(MockLLM):
    """The settings of LlamaIndex's class of this name, whose package would have to be compiled."""

    model_path: str = "/models/base.gguf"
    max_new_tokens: int = 33
    generate_kwargs: dict[str, Any] = Field(
        default={"mirostat_mode": 2, "stop": ["OWN"], "stream": True}
    )
    model_kwargs: dict[str, Any] = Field(default={})

    _model: Llama = PrivateAttr(default_factory=Llama)


LlamaCPP.__module__ = "llama_index.llms.llama_cpp.base"


@pytest.mark.parametrize("way", WAYS)
async def test_llama_cpp_is_called_by_the_object_inside(way: str) -> None:
    """Stop strings and parameters reach llama.cpp, which the class itself would drop."""
    llm = LlamaCPP()
    urial = UrialLLM(llm=llm, prompt=PROMPT)
    assert await ask(way, urial, top_p=0.8) == "Hello!"
    [call] = llm._model.calls
    assert call["prompt"].startswith(PROMPT.prefix)
    assert call["stop"][0] == "\n````"
    assert (call["max_tokens"], call["top_p"], call["mirostat_mode"]) == (33, 0.8, 2)
    assert urial.metadata.context_window < 2048 - len(PROMPT.prefix)
    assert urial.tokenizer("ab") == [1, 97, 98]


def test_llama_cpp_constrains_typed_answers_to_their_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The schema becomes a grammar of the call."""
    seen = list[str]()

    class LlamaGrammar:
        @classmethod
        def from_json_schema(cls, schema: str, *, verbose: bool) -> str:
            assert not verbose
            seen.append(schema)
            return "a grammar"

    llama_cpp: Any = ModuleType("llama_cpp")
    llama_cpp.LlamaGrammar = LlamaGrammar
    monkeypatch.setitem(sys.modules, "llama_cpp", llama_cpp)
    llm = LlamaCPP()
    form = {"type": "json_schema", "json_schema": {"schema": {"enum": ["a", "b"]}}}
    list(UrialLLM(llm=llm, prompt=PROMPT).stream_complete("Hi", response_format=form))
    assert seen[0] == '{"enum": ["a", "b"]}'
    assert llm._model.calls[0]["grammar"] == "a grammar"


@pytest.mark.needs("llama_index.llms.vllm")
@pytest.mark.parametrize("way", WAYS)
async def test_vllm_in_this_process_answers_in_one_piece(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its streams raise "Not Implemented"; a stream of one piece is given instead."""
    from llama_index.llms.vllm import Vllm

    seen = list[Any]()

    def generate(prompts: list[str], parameters: Any) -> Any:
        seen.append((prompts, vars(parameters)))
        return [SimpleNamespace(outputs=[SimpleNamespace(text=TEXT)])]

    vllm: Any = ModuleType("vllm")
    vllm.SamplingParams = SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    llm = Vllm(model="m", api_url="http://unused", max_new_tokens=33)
    llm._client = SimpleNamespace(generate=generate)
    urial = UrialLLM(llm=llm, prompt=PROMPT)
    assert await ask(way, urial, top_p=0.8) == "Hello!"
    [([prompt], parameters)] = seen
    assert prompt.startswith(PROMPT.prefix)
    assert parameters["stop"][0] == "\n````"
    assert (parameters["max_tokens"], parameters["top_p"]) == (33, 0.8)


@pytest.mark.needs("llama_index.llms.huggingface", "torch")
def test_a_hugging_face_model_runs_in_the_engine() -> None:
    """HuggingFaceLLM's own model and tokenizer are used, with all that the engine offers."""
    from llama_index.llms.huggingface import HuggingFaceLLM
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = ["<end>", "<unknown>", *PROMPT.prefix.split(), "Hi", "# Query:", "# Answer:", "````"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.WhitespaceSplit(), decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unknown>", eos_token="<end>"
    )
    config = GPT2Config(vocab_size=len(vocabulary), n_positions=256, n_embd=16, n_layer=1, n_head=2)
    llm = HuggingFaceLLM(
        model=GPT2LMHeadModel(config).eval(),
        tokenizer=tokenizer,
        max_new_tokens=5,
        generate_kwargs={"do_sample": False, "repetition_penalty": 1.3},
    )
    with pytest.warns(UserWarning, match="too little"):
        urial = UrialLLM(llm=llm, prompt=PROMPT)
    model = urial.urial.model
    assert isinstance(model, TransformersModel)
    assert model._loaded is llm._model
    parameters = urial._call({}).parameters
    assert (parameters.max_tokens, parameters.temperature) == (5, 0.0)
    assert parameters.repetition_penalty == 1.3
    assert urial.complete("Hi").raw["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("way", WAYS)
async def test_a_langchain_llm_is_wrapped_as_it_is(way: str) -> None:
    """LangChain's completion LLMs need no wrapper of LlamaIndex's."""
    assert await ask(way, UrialLLM(llm=FakeListLLM(responses=[TEXT]), prompt=PROMPT)) == "Hello!"


def test_a_langchain_chat_model_is_refused() -> None:
    """LangChain's chat models have a template of their own."""
    with pytest.raises(UnsupportedModelError, match="chat model already"):
        UrialLLM(llm=FakeListChatModel(responses=["x"]), prompt=PROMPT)
