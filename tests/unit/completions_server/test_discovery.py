"""What a server is, what it serves, and what is never sent to it."""

from __future__ import annotations

import asyncio
import copy
import pickle

import httpx
import pytest
from fake_server import (
    BEGIN,
    KINDS,
    PROMPT,
    WAYS,
    WINDOW,
    FakeServer,
    asked,
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
async def test_a_server_is_asked_once_what_it_is(kind: str, way: str) -> None:
    """The first use finds out kind, model, window and tokenizer; later ones ask no more."""
    fake_server = FakeServer(kind)
    model = fake_server.model()
    assert fake_server.seen == []
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
def test_tokens_are_the_servers(kind: str) -> None:
    """Texts are counted with the server's tokenizer, each text once."""
    fake_server = FakeServer(kind)
    model = fake_server.model()
    assert [model.count_tokens("one two three") for _ in range(3)] == [4, 4, 4]
    assert model.tokenizer is not None
    ids = model.tokenizer("one two three")
    assert (len(ids), ids[0]) == (4, BEGIN)
    bodies = [seen.body for seen in fake_server.seen if seen.path == "/tokenize"]
    assert len(bodies) == 2  # one of them found out that there is a tokenizer
    assert bodies[1]["content" if kind == "llama.cpp" else "prompt"] == "one two three"


def test_a_chat_model_asks_only_for_a_name_that_is_missing() -> None:
    """With the model's name, nothing is sent before the first call; without, it is asked for."""
    fake_server = FakeServer("vllm")
    chat = ChatUrial(llm=fake_server.model(model="base"), prompt=PROMPT)
    assert chat.model_name == "base"
    assert repr(chat._identifying_params)
    assert fake_server.seen == []
    assert ChatUrial(llm=fake_server.model(), prompt=PROMPT).model_name == "base"
    assert fake_server.completions == []


def test_a_call_may_name_another_model_of_the_server() -> None:
    """``model=`` reaches the server and the metadata, over the same connections."""
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
    """URL, model, key, time limit and retries reach the model; the rest are fields."""
    chat = ChatUrial.from_endpoint(
        "http://server.test", "m", api_key="sk-secret", timeout=7.5, max_retries=4, max_tokens=9
    )
    endpoint = chat.llm._connection._endpoint
    assert (endpoint.base_url, endpoint.api_key) == ("http://server.test/v1", "sk-secret")
    assert (endpoint.timeout, endpoint.max_retries) == (7.5, 4)
    assert (chat.timeout, chat.max_retries, chat.max_tokens, chat.model_name) == (7.5, 4, 9, "m")
    shown = (repr(chat), str(chat.asdict()), chat._get_llm_string(), repr(chat.llm))
    assert [text for text in shown if "sk-secret" in text] == []
    again = pickle.loads(pickle.dumps(chat))  # noqa: S301 - just made
    assert again.llm._connection._endpoint == endpoint


def test_without_a_tokenizer_counts_are_careful_guesses() -> None:
    """A server that keeps its tokenizer to itself gives guesses, which say that they are."""
    fake_server = FakeServer("vllm")
    fake_server.tokenizes = False
    model = fake_server.model()
    assert not model.tokenizer is not None
    assert model.tokenizer is None
    assert model.count_tokens("abcdef") == 3


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_a_model_the_server_does_not_serve_is_an_error(kind: str) -> None:
    """llama.cpp would answer to any name, and replies would carry a wrong one."""
    with pytest.raises(UnsupportedModelError, match=r"serves 'base', and not 'gpt'"):
        FakeServer(kind).model(model="gpt").server()


def test_names_that_the_server_knows_are_kept() -> None:
    """An alias is sent as it was given; a generic server decides for itself."""
    assert FakeServer("llama.cpp").model(model="other").server().model == "other"
    assert FakeServer("generic").model(model="unlisted").server().model == "unlisted"


@pytest.mark.parametrize("models", [{"data": []}, "<html>", [1], refusal(404)])
def test_a_server_that_names_no_model_needs_to_be_told(models: object) -> None:
    """Without a list of models, the name must be given, and then is enough."""
    fake_server = FakeServer("generic")
    fake_server.overrides["/v1/models"] = models
    with pytest.raises(UnsupportedModelError, match="pass model="):
        fake_server.model().server()
    assert fake_server.model(model="m").server().model == "m"


def test_of_several_models_one_must_be_named() -> None:
    """A generic server's first model is no choice of the user's."""
    fake_server = FakeServer("generic")
    fake_server.overrides["/v1/models"] = {"data": [{"id": "davinci"}, {"id": "babbage"}]}
    with pytest.raises(UnsupportedModelError, match=r"2 models .'davinci', 'babbage'"):
        fake_server.model().server()
    assert fake_server.model(model="babbage").server().model == "babbage"


def test_a_server_that_is_still_loading_is_asked_again() -> None:
    """What cannot be found out now is not guessed, and not remembered."""
    fake_server = FakeServer("llama.cpp")
    model = fake_server.model()
    fake_server.overrides["/v1/models"] = refusal(503, message="Loading model")
    with pytest.raises(ServerError, match="Loading model") as caught:
        model.server()
    assert caught.value.status == 503
    del fake_server.overrides["/v1/models"]
    assert model.server().dialect.name == "llama.cpp"


def test_what_is_said_goes_before_what_is_found() -> None:
    """A dialect or window that was given is not asked for."""
    fake_server = FakeServer("generic")
    model = fake_server.model(dialect="vllm", context_window=99)
    assert (model.server().dialect.name, model.context_window) == ("vllm", 99)
    assert model.known_context_window == 99
    assert FakeServer("vllm").model().known_context_window is None
    with pytest.raises(ParameterError, match=r"'lama'.*generic, vllm, llama\.cpp"):
        fake_server.model(dialect="lama")


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://server.test", "/v1/models"),
        ("http://server.test/", "/v1/models"),
        ("http://server.test/v1/", "/v1/models"),
        ("http://server.test/api/v3", "/api/v3/models"),
    ],
)
def test_a_url_without_a_path_gets_the_usual_one(url: str, asked: str) -> None:
    """``/v1`` is where servers have this API; another path is kept."""
    fake_server = FakeServer("vllm")
    fake_server.overrides["/api/v3/models"] = {"data": [{"id": "m"}]}
    fake_server.model(base_url=url).server()
    assert fake_server.paths[0] == asked


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x/v1", "/v1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """The message says what is wanted."""
    with pytest.raises(ParameterError, match="base_url is "):
        CompletionsServerModel(url)


@pytest.mark.parametrize("way", WAYS)
async def test_the_key_goes_to_the_server_and_nowhere_else(way: str) -> None:
    """It is in the header only: in no text form, no cache_key and no error."""
    fake_server = FakeServer("vllm", lambda _: refusal(401, message="wrong key sk-secret"))
    model = fake_server.model(api_key="sk-secret")
    with pytest.raises(ServerError, match="api_key=") as caught:
        await asked(model, way, request_for())
    assert {seen.headers["authorization"] for seen in fake_server.seen} == {"Bearer sk-secret"}
    shown = (repr(model), str(model.cache_key), str(caught.value), repr(model._connection))
    assert [text for text in shown if "sk-secret" in text] == []


async def test_the_users_key_for_openai_goes_to_no_other_server() -> None:
    """Without a key none is sent, whatever the environment holds."""
    fake_server = FakeServer("vllm")
    model = fake_server.model()
    for way in ("complete", "acomplete"):
        await asked(model, way, request_for())
    sent = " ".join(str(seen.headers.raw) for seen in fake_server.seen)
    assert "the-users-own" not in sent
    assert "authorization" not in sent.lower()


def test_a_login_in_the_url_is_not_shown() -> None:
    """It is no part of the cache_key, which goes into cache keys."""
    model = CompletionsServerModel("http://ann:secret@server.test/v1", "m")
    assert "secret" not in repr(model)
    assert model.cache_key["base_url"] == "http://server.test/v1"


def test_models_can_be_copied_and_pickled() -> None:
    """Copies are new connections with the same settings."""
    model = CompletionsServerModel("http://server.test", "m", api_key="k", extra_body={"a": 1})
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):  # noqa: S301
        assert copied is not model
        assert copied.cache_key == model.cache_key
        assert copied._connection._endpoint == model._connection._endpoint


def test_identities_tell_models_apart() -> None:
    """Server, model and extra fields decide the output; the key does not."""
    one = {"base_url": "http://a.test", "model": "m"}
    others = [{"base_url": "http://b.test"}, {"model": "n"}, {"extra_body": {"top_a": 1}}]
    identities = [CompletionsServerModel(**{**one, **other}).cache_key for other in [{}, *others]]
    assert all(identities.count(cache_key) == 1 for cache_key in identities)
    assert CompletionsServerModel(**one, api_key="k").cache_key == identities[0]


def test_the_sdk_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the message says what to install."""
    monkeypatch.setattr("urial_core.backends.completions_server.model.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"urial-chat\[openai\]"):
        CompletionsServerModel("http://server.test")


async def test_each_event_loop_has_connections_of_its_own() -> None:
    """A model serves one event loop after another, as ``asyncio.run`` makes them."""
    model = CompletionsServerModel("http://server.test", "m")
    one = model._connection._async().client
    assert model._connection._async().client is one

    async def other() -> object:
        return model._connection._async().client

    assert await asyncio.to_thread(lambda: asyncio.run(other())) is not one
    assert isinstance(one._client, httpx.AsyncClient)
