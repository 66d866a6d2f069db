"""What a server is, what it serves, and what is never sent to it."""

from __future__ import annotations

import asyncio
import copy
import pickle

import httpx
import pytest
from pretend_server import (
    BEGIN,
    KINDS,
    PROMPT,
    WAYS,
    WINDOW,
    PretendServer,
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
    pretend = PretendServer(kind)
    model = pretend.model()
    assert pretend.seen == []
    if way == "sync":
        server = model.server()
    else:
        server, again, _ = await asyncio.gather(*(model.aserver() for _ in range(3)))
        assert server is again
    paths = pretend.paths
    assert len(set(paths)) == len(paths)
    assert (server.dialect.name, server.model) == (kind, "base")
    assert server.window == (None if kind == "generic" else WINDOW)
    assert server.tokenizes is (kind != "generic")
    assert server.slots == (3 if kind == "llama.cpp" else 0)
    assert (model.name, model.context_window, model.counts_exactly) == (
        "base",
        server.window,
        server.tokenizes,
    )
    assert pretend.paths == paths


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_tokens_are_the_servers(kind: str) -> None:
    """Texts are counted with the server's tokenizer, each text once."""
    pretend = PretendServer(kind)
    model = pretend.model()
    assert [model.count_tokens("one two three") for _ in range(3)] == [4, 4, 4]
    assert model.token_ids is not None
    ids = model.token_ids("one two three")
    assert (len(ids), ids[0]) == (4, BEGIN)
    bodies = [seen.body for seen in pretend.seen if seen.path == "/tokenize"]
    assert len(bodies) == 2  # one of them found out that there is a tokenizer
    assert bodies[1]["content" if kind == "llama.cpp" else "prompt"] == "one two three"


def test_a_chat_model_asks_only_for_a_name_that_is_missing() -> None:
    """With the model's name, nothing is sent before the first call; without, it is asked for."""
    pretend = PretendServer("vllm")
    chat = ChatUrial(llm=pretend.model(model="base"), prompt=PROMPT)
    assert chat.model_name == "base"
    assert repr(chat._identifying_params)
    assert pretend.seen == []
    assert ChatUrial(llm=pretend.model(), prompt=PROMPT).model_name == "base"
    assert pretend.completions == []


def test_a_call_may_name_another_model_of_the_server() -> None:
    """``model=`` reaches the server and the metadata, over the same connections."""
    pretend = PretendServer("generic")
    chat = ChatUrial(llm=pretend.model(model="base"), prompt=PROMPT)
    for _ in range(2):
        assert chat.invoke("Hi", model="adapter").response_metadata["model_name"] == "adapter"
    assert chat.invoke("Hi").response_metadata["model_name"] == "base"
    assert [body["model"] for body in pretend.completions] == ["adapter", "adapter", "base"]
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
    pretend = PretendServer("vllm")
    pretend.tokenizes = False
    model = pretend.model()
    assert not model.counts_exactly
    assert model.token_ids is None
    assert model.count_tokens("abcdef") == 3


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_a_model_the_server_does_not_serve_is_an_error(kind: str) -> None:
    """llama.cpp would answer to any name, and replies would carry a wrong one."""
    with pytest.raises(UnsupportedModelError, match=r"serves 'base', and not 'gpt'"):
        PretendServer(kind).model(model="gpt").server()


def test_names_that_the_server_knows_are_kept() -> None:
    """An alias is sent as it was given; a generic server decides for itself."""
    assert PretendServer("llama.cpp").model(model="other").server().model == "other"
    assert PretendServer("generic").model(model="unlisted").server().model == "unlisted"


@pytest.mark.parametrize("models", [{"data": []}, "<html>", [1], refusal(404)])
def test_a_server_that_names_no_model_needs_to_be_told(models: object) -> None:
    """Without a list of models, the name must be given, and then is enough."""
    pretend = PretendServer("generic")
    pretend.overrides["/v1/models"] = models
    with pytest.raises(UnsupportedModelError, match="pass model="):
        pretend.model().server()
    assert pretend.model(model="m").server().model == "m"


def test_of_several_models_one_must_be_named() -> None:
    """A generic server's first model is no choice of the user's."""
    pretend = PretendServer("generic")
    pretend.overrides["/v1/models"] = {"data": [{"id": "davinci"}, {"id": "babbage"}]}
    with pytest.raises(UnsupportedModelError, match=r"2 models .'davinci', 'babbage'"):
        pretend.model().server()
    assert pretend.model(model="babbage").server().model == "babbage"


def test_a_server_that_is_still_loading_is_asked_again() -> None:
    """What cannot be found out now is not guessed, and not remembered."""
    pretend = PretendServer("llama.cpp")
    model = pretend.model()
    pretend.overrides["/v1/models"] = refusal(503, message="Loading model")
    with pytest.raises(ServerError, match="Loading model") as caught:
        model.server()
    assert caught.value.status == 503
    del pretend.overrides["/v1/models"]
    assert model.server().dialect.name == "llama.cpp"


def test_what_is_said_goes_before_what_is_found() -> None:
    """A dialect or window that was given is not asked for."""
    pretend = PretendServer("generic")
    model = pretend.model(dialect="vllm", context_window=99)
    assert (model.server().dialect.name, model.context_window) == ("vllm", 99)
    assert model.context_window_at_hand == 99
    assert PretendServer("vllm").model().context_window_at_hand is None
    with pytest.raises(ParameterError, match=r"'lama'.*generic, vllm, llama\.cpp"):
        pretend.model(dialect="lama")


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
    pretend = PretendServer("vllm")
    pretend.overrides["/api/v3/models"] = {"data": [{"id": "m"}]}
    pretend.model(base_url=url).server()
    assert pretend.paths[0] == asked


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x/v1", "/v1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """The message says what is wanted."""
    with pytest.raises(ParameterError, match="base_url is "):
        CompletionsServerModel(url)


@pytest.mark.parametrize("way", WAYS)
async def test_the_key_goes_to_the_server_and_nowhere_else(way: str) -> None:
    """It is in the header only: in no text form, no cache_key and no error."""
    pretend = PretendServer("vllm", lambda _: refusal(401, message="wrong key sk-secret"))
    model = pretend.model(api_key="sk-secret")
    with pytest.raises(ServerError, match="api_key=") as caught:
        await asked(model, way, request_for())
    assert {seen.headers["authorization"] for seen in pretend.seen} == {"Bearer sk-secret"}
    shown = (repr(model), str(model.cache_key), str(caught.value), repr(model._connection))
    assert [text for text in shown if "sk-secret" in text] == []


async def test_the_users_key_for_openai_goes_to_no_other_server() -> None:
    """Without a key none is sent, whatever the environment holds."""
    pretend = PretendServer("vllm")
    model = pretend.model()
    for way in ("complete", "acomplete"):
        await asked(model, way, request_for())
    sent = " ".join(str(seen.headers.raw) for seen in pretend.seen)
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
