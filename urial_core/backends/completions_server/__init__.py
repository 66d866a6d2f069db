"""Base models behind a server with the completions API of OpenAI (``/v1/completions``).

    model.py          CompletionsServerModel: the CompletionModel
    dialect.py        what vLLM, llama.cpp and others each understand
    discovery.py      what a server is, what it serves, what it can do
    payload.py        request -> body; pure
    answer.py         what comes back -> completions, whole or in a stream; pure
    reply.py          what comes back -> the reply, for those who send requests themselves; pure
    one_line_json.py  constrained JSON in the form that was promised
    cut_json.py       constrained JSON that max_tokens cut, made whole
    choice.py         which of a few texts is most probable
    tokens.py         the server's own tokenizer
    warming.py        the constant page computed ahead
    urls.py           URLs of servers
    exchange.py       what is asked and made of it, without saying how it is sent
    connection.py     runs exchanges and streams over the official SDK, sync and async
    failures.py       the SDK's errors as this project's

Importing this package does not load the SDK; making a model does.
"""

from urial_core.backends.completions_server.answer import completion_of
from urial_core.backends.completions_server.dialect import (
    DIALECTS,
    GENERIC,
    LLAMA_CPP,
    VLLM,
    Dialect,
)
from urial_core.backends.completions_server.discovery import Server
from urial_core.backends.completions_server.model import CompletionsServerModel
from urial_core.backends.completions_server.payload import chat_payload, completion_payload
from urial_core.backends.completions_server.reply import reply_of

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
    "reply_of",
]
