"""Fake servers in memory that answer as real ones were observed to."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from urial_core import (
    CompletionChunk,
    CompletionRequest,
    GenerationParameters,
    Message,
    Prompt,
    compose,
)
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.structured.constraints import Constraint

WINDOW = 4096
BEGIN = 2
END_OF_TEXT = 3
KINDS = ("vllm", "llama.cpp", "generic")
WAYS = ("complete", "acomplete", "stream", "astream")
PROMPT = Prompt(name="tests", instruction="Answer.")


def request_for(
    text: str = "Hi", *, constraint: Constraint | None = None, **parameters: Any
) -> CompletionRequest:
    """Return a request of one user message."""
    request = compose(PROMPT, [Message("user", text)], GenerationParameters(**parameters))
    return replace(request, constraint=constraint)


async def chunks_from(
    model: CompletionsServerModel, way: str, request: CompletionRequest
) -> list[CompletionChunk]:
    """Return the chunks of a request, sent by one of the ``WAYS``."""
    match way:
        case "complete":
            return model.complete([request])
        case "acomplete":
            return await model.acomplete([request])
        case "stream":
            return list(model.stream(request))
    return [chunk async for chunk in model.astream(request)]


@dataclass
class ReceivedRequest:
    """A request as the server received it."""

    method: str
    path: str
    body: Any
    headers: httpx.Headers


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a streamed response; an error among the pieces is raised in its place."""

    def __init__(self, pieces: Sequence[bytes | Exception]) -> None:
        self.pieces = pieces
        self.sent = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            self.sent += 1
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def event(data: Any) -> bytes:
    """Return one server-sent event."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def piece(text: str, finish: str | None = None, **more: Any) -> bytes:
    """Return the event for a piece of text."""
    return event({"choices": [{"index": 0, "text": text, "finish_reason": finish}], **more})


DONE = event("[DONE]")

Answer = Callable[[Any], Any]


class UnknownTokenError(LookupError):
    """A prompt has a token id that the server never gave, which a real one answers with 400."""


class FakeServer:
    """A fake server of one kind, whose completions are up to the test.

    ``answer`` takes the body of a request for a completion and returns the response's JSON, a
    ``Pieces``, an ``httpx.Response``, or an exception to be raised.
    """

    def __init__(self, kind: str, answer: Answer | None = None) -> None:
        self.kind = kind
        self.answer = answer or self.echo_query
        self.received = list[ReceivedRequest]()
        self.overrides = dict[str, Any]()
        self.vocabulary = list[str]()
        self.tokenizes = kind != "generic"
        self.adds_end = False  # whether the tokenizer adds an end-of-text token, too

    def model(self, **options: Any) -> CompletionsServerModel:
        """Return a model of this server."""
        transport = httpx.MockTransport(self.handle)
        options = {"base_url": "http://server.test/v1", "max_retries": 0, **options}
        return CompletionsServerModel(
            http_client=httpx.Client(transport=transport),
            http_async_client=httpx.AsyncClient(transport=transport),
            **options,
        )

    @property
    def completions(self) -> list[Any]:
        """The bodies of the completion requests."""
        return [request.body for request in self.received if request.path == "/v1/completions"]

    @property
    def paths(self) -> list[str]:
        """The requested paths, in order."""
        return [request.path for request in self.received]

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        path = request.url.raw_path.decode()
        self.received.append(ReceivedRequest(request.method, path, body, request.headers))
        if path in self.overrides:
            return _response(self.overrides[path])
        match path:
            case "/v1/models":
                return _response(self._models())
            case "/props" if self.kind == "llama.cpp":
                return _response(
                    {"default_generation_settings": {"n_ctx": WINDOW}, "total_slots": 3}
                )
            case "/tokenize" if self.tokenizes:
                return _response({"tokens": self._tokens(body)})
            case "/v1/completions":
                try:
                    return _response(self.answer(body))
                except UnknownTokenError as error:
                    return httpx.Response(400, json={"error": {"message": str(error), "code": 400}})
        if path.startswith("/slots/"):
            return _response({"id_slot": 0})
        return httpx.Response(404, json={"error": {"message": "File Not Found", "code": 404}})

    def _tokens(self, body: Any) -> list[int]:
        text = body.get("content", body.get("prompt"))
        begins = body.get("add_special", body.get("add_special_tokens"))
        words = re.findall(r"\s*\S+|\s+$", text)
        self.vocabulary += [word for word in dict.fromkeys(words) if word not in self.vocabulary]
        ids = [10 + self.vocabulary.index(word) for word in words]
        return [BEGIN] * begins + ids + [END_OF_TEXT] * (begins and self.adds_end)

    def text_of(self, prompt: str | list[int]) -> str:
        """Return the text of a prompt, which may be token ids."""
        return prompt if isinstance(prompt, str) else "".join(map(self._word, prompt))

    def _word(self, token: int) -> str:
        if token == BEGIN:
            return ""
        if token not in range(10, 10 + len(self.vocabulary)):
            raise UnknownTokenError(f"Token id {token} is out of vocabulary")
        return self.vocabulary[token - 10]

    def _models(self) -> Any:
        entry: dict[str, Any] = {"id": "base", "object": "model"}
        match self.kind:
            case "vllm":
                entry |= {"owned_by": "vllm", "max_model_len": WINDOW}
            case "llama.cpp":
                entry |= {"owned_by": "llamacpp", "aliases": ["base", "other"], "meta": {}}
        return {"object": "list", "data": [entry]}

    def echo_query(self, body: Any) -> Any:
        """Return the query of each prompt as its completion."""
        prompt = body["prompt"]
        prompts = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
        choices = [
            {"index": index, "text": f"re: {query_of(self.text_of(each))}", "finish_reason": "stop"}
            for index, each in enumerate(prompts)
        ]
        usage = {"prompt_tokens": 10 * len(prompts), "completion_tokens": 3 * len(prompts)}
        return {"object": "text_completion", "choices": choices, "usage": usage}


def query_of(prompt: str) -> str:
    """Return the query in a prompt of ``request_for``; of another prompt, all of it."""
    return prompt.rsplit("# Query:\n````\n", 1)[-1].split("\n````", 1)[0]


def _response(answer: Any) -> httpx.Response:
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, httpx.Response):  # a copy, since each can be read only once
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)
    if isinstance(answer, Pieces):
        return httpx.Response(200, stream=answer, headers={"content-type": "text/event-stream"})
    return httpx.Response(200, json=answer)


def refusal(status: int, **error: Any) -> httpx.Response:
    """Return an error response that allows a retry at once."""
    return httpx.Response(status, json={"error": error}, headers={"retry-after-ms": "1"})
