"""Around ``HuggingFacePipeline``: its own model, run by this project's engine."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("langchain_huggingface")

from fake_models import PROMPT

from langchain_urial import ChatUrial
from urial_core.backends.transformers import TransformersModel

WORDS = ["<end>", "<unknown>", *PROMPT.prefix.split(), "Hi", "Ho", "Query:", "Answer:", "````"]


@pytest.fixture(scope="module")
def pipe() -> Any:
    """A text-generation pipeline of a tiny model with random weights; nothing is downloaded."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, pipeline

    torch.manual_seed(0)
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(WORDS))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unknown>",
        eos_token="<end>",
    )
    config = GPT2Config(
        vocab_size=len(vocabulary), n_positions=256, n_embd=16, n_layer=1, n_head=2, eos_token_id=0
    )
    model = GPT2LMHeadModel(config).eval()
    return pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu")


def chat_of(pipe: Any, bound: dict[str, Any] | None = None, **kwargs: Any) -> ChatUrial:
    """A chat model around LangChain's class for the pipeline."""
    from langchain_huggingface import HuggingFacePipeline

    llm = HuggingFacePipeline(pipeline=pipe, pipeline_kwargs=kwargs or None)
    return ChatUrial(llm=llm.bind(**bound) if bound else llm, prompt=PROMPT)


def test_the_pipelines_model_runs_in_the_engine(pipe: Any) -> None:
    """The pipeline's own model and tokenizer are used, with everything the engine offers."""
    chat = chat_of(pipe)
    model = chat.urial.model
    assert isinstance(model, TransformersModel)
    assert model._loaded is pipe.model
    assert model.context_window == 256
    assert chat.get_num_tokens("Hi Ho") == 2
    message = chat.invoke("Hi", max_tokens=5, logprobs=True)
    assert message.usage_metadata is not None
    assert 0 < message.usage_metadata["output_tokens"] <= 5
    again = chat.invoke("Hi", max_tokens=5)
    assert (again.usage_metadata or {})["input_token_details"]["cache_read"] > 0


@pytest.mark.parametrize(
    ("settings", "bound", "expected"),
    [
        ({}, {}, {"max_tokens": None, "temperature": None}),
        ({"max_new_tokens": 7}, {}, {"max_tokens": 7}),
        ({"do_sample": False, "temperature": 0.9}, {}, {"temperature": 0.0}),
        (
            {"do_sample": True, "temperature": 0.9, "top_p": 0.8, "top_k": 5},
            {},
            {"temperature": 0.9, "top_p": 0.8, "top_k": 5},
        ),
        ({"repetition_penalty": 1.3}, {}, {"repetition_penalty": 1.3}),
        ({"max_new_tokens": 7}, {"max_tokens": 9}, {"max_tokens": 9}),
        ({"max_new_tokens": 7}, {"pipeline_kwargs": {"max_new_tokens": 5}}, {"max_tokens": 5}),
        ({"max_new_tokens": 7}, {"stop": ["END"]}, {"max_tokens": 7, "stop": ("END",)}),
        ({"return_full_text": False, "num_beams": 1}, {}, {"max_tokens": None}),
    ],
)
def test_the_pipelines_settings_are_kept(
    pipe: Any, settings: dict[str, Any], bound: dict[str, Any], expected: dict[str, Any]
) -> None:
    """``pipeline_kwargs``, the LLM's own and bound ones, become the engine's parameters."""
    parameters = chat_of(pipe, bound, **settings)._call({}).parameters
    assert {name: getattr(parameters, name) for name in expected} == expected


async def test_all_ways_give_the_same_reply(pipe: Any) -> None:
    """invoke, stream, batch and their async forms write the same greedy text."""
    chat = chat_of(pipe, max_new_tokens=6)
    texts = [
        chat.invoke("Hi").text,
        (await chat.ainvoke("Hi")).text,
        "".join(chunk.text for chunk in chat.stream("Hi")),
        "".join([chunk.text async for chunk in chat.astream("Hi")]),
        chat.batch(["Hi", "Ho"])[0].text,
        (await chat.abatch(["Hi", "Ho"]))[0].text,
    ]
    assert len(set(texts)) == 1
    assert texts[0]
