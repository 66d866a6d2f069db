"""The engines to measure, each as a chat model of LangChain with the same weights and prompt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

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
        tokens_per_chunk: Tokens of a chunk, where the class does not report how many there were.
    """

    chat: BaseChatModel
    tokens_per_chunk: int = 0

    async def stream(self, messages: list[BaseMessage]) -> AsyncIterator[int]:
        """Stream a reply; yield the tokens that each chunk reports."""
        async for chunk in self.chat.astream(messages):
            usage = getattr(chunk, "usage_metadata", None)
            yield usage["output_tokens"] if usage else self.tokens_per_chunk


@contextmanager
def engine(name: str, prompt: str | Prompt = "default", **options: Any) -> Iterator[Engine]:
    """Set up an engine by its name.

    Args:
        name: One of ``ENGINES``, "torch" with another dtype, or the base URL of a server.
        prompt: A preset's name, or a prompt.
        options: Further arguments of the completion model.
    """
    settings = {**SETTINGS, "prompt": prompt}
    if name.startswith("http"):
        yield Engine(ChatUrial.from_endpoint(name, **settings))
    elif name.startswith("torch"):
        from urial_core.backends.transformers import TransformersModel

        model = TransformersModel(demo_model_file(), dtype=name.split()[1], **options)
        yield Engine(ChatUrial(llm=model, **settings))
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
        yield Engine(_hugging_face(str(prompt), wrapped=name == "generate"), tokens_per_chunk=1)


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


def _hugging_face(prompt: str, *, wrapped: bool) -> BaseChatModel:
    """Return transformers' pipeline as LangChain has it, with URIAL as ChatUrial or as template."""
    import torch
    from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    from urial_core.backends.transformers.loading import converted_gguf
    from urial_core.chat_template import chat_template

    folder = str(converted_gguf(demo_model_file(), torch.float32))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = chat_template(load_prompt(prompt))
    made = pipeline(
        "text-generation",
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        tokenizer=tokenizer,
        max_new_tokens=REPLY_TOKENS,
        do_sample=False,
        return_full_text=False,
    )
    llm = HuggingFacePipeline(pipeline=made)
    if wrapped:
        return ChatUrial(llm=llm, prompt=prompt, **SETTINGS)
    return ChatHuggingFace(llm=llm, tokenizer=tokenizer)
