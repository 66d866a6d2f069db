"""Detection of servers, their models, and the secrets that are never sent."""

from __future__ import annotations

import asyncio
import copy
import pickle
from dataclasses import asdict
from types import MappingProxyType

import httpx
import pytest
from fake_server import (
    BEGIN,
    END_OF_TEXT,
    KINDS,
    PROMPT,
    WAYS,
    WINDOW,
    FakeServer,
    chunks_from,
    refusal,
    request_for,
)

from langchain_urial import ChatUrial
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.errors import (
    MissingDependencyError,
    ParameterError,
    ServerError,
    UnsupportedModelError,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_server_is_detected_once(kind: str, way: str) -> None:
    """The first use detects dialect, model, window and tokenizer; later ones send nothing."""
    fake_server = FakeServer(kind)
    model = fake_server.model()
    assert fake_server.received == []
    if way == "sync":
        server = model.server()
    else:
        server, again, _ = await asyncio.gather(*(model.aserver() for _ in range(3)))
        assert server is again
    paths = fake_server.paths
    assert len(set(paths)) == len(paths)
    assert (server.dialect.name, server.model) == (kind, "base")
    assert server.window == (None if kind == "generic" else WINDOW)
    assert server.tokenizes is (kind != "generic")
    assert server.slots == (3 if kind == "llama.cpp" else 0)
    assert (model.name, model.context_window, model.tokenizer is not None) == (
        "base",
        server.window,
        server.tokenizes,
    )
    assert fake_server.paths == paths


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_tokens_are_counted_by_the_server(kind: str) -> None:
    """Each text is sent to the server's tokenizer once."""
    fake_server = FakeServer(kind)
    model = fake_server.model()
    assert [model.count_tokens("one two three") for _ in range(3)] == [4, 4, 4]
    assert model.tokenizer is not None
    ids = model.tokenizer("one two three")
    assert (len(ids), ids[0]) == (4, BEGIN)
    bodies = [request.body for request in fake_server.received if request.path == "/tokenize"]
    assert len(bodies) == 2  # one of them detected the tokenizer
    assert bodies[1]["content" if kind == "llama.cpp" else "prompt"] == "one two three"


def test_an_end_of_text_token_does_not_end_the_prompt() -> None:
    """Where llama.cpp's tokenizer adds one to each text, prompts go without it."""
    fake_server = FakeServer("llama.cpp")
    fake_server.adds_end = True
    model = fake_server.model()
    assert (model.count_tokens(""), model.count_tokens("one two three")) == (1, 4)
    model.complete([request_for("Hi")])
    [body] = fake_server.completions
    assert body["prompt"][0] == BEGIN
    assert END_OF_TEXT not in body["prompt"]


def test_a_chat_model_requests_only_a_missing_name() -> None:
    """With a model name, nothing is sent before the first call; without, the name is requested."""
    fake_server = FakeServer("vllm")
    chat = ChatUrial(llm=fake_server.model(model="base"), prompt=PROMPT)
    assert chat.model_name == "base"
    assert repr(chat._identifying_params)
    assert fake_server.received == []
    assert ChatUrial(llm=fake_server.model(), prompt=PROMPT).model_name == "base"
    assert fake_server.completions == []


def test_a_call_can_use_another_model_of_the_server() -> None:
    """``model=`` reaches the server and the metadata, through the same connections."""
    fake_server = FakeServer("generic")
    chat = ChatUrial(llm=fake_server.model(model="base"), prompt=PROMPT)
    for _ in range(2):
        assert chat.invoke("Hi", model="adapter").response_metadata["model_name"] == "adapter"
    assert chat.invoke("Hi").response_metadata["model_name"] == "base"
    assert [body["model"] for body in fake_server.completions] == ["adapter", "adapter", "base"]
    one = chat.llm.with_model("adapter")
    assert one is chat.llm.with_model("adapter") is one.with_model("adapter")
    assert one._connection is chat.llm._connection
    assert one.cache_key != chat.llm.cache_key


def test_from_endpoint_sets_up_the_server() -> None:
    """URL, model, key, timeout and retries reach the server's model; the rest are fields."""
    chat = ChatUrial.from_endpoint(
        "http://server.test", "m", api_key="sk-secret", timeout=7.5, max_retries=4, max_tokens=9
    )
    connection = chat.llm._connection
    assert (connection.base_url, connection.api_key) == ("http://server.test/v1", "sk-secret")
    assert (connection.timeout, connection.max_retries) == (7.5, 4)
    assert (chat.timeout, chat.max_retries, chat.max_tokens, chat.model_name) == (7.5, 4, 9, "m")
    shown = (repr(chat), str(chat.asdict()), chat._get_llm_string(), repr(chat.llm))
    assert [text for text in shown if "sk-secret" in text] == []
    again = pickle.loads(pickle.dumps(chat))  # noqa: S301 - just made
    assert asdict(again.llm._connection) == asdict(connection)


def test_without_a_tokenizer_counts_are_estimates() -> None:
    """Counts are estimated for a server that offers no tokenizer."""
    fake_server = FakeServer("vllm")
    fake_server.tokenizes = False
    model = fake_server.model()
    assert model.tokenizer is None
    assert model.count_tokens("abcdef") == 3


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_a_model_the_server_does_not_serve_is_an_error(kind: str) -> None:
    """llama.cpp would answer to any name, and replies would carry an invalid one."""
    with pytest.raises(UnsupportedModelError, match=r"model is 'gpt'.*serves 'base'"):
        FakeServer(kind).model(model="gpt").server()


def test_aliases_and_unlisted_names_are_sent() -> None:
    """An alias is sent as it was given; a generic server decides about other names itself."""
    assert FakeServer("llama.cpp").model(model="other").server().model == "other"
    assert FakeServer("generic").model(model="unlisted").server().model == "unlisted"


@pytest.mark.parametrize("models", [{"data": []}, "<html>", [1], refusal(404)])
def test_a_server_without_a_list_of_models_needs_a_name(models: object) -> None:
    """Without a list of models, the name must be given, and is enough."""
    fake_server = FakeServer("generic")
    fake_server.overrides["/v1/models"] = models
    with pytest.raises(UnsupportedModelError, match="pass model="):
        fake_server.model().server()
    assert fake_server.model(model="m").server().model == "m"


def test_one_of_several_models_must_be_named() -> None:
    """A generic server's first model is not taken for the user's choice."""
    fake_server = FakeServer("generic")
    fake_server.overrides["/v1/models"] = {"data": [{"id": "davinci"}, {"id": "babbage"}]}
    with pytest.raises(UnsupportedModelError, match=r"model is None.*serves 'davinci', 'babbage'"):
        fake_server.model().server()
    assert fake_server.model(model="babbage").server().model == "babbage"


def test_a_server_that_is_still_loading_is_detected_later() -> None:
    """A failed detection is neither guessed nor cached."""
    for given in ({}, {"model": "base", "dialect": "llama.cpp"}):
        fake_server = FakeServer("llama.cpp")
        model = fake_server.model(**given)
        fake_server.overrides["/v1/models"] = refusal(503, message="Loading model")
        with pytest.raises(ServerError, match="Loading model") as caught:
            model.server()
        assert caught.value.status == 503
        del fake_server.overrides["/v1/models"]
        assert model.server().dialect.name == "llama.cpp"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [401, 403, 500])
@pytest.mark.parametrize("path", ["/v1/models", "/props"])
def test_what_was_given_need_not_be_detected(kind: str, status: int, path: str) -> None:
    """With model and dialect given, a server may fail to report either."""
    fake_server = FakeServer(kind)
    fake_server.overrides[path] = refusal(status, message="no")
    model = fake_server.model(model="base", dialect=kind)
    [completion] = model.complete([request_for("Hi")])
    assert completion.text == "re: Hi"


@pytest.mark.parametrize("status", [401, 403])
def test_a_gateway_may_forbid_other_paths(status: int) -> None:
    """Properties and tokenizer then count as missing; a list of models that is needed does not."""
    fake_server = FakeServer("generic")
    fake_server.overrides["/props"] = refusal(status, message="no")
    assert fake_server.model().server().dialect.name == "generic"
    fake_server = FakeServer("vllm")
    fake_server.overrides["/tokenize"] = refusal(status, message="no")
    assert fake_server.model().tokenizer is None
    fake_server.overrides["/v1/models"] = refusal(status, message="no")
    with pytest.raises(ServerError, match="api_key="):
        fake_server.model().server()


def test_a_tokenizer_that_fails_is_not_missing() -> None:
    """Else prompts would go as text from then on, in which special tokens could be injected."""
    fake_server = FakeServer("llama.cpp")
    fake_server.overrides["/tokenize"] = refusal(503, message="Loading model")
    with pytest.raises(ServerError, match="Loading model"):
        fake_server.model(model="base", dialect="llama.cpp").server()


def test_given_settings_take_precedence() -> None:
    """A dialect or context window that was given overrides detection."""
    fake_server = FakeServer("generic")
    model = fake_server.model(dialect="vllm", context_window=99)
    assert (model.server().dialect.name, model.context_window) == ("vllm", 99)
    assert model.known_context_window == 99
    assert FakeServer("vllm").model().known_context_window is None
    with pytest.raises(ParameterError, match=r"'lama'.*generic, vllm, llama\.cpp"):
        fake_server.model(dialect="lama")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://server.test", "/v1/models"),
        ("http://server.test/", "/v1/models"),
        ("http://server.test/v1/", "/v1/models"),
        ("http://server.test/api/v3", "/api/v3/models"),
    ],
)
def test_a_url_without_a_path_gets_v1(url: str, path: str) -> None:
    """``/v1`` is the usual path of this API; another path is kept."""
    fake_server = FakeServer("vllm")
    fake_server.overrides["/api/v3/models"] = {"data": [{"id": "m"}]}
    fake_server.model(base_url=url).server()
    assert fake_server.paths[0] == path


@pytest.mark.parametrize("way", WAYS)
async def test_a_query_is_sent_with_each_request(way: str) -> None:
    """It follows the path, as gateways want it; it distinguishes models, and nothing shows it."""
    fake_server = FakeServer("generic")
    query = "?api-version=2024-02-01&key=a%20secret"
    model = fake_server.model(base_url=f"http://server.test/v1/{query}#base", dialect="llama.cpp")
    with pytest.raises(ServerError):  # the paths have a query, which this server does not know
        await chunks_from(model, way, request_for())
    paths = ["/v1/models", "/props", "/tokenize", "/v1/completions"]
    assert fake_server.paths == [path + query.replace("%20", "+") for path in paths]
    plain = fake_server.model(base_url="http://server.test/v1", model="base")
    assert plain.cache_key != model.cache_key
    assert "secret" not in repr(model) + str(model.cache_key)


def test_a_url_may_name_the_model() -> None:
    """What follows a ``#`` is the model's name, where ``model`` is not given; it is never sent."""
    for url in ("http://server.test#org/m", "http://server.test/v1#org%2Fm"):
        model = CompletionsServerModel(url)
        assert model.name == "org/m"
        assert model.cache_key["base_url"] == "http://server.test/v1"
        assert pickle.loads(pickle.dumps(model)).name == "org/m"  # noqa: S301
        assert CompletionsServerModel(url, "other").name == "other"


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x/v1", "/v1"])
def test_an_invalid_url_is_refused(url: str) -> None:
    """The error says which form is wanted."""
    with pytest.raises(ParameterError, match="base_url is "):
        CompletionsServerModel(url)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model", 5, "is 5. It should be a valid string"),
        ("timeout", "5", "is '5'. It should be a valid number"),
        ("timeout", -1, "is -1. It should be greater than 0"),
        ("timeout", float("nan"), "is nan. It should be a finite number"),
        ("max_retries", -1, "is -1. It should be greater than or equal to 0"),
        ("max_retries", 1.5, "is 1.5. It should be a valid integer"),
        ("context_window", "8k", "is '8k'. It should be a valid integer"),
        ("context_window", 0, "is 0. It should be greater than or equal to 1"),
        ("extra_body", "secret", "is invalid. It should be a valid dictionary"),
        ("extra_body", {1: "secret"}, "is invalid at 1.*. It should be a valid string"),
        ("extra_body", {"a": {"secret"}}, "is invalid. It should be of what JSON can hold"),
        ("extra_body", {"a": float("nan")}, "is invalid. It should be of what JSON can hold"),
    ],
)
def test_an_invalid_argument_is_refused(name: str, value: object, message: str) -> None:
    """It is found when the model is made; fields of the body, which may be secrets, stay hidden."""
    with pytest.raises(ParameterError, match=f"{name} {message}") as caught:
        FakeServer("generic").model(**{name: value})
    assert "secret" not in str(caught.value)


def test_the_arguments_of_other_types_that_work_are_taken() -> None:
    """Whole seconds are a timeout, as is httpx's own; JSON takes tuples and any mapping."""
    body = MappingProxyType({"stop_token_ids": (1, 2)})
    for timeout in (5, httpx.Timeout(5, connect=1)):
        model = FakeServer("generic").model(timeout=timeout, max_retries=0, extra_body=body)
        assert model.complete([request_for("Hi")])[0].text == "re: Hi"


@pytest.mark.parametrize("way", WAYS)
async def test_the_key_is_sent_to_the_server_only(way: str) -> None:
    """It is in the header only: not in a repr, the cache key or an error."""
    fake_server = FakeServer("vllm", lambda _: refusal(401, message="invalid key sk-secret"))
    model = fake_server.model(api_key="sk-secret")
    with pytest.raises(ServerError, match="api_key=") as caught:
        await chunks_from(model, way, request_for())
    assert {request.headers["authorization"] for request in fake_server.received} == {
        "Bearer sk-secret"
    }
    shown = (repr(model), str(model.cache_key), str(caught.value), repr(model._connection))
    assert [text for text in shown if "sk-secret" in text] == []


async def test_openai_keys_of_the_environment_are_not_sent() -> None:
    """Without a key none is sent, whatever the environment holds."""
    fake_server = FakeServer("vllm")
    model = fake_server.model()
    for way in ("complete", "acomplete"):
        await chunks_from(model, way, request_for())
    sent = " ".join(str(request.headers.raw) for request in fake_server.received)
    assert "the-users-own" not in sent
    assert "authorization" not in sent.lower()


def test_a_login_in_the_url_is_not_shown() -> None:
    """It is left out of the repr and the cache key."""
    model = CompletionsServerModel("http://ann:secret@server.test/v1", "m")
    assert "secret" not in repr(model)
    assert model.cache_key["base_url"] == "http://server.test/v1"


def test_models_can_be_copied_and_pickled() -> None:
    """Copies have the same settings and connections of their own."""
    model = CompletionsServerModel("http://server.test", "m", api_key="k", extra_body={"a": 1})
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):  # noqa: S301
        assert copied is not model
        assert copied.cache_key == model.cache_key
        assert asdict(copied._connection) == asdict(model._connection)


def test_cache_keys_distinguish_models() -> None:
    """Server, model and extra fields decide the output; the key does not."""
    one = {"base_url": "http://a.test", "model": "m"}
    others = [{"base_url": "http://b.test"}, {"model": "n"}, {"extra_body": {"top_a": 1}}]
    cache_keys = [CompletionsServerModel(**{**one, **other}).cache_key for other in [{}, *others]]
    assert all(cache_keys.count(key) == 1 for key in cache_keys)
    assert CompletionsServerModel(**one, api_key="k").cache_key == cache_keys[0]
    assert "top_a" not in repr(cache_keys)  # caches are files, and a field may be a secret


def test_the_sdk_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the error says what to install."""
    monkeypatch.setattr("urial_core.errors.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"\.\[openai\]"):
        CompletionsServerModel("http://server.test")


async def test_each_event_loop_has_connections_of_its_own() -> None:
    """A model serves one event loop after another, as ``asyncio.run`` makes them."""
    model = CompletionsServerModel("http://server.test", "m")
    one = model._connection._async().openai
    assert model._connection._async().openai is one

    async def other() -> object:
        return model._connection._async().openai

    assert await asyncio.to_thread(lambda: asyncio.run(other())) is not one
    assert isinstance(one._client, httpx.AsyncClient)
