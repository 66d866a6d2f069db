"""UrialLLM's settings, metadata, copies and errors."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.prompts import PromptTemplate
from pydantic import ValidationError

from llamaindex_urial import UrialLLM
from urial_core import (
    ContextOverflowError,
    ModelFeatures,
    ParameterError,
    UnsupportedModelError,
    load_prompt,
)
from urial_core.prompts.toml_writing import write_toml
from urial_core.strategies import BestOfN
from urial_core.testing import FakeModel

PROMPT = load_prompt("short")


def llm_of(*responses: Any, window: int | None = None, **fields: Any) -> UrialLLM:
    """Return an LLM around a fake model."""
    return UrialLLM(llm=FakeModel(*responses, context_window=window), prompt=PROMPT, **fields)


def prompts_of(llm: UrialLLM) -> list[str]:
    """Return the prompts that the model got."""
    return [request.prompt for request in llm.llm.requests]


def test_a_prompt_is_one_query() -> None:
    """``complete`` writes the prompt as a query; ``formatted=True`` sends it as it is."""
    llm = llm_of(["Hi!"])
    llm.complete("Hello")
    llm.complete("Hello", formatted=True)
    full, plain = prompts_of(llm)
    assert full.startswith(PROMPT.prefix)
    assert full.endswith("# Query:\n````\nHello\n````\n\n# Answer:\n````\n")
    assert plain == "Hello"


@pytest.mark.usefixtures("default_tokenizer")
def test_the_window_is_what_the_prompt_prefix_leaves() -> None:
    """LlamaIndex plans with the window less the prefix; a reply has its share of the rest."""
    llm = llm_of(window=4000)
    llm.use_tokenizer()
    prefix = llm.prefix_tokens
    assert 4000 - prefix - 40 < llm.metadata.context_window < 4000 - prefix
    assert llm.metadata.num_output == llm.metadata.context_window // 4
    assert llm_of(window=4000, max_tokens=99).metadata.num_output == 99
    assert llm.metadata.is_chat_model
    assert llm.metadata.is_function_calling_model
    assert llm.metadata.model_name == "fake"
    assert not llm_of(is_function_calling_model=False).metadata.is_function_calling_model


def test_a_window_too_small_for_retrieval_warns_at_once() -> None:
    """Constructing the LLM warns if no question about a retrieved text would fit."""
    with pytest.warns(UserWarning, match="too little for LlamaIndex's query engines") as caught:
        llm_of(window=900)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        llm_of(window=4000)


def test_a_conversation_too_long_is_not_a_value_error() -> None:
    """``Refine`` swallows ValueErrors as empty answers; an overflow must not be lost so."""
    llm = llm_of(window=1500)
    with pytest.raises(ContextOverflowError) as caught:
        llm.complete("word " * 1600)
    assert not isinstance(caught.value, ValueError)


def test_arguments_of_a_call_take_precedence_over_settings() -> None:
    """Each call may set max_tokens, temperature and the like; stop strings add up."""
    llm = llm_of(["x"], temperature=0.5, max_tokens=9, stop=["A"])
    llm.complete("Hi", temperature=0.1, stop="B")
    parameters = llm.llm.requests[0].parameters
    assert (parameters.temperature, parameters.max_tokens) == (0.1, 9)
    assert parameters.stop == ("B", "A")
    llm = llm_of(["x"], stop="A END")
    llm.complete("Hi", stop="B")
    assert llm.llm.requests[0].parameters.stop == ("B", "A END")


def test_invalid_parameters_are_reported_before_the_model_runs() -> None:
    """An invalid value or an unknown name is a clear error; the model gets no request."""
    with pytest.raises(ParameterError, match="temperature is -1"):
        llm_of(temperature=-1)
    with pytest.raises(ValidationError, match="temprature"):
        llm_of(temprature=1)
    llm = llm_of(["x"])
    with pytest.raises(ParameterError, match="Unknown parameter temprature"):
        llm.chat([ChatMessage(content="Hi")], temprature=1)
    with pytest.raises(ParameterError, match=r"functions: .*Use tools=.*FunctionAgent"):
        llm.chat([ChatMessage(content="Hi")], functions=[{"name": "f"}])
    with pytest.raises(ParameterError, match="neither a field nor an option of transformers"):
        UrialLLM.from_model_id("some/model", dtipe="float32")
    assert llm.llm.requests == []


@pytest.mark.parametrize("kwargs", [{"model": "other"}, {"unknown": 1}])
async def test_features_are_read_in_another_thread(kwargs: dict[str, Any]) -> None:
    """A server may have to be asked what a call's arguments mean: the event loop goes on."""
    threads = set[int]()

    class Server(FakeModel):
        @property
        def features(self) -> ModelFeatures:
            threads.add(threading.get_ident())
            return ModelFeatures(with_model=lambda _: self, with_arguments=lambda _: self)

    llm = UrialLLM(llm=Server("Hi!"), prompt=PROMPT)
    message = ChatMessage(content="Hello")
    assert (await llm.achat([message], **kwargs)).message.content == "Hi!"
    assert (await llm.acomplete("Hello", **kwargs)).text == "Hi!"
    stream = [item async for item in await llm.astream_chat([message], **kwargs)]
    assert stream[-1].message.content == "Hi!"
    stream = [item async for item in await llm.astream_complete("Hello", **kwargs)]
    assert stream[-1].text == "Hi!"
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.needs("torch", "transformers")
def test_a_call_may_name_another_model() -> None:
    """``model`` runs another model where there can be one, as in ``ChatUrial``."""
    llm = UrialLLM(model="some/model")
    call = llm._call({"model": "other/model"})
    assert (call.model_name, call.chat.model.name) == ("other/model", "other/model")
    with pytest.raises(UnsupportedModelError, match="Make a second UrialLLM"):
        llm_of(["x"]).complete("Hi", model="other/model")


def test_there_must_be_a_model() -> None:
    """The error names what to pass."""
    with pytest.raises(UnsupportedModelError, match="pass llm="):
        UrialLLM()


@pytest.mark.needs("torch")
def test_a_dictionary_makes_it_again() -> None:
    """The settings survive to_dict and JSON; the key does not, nor the model object."""
    llm = UrialLLM(model="some/model", api_key="hf_secret", temperature=0.3, dtype="float32")
    written = llm.to_dict()
    assert written["class_name"] == "urial_llm"
    assert "hf_secret" not in json.dumps(written) + repr(llm) + str(llm)
    again = UrialLLM.from_dict(written)
    assert again.model_name == "some/model"
    assert again.temperature == 0.3
    assert again.backend_options == {"dtype": "float32"}


def test_a_dictionary_makes_no_other_model() -> None:
    """A model or example selector that was an object has to be given again, as no id stands for it.

    A server's is one, too.
    """
    server = UrialLLM.from_endpoint("http://127.0.0.1:9/v1", "google/gemma", context_window=4096)
    for llm in (server, llm_of(["Hi!"], temperature=0.3, example_selector=lambda _: [])):
        written = json.loads(llm.to_json())
        with pytest.raises(UnsupportedModelError, match=r"pass llm= beside them"):
            UrialLLM.from_dict(written)
    with pytest.raises(ParameterError, match="example_selector is 'function'"):
        UrialLLM.from_dict(written, llm=llm.llm)
    again = UrialLLM.from_dict(written, llm=llm.llm, example_selector=llm.example_selector)
    assert (again.complete("Hello").text, again.temperature) == ("Hi!", 0.3)


def test_a_dictionary_keeps_how_the_prompt_was_given(tmp_path: Path) -> None:
    """A path is read again as a path, a ``Prompt`` as itself, and text as a preset's name.

    Only ``from_dict`` reads a path: what a caller of the constructor passes on may be a name.
    """
    path = tmp_path / "short.toml"
    path.write_text(write_toml(load_prompt("short")), "utf-8")
    for prompt in (path, PROMPT, "short"):
        written = UrialLLM(llm=FakeModel(), prompt=prompt).to_json()
        again = UrialLLM.from_json(written, llm=FakeModel())
        assert again.prompt == prompt
        assert again.urial.prompt == load_prompt(prompt)
    with pytest.raises(ValidationError):
        UrialLLM(llm=FakeModel(), prompt={"path": str(path)})


def test_a_dictionary_asks_for_a_strategy() -> None:
    """A strategy may hold models and functions, so it has to be given again, unlike a name."""
    strategy = BestOfN(n=2)
    written = UrialLLM(llm=FakeModel(), decoding=strategy).to_json()
    with pytest.raises(ParameterError, match=r"decoding is .*BestOfN\(n=2.*or a strategy"):
        UrialLLM.from_json(written, llm=FakeModel())
    assert UrialLLM.from_json(written, llm=FakeModel(), decoding=strategy).decoding == strategy
    named = UrialLLM(llm=FakeModel(), decoding="best_of_n").to_json()
    assert UrialLLM.from_json(named, llm=FakeModel()).decoding == "best_of_n"


@pytest.mark.needs("torch")
def test_copies_share_the_model() -> None:
    """A copy, shallow or deep, answers by the same model; a pickled one finds it again."""
    llm = llm_of(["Hi!"])
    for twin in (copy.copy(llm), copy.deepcopy(llm), llm.model_copy(update={"max_tokens": 3})):
        assert twin.llm is llm.llm
        assert twin.complete("Hello").text == "Hi!"
    named = pickle.loads(pickle.dumps(UrialLLM(model="some/model", seed=4)))  # noqa: S301
    assert (named.model_name, named.seed) == ("some/model", 4)


@pytest.mark.parametrize("take_state", [pickle.dumps, UrialLLM.__getstate__])
def test_an_attempt_to_pickle_it_harms_nothing(take_state: Any) -> None:
    """An LLM of an object that cannot be pickled says so, and answers by it as before."""
    llm = llm_of(["Hi!"])
    llm.llm.lock = threading.Lock()
    with pytest.raises(UnsupportedModelError, match="FakeModel'> cannot be pickled: pass model="):
        take_state(llm)
    assert llm.complete("Hello").text == "Hi!"


def test_it_is_what_settings_take() -> None:
    """``Settings.llm`` takes it as it is, and keeps it."""
    llm = llm_of(["Hi!"])
    before = Settings._llm
    try:
        Settings.llm = llm
        assert Settings.llm is llm
    finally:
        Settings._llm = before


def test_a_system_prompt_follows_the_prompt_prefix() -> None:
    """LlamaIndex's ``system_prompt`` is one system turn, after the constant examples."""
    llm = llm_of(["Hi!"], system_prompt="Be brief.")
    llm.predict(PromptTemplate("Hello"))
    prompt = prompts_of(llm)[0]
    assert prompt.startswith(PROMPT.prefix)
    assert prompt.count("Be brief.") == 1


def test_a_chat_model_is_refused_by_name() -> None:
    """What has its own chat template cannot be a base model, and neither can a UrialLLM."""

    class Chat(MockLLM):
        @property
        def metadata(self) -> Any:
            return super().metadata.model_copy(update={"is_chat_model": True})

    for chat in (Chat(), llm_of(["x"])):
        with pytest.raises(UnsupportedModelError, match="is a chat model"):
            UrialLLM(llm=chat)
    with pytest.raises(UnsupportedModelError, match="int is not a completion LLM"):
        UrialLLM(llm=5)


def test_what_other_llms_take_is_accepted() -> None:
    """Provider keys are ignored in the constructor and in a call, and other names understood."""
    model = FakeModel(["Fine."])
    llm = UrialLLM(llm=model, reasoning_effort="low", max_new_tokens=8)  # type: ignore[call-arg]
    assert llm.max_tokens == 8
    llm.chat([ChatMessage(content="Hi")], service_tier="flex", max_completion_tokens=9)
    assert model.requests[0].parameters.max_tokens == 9


@pytest.mark.needs("torch")
def test_arguments_that_mean_nothing_are_accepted() -> None:
    """In a call and in the constructor; two replies to a message are refused."""
    unset: dict[str, Any] = {"n": 1, "logit_bias": {}, "extra_body": {}}
    llm = UrialLLM(llm=FakeModel(["Fine."]), **unset)
    assert llm.chat([ChatMessage(content="Hi")], **unset).message.content == "Fine."
    assert UrialLLM.from_model_id("some/model", **unset).backend_options == {}
    with pytest.raises(ParameterError, match="Unknown parameter n"):
        llm.chat([ChatMessage(content="Hi")], n=2)


def test_dictionaries_of_further_arguments_are_read() -> None:
    """``additional_kwargs`` and ``generate_kwargs`` of other LLMs set fields that are not set."""
    nested = {"top_p": 0.5, "max_new_tokens": 8, "seed": None}
    for name in ("additional_kwargs", "generate_kwargs"):
        fields: dict[str, Any] = {name: nested, "reuse_client": True, "is_chat_model": False}
        llm = UrialLLM(llm=FakeModel(["Fine."]), **fields)
        assert (llm.top_p, llm.max_tokens, llm.seed) == (0.5, 8, None)
        assert UrialLLM(llm=FakeModel(), max_tokens=9, **fields).max_tokens == 9
        with pytest.raises(ValueError, match="logit_bias"):
            UrialLLM(llm=FakeModel(), **{name: {"logit_bias": {"5": 1}}})
        with pytest.raises(ParameterError, match="Use tools="):
            UrialLLM(llm=FakeModel(), **{name: {"functions": []}})
        with pytest.raises(ValueError, match=name):
            UrialLLM(llm=FakeModel(), **{name: "top_p"})


@pytest.mark.parametrize(("do_sample", "temperature"), [(True, 0.7), (False, 0.0)])
def test_do_sample_of_transformers_is_read(*, do_sample: bool, temperature: float) -> None:
    """As in ``HuggingFaceLLM``, False is greedy decoding, whatever the temperature."""
    nested = {"temperature": 0.7, "do_sample": do_sample}
    assert UrialLLM(llm=FakeModel(), generate_kwargs=nested).temperature == temperature
