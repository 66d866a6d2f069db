"""Construction: the ways to make a chat model, and the errors that are raised then."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_models import PROMPT, PlainLLM, chat_of
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.messages import AIMessage
from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import SecretStr, ValidationError

from langchain_urial import ChatUrial
from urial_core import load_prompt
from urial_core.completion import estimate_tokens
from urial_core.composing import overhead_text
from urial_core.errors import ParameterError, UnknownPromptError, UnsupportedModelError
from urial_core.testing import FakeModel

SECRET = "hf_very_secret"


def test_without_a_model_the_error_lists_the_ways_to_name_one() -> None:
    """No model is an error that names all three ways to give one."""
    with pytest.raises(UnsupportedModelError, match=r"llm= .*model= .*URIAL_MODEL"):
        ChatUrial()


@pytest.mark.needs("torch")
def test_the_environment_names_the_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """``$URIAL_MODEL`` is the default model; a name or an LLM takes precedence."""
    monkeypatch.setenv("URIAL_MODEL", "from/environment")
    assert chat_of().model_name == "fake"
    assert ChatUrial().model_name == "from/environment"
    assert ChatUrial(model="other/model").model_name == "other/model"


@pytest.mark.needs("torch")
def test_the_names_of_other_integrations_are_understood() -> None:
    """``model`` and ``stop_sequences`` are LangChain's usual names for two of the fields."""
    chat = ChatUrial(model="some/model", stop_sequences=["END"])
    assert (chat.model_name, chat.stop) == ("some/model", ["END"])
    chat = ChatUrial(model_name="some/model", stop=["END"])
    assert (chat.model_name, chat.stop) == ("some/model", ["END"])


def test_a_stop_sequence_may_be_one_string() -> None:
    """The constructor takes a string as a call does: it is one stop sequence, not its letters."""
    chat = chat_of("A fig END A plum", stop="END")
    assert chat.invoke("A fruit?").text == "A fig"
    assert [*chat.llm.requests[0].parameters.stop] == ["END"]
    assert (
        chat.model_copy(update={"stop": "plum"}).invoke("A fruit?", stop="A p").text == "A fig END"
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"temprature": 0.5}, "temprature"),
        ({"temperature": -1}, "temperature is -1.0"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"n": 0}, "n is 0"),
        ({"top_p": 0.0}, "top_p is 0"),
        ({"top_logprobs": 50}, "logprobs is 50"),
        ({"stop": [""]}, "empty string"),
        ({"overflow": "cut"}, "overflow"),
    ],
)
def test_an_invalid_field_is_an_error_at_construction(fields: dict[str, Any], reason: str) -> None:
    """A misspelt name or a value out of range does not wait for the first call."""
    with pytest.raises((ParameterError, ValidationError), match=reason):
        chat_of(**fields)


@pytest.mark.parametrize(
    ("llm", "reason"),
    [
        (FakeListChatModel(responses=["x"]), "is a chat model already"),
        (FakeListChatModel(responses=["x"]).bind(stop=["x"]), "is a chat model already"),
        (RunnableLambda(str), "is not a completion LLM"),
        ("gpt2", "llm is 'gpt2': pass llm= as an object, or model= as an id"),
        (FakeListLLM(responses=["x"]).with_retry(), r"\.with_retry\(\).*around ChatUrial"),
        (
            FakeListLLM(responses=["x"]).with_fallbacks([FakeListLLM(responses=["y"])]),
            r"\.with_fallbacks\(\) around ChatUrial",
        ),
    ],
)
def test_what_is_not_a_base_model_is_refused_with_advice(llm: Any, reason: str) -> None:
    """Only what completes text can be wrapped; the error says what to do instead."""
    with pytest.raises(UnsupportedModelError, match=reason):
        ChatUrial(llm=llm)


def test_a_prompt_is_a_name_a_file_or_an_object(tmp_path: Path) -> None:
    """All three ways give the same prompt; an unknown name is an error at once."""
    from urial_core import prompts

    folder = Path(prompts.__file__).parent / "presets"
    file = tmp_path / "mine.toml"
    file.write_text((folder / "short.toml").read_text("utf-8"), "utf-8")
    pages = {
        chat_of(prompt=prompt).urial.prompt.prefix
        for prompt in ("short", file, load_prompt("short"))
    }
    assert len(pages) == 1
    with pytest.raises(UnknownPromptError):
        chat_of(prompt="no-such-preset")


@pytest.mark.needs("torch")
def test_from_model_id_separates_fields_from_backend_options() -> None:
    """Fields go to the chat model, backend options to the backend, the rest is an error."""
    chat = ChatUrial.from_model_id("some/model", dtype="float32", temperature=0.5, model_kwargs={})
    assert chat.temperature == 0.5
    assert chat.backend_options == {"dtype": "float32", "model_kwargs": {}}
    assert chat.urial.model.cache_key["dtype"] == "float32"
    with pytest.raises(ParameterError, match=r"Unknown option temprature.*dtype"):
        ChatUrial.from_model_id("some/model", temprature=0.5)


@pytest.mark.needs("torch")
def test_chat_models_of_one_id_share_the_model() -> None:
    """The same id and options give the same model object; other options give another."""
    chats = [ChatUrial.from_model_id("some/model", temperature=t / 10) for t in range(10)]
    assert len({id(chat.urial.model) for chat in chats}) == 1
    other = ChatUrial.from_model_id("some/model", dtype="float32")
    assert other.urial.model is not chats[0].urial.model


@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    "make",
    [
        lambda: ChatUrial(model="some/model", api_key=SecretStr(SECRET)),
        lambda: ChatUrial(model="some/model", api_key=SECRET),
        lambda: ChatUrial.from_model_id("some/model", token=SECRET),
        lambda: ChatUrial(model="some/model", backend_options={"token": SECRET}),
    ],
    ids=["secret", "string", "option", "options"],
)
def test_a_key_is_shown_nowhere(make: Callable[[], ChatUrial]) -> None:
    """No text form of a chat model, and nothing that traces or caches see, holds its key."""
    from langchain_core.load import dumps

    chat = make()
    shown = (
        repr(chat),
        str(chat),
        repr(chat.asdict()),
        repr(chat.model_dump()),
        chat.model_dump_json(exclude={"prompt"}),
        repr(chat._identifying_params),
        repr(chat._get_ls_params()),
        repr(chat.lc_attributes),
        chat._get_llm_string(),
        dumps(chat),
        repr(chat.metadata),
    )
    assert [text for text in shown if SECRET in text] == []
    assert chat.backend_settings["token"] == SECRET


@pytest.mark.needs("torch")
def test_copies_of_a_chat_model_share_its_model() -> None:
    """A copy is another chat model around the same model, with the changes."""
    chat = chat_of()
    warm = chat.model_copy(update={"temperature": 0.7})
    assert warm.invoke("Hi").content == copy.copy(chat).invoke("Hi").content == "Hello!"
    assert [request.parameters.temperature for request in chat.llm.requests] == [0.7, None]
    named = ChatUrial(model="some/model")
    assert copy.deepcopy(named).urial.model is named.urial.model


@pytest.mark.needs("torch")
def test_a_chat_model_named_by_id_can_be_pickled() -> None:
    """The name and the settings are pickled; the model is found again from them."""
    chat = ChatUrial(model="some/model", temperature=0.5, prompt=PROMPT, api_key=SECRET)
    again = pickle.loads(pickle.dumps(chat))  # noqa: S301 - pickled just now
    assert again == chat
    assert again.urial.model is chat.urial.model
    assert again.urial.prompt == PROMPT


def test_a_dictionary_makes_no_other_chat_model() -> None:
    """A model that was an object has to be given again, as no id stands for it."""
    chat = chat_of()
    written = chat.model_dump()
    with pytest.raises(UnsupportedModelError, match=r"pass llm= beside them"):
        ChatUrial(**written)
    assert ChatUrial(**{**written, "llm": chat.llm}) == chat


def test_fields_can_be_configured_later() -> None:
    """``configurable_fields`` and ``with_config`` change a call and load nothing anew."""
    model = FakeModel()
    chat = ChatUrial(llm=model, prompt=PROMPT).configurable_fields(
        temperature=ConfigurableField("heat"), stop=ConfigurableField("ends")
    )
    chat.invoke("Hi")
    chat.invoke("Hi", {"configurable": {"heat": 0.5}})
    chat.with_config(configurable={"heat": 0.9, "ends": ["END"]}).invoke("Hi")
    assert [r.parameters.temperature for r in model.requests] == [None, 0.5, 0.9]
    assert model.requests[2].parameters.stop == ("END",)


def test_a_chat_model_can_be_one_of_several_alternatives() -> None:
    """``configurable_alternatives`` chooses between ChatUrial and any other chat model."""
    chat = chat_of().configurable_alternatives(
        ConfigurableField("who"),
        default_key="urial",
        other=FakeListChatModel(responses=["other"]),
        plain=ChatUrial(llm=PlainLLM(reply="plain"), prompt=PROMPT),
    )
    answers = [
        chat.invoke("Hi", {"configurable": {"who": who}}) for who in ("urial", "other", "plain")
    ]
    assert [AIMessage(answer.content).content for answer in answers] == ["Hello!", "other", "plain"]


def test_the_profile_describes_the_model() -> None:
    """It has text, tools and structured output; the input limit excludes the prompt."""
    chat = chat_of(context_window=1000)
    assert chat.profile is not None
    assert [name for name, value in chat.profile.items() if value is True] == [
        "text_inputs",
        "text_outputs",
        "tool_calling",
        "tool_choice",
        "tool_call_streaming",
        "structured_output",
        "mid_conversation_system_messages",
        "temperature",
    ]
    assert chat.profile["name"] == "fake"
    overhead = overhead_text(PROMPT, with_tools=True)
    assert chat.profile["max_input_tokens"] == 1000 - estimate_tokens(overhead)
    assert "max_output_tokens" not in chat.profile
    assert chat_of(max_tokens=9).profile["max_output_tokens"] == 9
    own = {"max_input_tokens": 5}
    assert chat_of(profile=own).profile == own


def test_the_model_is_named_after_what_it_wraps() -> None:
    """Around an LLM the name is that LLM's model, unless another is given for metadata."""
    assert chat_of().model_name == "fake"
    assert ChatUrial(llm=PlainLLM()).model_name == "PlainLLM"
    assert chat_of(model="mine").invoke("Hi").response_metadata["model_name"] == "mine"


def test_a_configured_chat_model_still_streams() -> None:
    """LangChain makes configured models anew, with every field set; none of them stops streams."""
    chat = chat_of(["Hel", "lo"]).configurable_fields(temperature=ConfigurableField("heat"))
    chunks = list(chat.stream("Hi", {"configurable": {"heat": 0.5}}))
    assert [chunk.content for chunk in chunks] == ["Hel", "lo", ""]


@pytest.mark.needs("torch")
def test_backend_options_among_the_fields() -> None:
    """Backend options may be passed as fields, as `init_chat_model` does."""
    chat = ChatUrial(model="some/model", dtype="float32", backend_options={"max_batch_size": 2})
    assert chat.backend_options == {"dtype": "float32", "max_batch_size": 2}


def test_backend_options_need_a_model_to_load() -> None:
    """Options for loading are refused beside an LLM that is set up already."""
    with pytest.raises(ParameterError, match="dtype"):
        ChatUrial(llm=FakeModel(), dtype="float32")


@pytest.mark.needs("torch")
def test_a_loaded_model_needs_its_tokenizer() -> None:
    """A loaded model without its tokenizer is refused."""
    with pytest.raises(UnsupportedModelError, match="not a transformers model"):
        ChatUrial.from_model_id(object())


@pytest.mark.needs("torch")
def test_a_path_is_a_model(tmp_path: Path) -> None:
    """``model`` may be a ``Path``, as in ``from_model_id``."""
    assert ChatUrial(model=tmp_path).model_name == str(tmp_path)  # type: ignore[arg-type]


def test_what_other_chat_models_take_is_accepted() -> None:
    """Names of other integrations are understood; what has no effect is a warning."""
    with pytest.warns(UserWarning, match="stream_usage, verbosity: without effect"):
        chat = chat_of(max_completion_tokens=7, stream_usage=True, verbosity="low")
    assert chat.max_tokens == 7
