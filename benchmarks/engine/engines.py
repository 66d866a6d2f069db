"""The engines to measure, each as a chat model of LangChain with the same weights and prompt."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, convert_to_openai_messages

from langchain_urial import ChatUrial
from urial_core import Prompt, load_prompt
from urial_core.demo import demo_model_file

REPLY_TOKENS = 48
SETTINGS: dict[str, Any] = {
    "max_tokens": REPLY_TOKENS,
    "temperature": 0.0,
    "repetition_penalty": 1.0,
    "stop_at_template": False,  # replies are to be about equally long
}
LLAMA_SERVER = Path(__file__).parents[2] / "tests" / "servers" / "llama_server.py"
SLOTS, WINDOW = 16, 4096


@dataclass(frozen=True)
class Engine:
    """A chat model to measure.

    Attributes:
        chat: The chat model.
    """

    chat: BaseChatModel

    async def stream(self, messages: list[BaseMessage]) -> AsyncIterator[int]:
        """Stream a reply; yield the tokens that each chunk reports."""
        async for chunk in self.chat.astream(messages):
            usage = getattr(chunk, "usage_metadata", None)
            yield usage["output_tokens"] if usage else 0


@dataclass(frozen=True)
class ThreadedEngine:
    """A class that streams text, and only to threads; tokens are counted by the tokenizer.

    Attributes:
        start: Starts a reply, and returns its pieces of text.
        tokenizer: The tokenizer.
    """

    start: Callable[[list[BaseMessage]], Iterable[str]]
    tokenizer: Any

    async def stream(self, messages: list[BaseMessage]) -> AsyncIterator[int]:
        """Stream a reply; yield how many tokens each piece has."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()

        def run() -> None:
            try:
                for piece in self.start(messages):
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)
            finally:
                loop.call_soon_threadsafe(pieces.put_nowait, None)

        running = asyncio.create_task(asyncio.to_thread(run))
        while (piece := await pieces.get()) is not None:
            yield len(self.tokenizer.encode(piece, add_special_tokens=False))
        await running


@dataclass(frozen=True)
class ManagedEngine:
    """transformers' own continuous batching, of tokens: no text is decoded or searched for stops.

    Attributes:
        manager: Its manager.
        tokenizer: The tokenizer, with URIAL as its chat template.
    """

    manager: Any
    tokenizer: Any
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def stream(self, messages: list[BaseMessage]) -> AsyncIterator[int]:
        """Stream a reply; yield how many tokens each output adds."""
        ids = self.tokenizer.apply_chat_template(
            convert_to_openai_messages(messages), add_generation_prompt=True, return_dict=False
        )
        outputs = asyncio.Queue[Any]()
        request = f"request-{next(self._numbers)}"
        self.manager.register_result_handler(request, outputs.put_nowait)
        options = {"max_new_tokens": REPLY_TOKENS, "streaming": True, "eos_token_id": -1}
        self.manager.add_request(ids, request_id=request, **options)
        seen, finished = 0, False
        while not finished:
            output = await outputs.get()
            finished = output.is_finished()
            yield len(output.generated_tokens) - seen
            seen = len(output.generated_tokens)


MeasuredEngine = Engine | ThreadedEngine | ManagedEngine


@contextmanager
def engine(name: str, prompt: str | Prompt = "default", **options: Any) -> Iterator[MeasuredEngine]:
    """Set up an engine by its name.

    Args:
        name: One of ``ENGINES``, or "continuous_batching"; with a dtype and a folder of weights
            after it, where it runs on transformers; or the base URL of a server.
        prompt: A preset's name, or a prompt.
        options: Further arguments of the completion model.
    """
    settings = {**SETTINGS, "prompt": prompt}
    if name.startswith("http"):
        yield Engine(ChatUrial.from_endpoint(name, **settings))
    elif name == "llama.cpp":
        from urial_core.backends.llama_cpp import LlamaCppModel

        given = {"n_ctx": WINDOW, "n_parallel": SLOTS, **options}
        llama = LlamaCppModel(demo_model_file(), **given)
        yield Engine(ChatUrial(llm=llama, **settings))
        llama.close()
    elif name == "llama.cpp server":
        with _llama_server() as url:
            yield Engine(ChatUrial.from_endpoint(url, **settings))
    else:
        with _on_transformers(*name.split(), prompt=prompt, **options) as made:
            yield made


@contextmanager
def _on_transformers(
    kind: str, dtype: str = "float32", model: str = "", *, prompt: str | Prompt, **options: Any
) -> Iterator[MeasuredEngine]:
    from urial_core.backends.transformers import TransformersModel

    settings = {**SETTINGS, "prompt": prompt}
    if kind == "torch":
        llm = TransformersModel(model or demo_model_file(), dtype=dtype, **options)
        yield Engine(ChatUrial(llm=llm, **settings))
        return
    loaded, tokenizer = _loaded(model, dtype, str(prompt))
    if kind == "continuous_batching":
        from transformers import GenerationConfig

        config = GenerationConfig(max_new_tokens=REPLY_TOKENS, do_sample=False)
        with loaded.continuous_batching_context_manager(generation_config=config) as manager:
            yield ManagedEngine(manager, tokenizer)
        return
    llm = _pipeline(loaded, tokenizer)
    if kind == "generate":

        def generate(messages: list[BaseMessage]) -> Iterable[str]:
            turns = convert_to_openai_messages(messages)
            options = {"add_generation_prompt": True, "tokenize": False}
            return llm.stream(tokenizer.apply_chat_template(turns, **options))

        yield ThreadedEngine(generate, tokenizer)
    else:
        from langchain_huggingface import ChatHuggingFace

        chat = ChatHuggingFace(llm=llm, tokenizer=tokenizer)
        yield ThreadedEngine(lambda messages: (c.text for c in chat.stream(messages)), tokenizer)


@contextmanager
def _llama_server() -> Iterator[str]:
    from urial_core.backends.openmp import compute_threads

    options = {"slots": SLOTS, "window": WINDOW, "threads": compute_threads()}
    command = [sys.executable, str(LLAMA_SERVER)]
    command += [part for key, value in options.items() for part in (f"--{key}", str(value))]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    yield f"{server.stdout.readline().strip()}/v1"
    server.kill()
    server.wait()


def _loaded(model: str, dtype: str, prompt: str) -> tuple[Any, Any]:
    """Load a model as transformers does, and its tokenizer, with URIAL as the chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from urial_core.backends.transformers.loading import converted_gguf, default_device
    from urial_core.chat_template import chat_template

    folder = model or str(converted_gguf(demo_model_file(), getattr(torch, dtype)))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = chat_template(load_prompt(prompt))
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    return loaded.to(default_device()).eval(), tokenizer


def _pipeline(model: Any, tokenizer: Any) -> Any:
    from langchain_huggingface import HuggingFacePipeline
    from transformers import pipeline

    made = pipeline(
        "text-generation",
        model=model,
        tokenizer=tokenizer,
        max_new_tokens=REPLY_TOKENS,
        do_sample=False,
        return_full_text=False,
    )
    return HuggingFacePipeline(pipeline=made)
