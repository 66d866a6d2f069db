"""Servers that exist in memory only and answer as the real ones were seen to."""

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
KINDS = ("vllm", "llama.cpp", "generic")
WAYS = ("complete", "acomplete", "stream", "astream")
PROMPT = Prompt(name="tests", instruction="Answer.")


def request_for(
    text: str = "Hi", *, constraint: Constraint | None = None, **parameters: Any
) -> CompletionRequest:
    """A request whose page holds the text."""
    request = compose(PROMPT, [Message("user", text)], GenerationParameters(**parameters))
    return replace(request, constraint=constraint)


async def asked(
    model: CompletionsServerModel, way: str, request: CompletionRequest
) -> list[CompletionChunk]:
    """The chunks of a request made in one of the ``WAYS``."""
    match way:
        case "complete":
            return model.complete([request])
        case "acomplete":
            return await model.acomplete([request])
        case "stream":
            return list(model.stream(request))
    return [chunk async for chunk in model.astream(request)]


@dataclass
class Seen:
    """A request as the server got it."""

    method: str
    path: str
    body: Any
    headers: httpx.Headers


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a streamed answer; an error among the pieces is raised in its place."""

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
    """One event of a stream."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def piece(text: str, finish: str | None = None, **more: Any) -> bytes:
    """The event that brings a piece of text."""
    return event({"choices": [{"index": 0, "text": text, "finish_reason": finish}], **more})


DONE = event("[DONE]")

Answer = Callable[[Any], Any]


class FakeServer:
    """Answers as one kind of server does; what continues a page is up to the test.

    ``answer`` gets the body of a request for a completion and returns the answer's JSON, a
    ``Pieces``, a whole ``httpx.Response``, or an exception to be raised.
    """

    def __init__(self, kind: str, answer: Answer | None = None) -> None:
        self.kind = kind
        self.answer = answer or self.plainly
        self.seen = list[Seen]()
        self.overrides = dict[str, Any]()
        self.vocabulary = list[str]()
        self.tokenizes = kind != "generic"

    def model(self, **options: Any) -> CompletionsServerModel:
        """A model that talks to this server."""
        transport = httpx.MockTransport(self.handle)
        options = {"base_url": "http://server.test/v1", "max_retries": 0, **options}
        return CompletionsServerModel(
            http_client=httpx.Client(transport=transport),
            http_async_client=httpx.AsyncClient(transport=transport),
            **options,
        )

    @property
    def completions(self) -> list[Any]:
        """The bodies of the requests for completions."""
        return [seen.body for seen in self.seen if seen.path == "/v1/completions"]

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [seen.path for seen in self.seen]

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        path = request.url.raw_path.decode()
        self.seen.append(Seen(request.method, path, body, request.headers))
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
                return _response(self.answer(body))
        if path.startswith("/slots/"):
            return _response({"id_slot": 0})
        return httpx.Response(404, json={"error": {"message": "File Not Found", "code": 404}})

    def _tokens(self, body: Any) -> list[int]:
        text = body.get("content", body.get("prompt"))
        begins = body.get("add_special", body.get("add_special_tokens"))
        words = re.findall(r"\s*\S+|\s+$", text)
        self.vocabulary += [word for word in dict.fromkeys(words) if word not in self.vocabulary]
        return [BEGIN] * begins + [10 + self.vocabulary.index(word) for word in words]

    def text_of(self, page: str | list[int]) -> str:
        """A page that may have come as tokens."""
        return page if isinstance(page, str) else "".join(map(self._word, page))

    def _word(self, token: int) -> str:
        return "" if token == BEGIN else self.vocabulary[token - 10]

    def _models(self) -> Any:
        entry: dict[str, Any] = {"id": "base", "object": "model"}
        match self.kind:
            case "vllm":
                entry |= {"owned_by": "vllm", "max_model_len": WINDOW}
            case "llama.cpp":
                entry |= {"owned_by": "llamacpp", "aliases": ["base", "other"], "meta": {}}
        return {"object": "list", "data": [entry]}

    def plainly(self, body: Any) -> Any:
        """Say which page it was, then its end."""
        prompt = body["prompt"]
        pages = [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt
        pages = [self.text_of(page) for page in pages]
        choices = [
            {"index": number, "text": f"re: {query_of(page)}", "finish_reason": "stop"}
            for number, page in enumerate(pages)
        ]
        usage = {"prompt_tokens": 10 * len(pages), "completion_tokens": 3 * len(pages)}
        return {"object": "text_completion", "choices": choices, "usage": usage}


def query_of(page: str) -> str:
    """The question on a page of ``request_for``; of another page, all of it."""
    return page.rsplit("# Query:\n````\n", 1)[-1].split("\n````", 1)[0]


def _response(answer: Any) -> httpx.Response:
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, httpx.Response):  # a fresh one, since each can be read but once
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)
    if isinstance(answer, Pieces):
        return httpx.Response(200, stream=answer, headers={"content-type": "text/event-stream"})
    return httpx.Response(200, json=answer)


def refusal(status: int, **error: Any) -> httpx.Response:
    """An answer that says no, to be asked again soon if at all."""
    return httpx.Response(status, json={"error": error}, headers={"retry-after-ms": "1"})
