"""Wrap a completion LLM that you already have: any LangChain ``BaseLLM``, with its own settings.

``PlainLLM`` is an example of one. Like many such classes, it echoes the prompt, ignores stop
sequences and writes on until its limit. Wrapped as a chat model, it gives clean replies all the
same.

    python examples/wrap_completion_llm.py
"""

import os
from pathlib import Path
from typing import Any

import torch
from langchain_core.language_models import LLM
from transformers import pipeline

from langchain_urial import ChatUrial
from urial_core.backends.transformers.loading import converted_gguf
from urial_core.demo import DEMO_NOTICE, demo_model_file


class PlainLLM(LLM):
    """Continues text with a pipeline of transformers, and no more than that."""

    generator: Any
    max_new_tokens: int = 40

    @property
    def _llm_type(self) -> str:
        return "plain"

    def _call(self, prompt: str, stop: list[str] | None = None, *_: Any, **__: Any) -> str:
        del stop  # as many classes do: the reply is cut afterwards
        written = self.generator(prompt, max_new_tokens=self.max_new_tokens, do_sample=False)
        return str(written[0]["generated_text"])


def main() -> None:
    """Ask the same question without and with URIAL."""
    if "URIAL_MODEL" not in os.environ:
        print(DEMO_NOTICE, end="\n\n")
    model = os.environ.get("URIAL_MODEL") or str(demo_model_file())
    if model.endswith(".gguf"):
        model = str(converted_gguf(Path(model), torch.float32))
    llm = PlainLLM(generator=pipeline("text-generation", model=model, dtype=torch.float32))

    question = "What can I do with old newspapers?"
    print("The base model alone:\n", llm.invoke(question), sep="")

    chat = ChatUrial(llm=llm, max_tokens=80)
    print("\nThe same model, wrapped:\n", chat.invoke(question).text, sep="")


if __name__ == "__main__":
    main()
