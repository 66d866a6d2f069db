"""Base models behind a server with OpenAI's completions API (``/v1/completions``).

    model.py            CompletionsServerModel: the CompletionModel
    arguments.py        check the model's arguments, and take a URL apart; pure
    payload.py          request -> request body, in the dialect of vLLM, llama.cpp or others; pure
    response.py         response -> completions, a reply, or the chunks of a stream; pure
    exchanges.py        detect what a server is, tokenize, complete, choose, warm up; pure
    prompt_logprobs.py  score given answers, for token shift; pure
    connection.py       sends requests and reads streams through the OpenAI SDK, sync and async
    environment.py      proxies and certificates of the environment, by name
    errors.py           the SDK's errors as this project's

Importing this package does not import the SDK; creating a model does.
"""

from urial_core.backends.completions_server.exchanges import Server
from urial_core.backends.completions_server.model import (
    CompletionsServerModel,
    is_server_url,
)
from urial_core.backends.completions_server.payload import (
    DIALECTS,
    GENERIC,
    LLAMA_CPP,
    VLLM,
    Dialect,
    chat_payload,
    completion_payload,
)
from urial_core.backends.completions_server.response import completion_of, reply_of

__all__ = [
    "DIALECTS",
    "GENERIC",
    "LLAMA_CPP",
    "VLLM",
    "CompletionsServerModel",
    "Dialect",
    "Server",
    "chat_payload",
    "completion_of",
    "completion_payload",
    "is_server_url",
    "reply_of",
]
