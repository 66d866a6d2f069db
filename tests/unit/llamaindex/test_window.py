"""The context window that LlamaIndex plans with, counted with its own tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import llama_index.core
import pytest
from llama_index.core import Document, MockEmbedding, Settings, SummaryIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.extractors import KeywordExtractor
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import TextNode

from llamaindex_urial import UrialLLM
from urial_core import ContextOverflowError, load_prompt
from urial_core.testing import FakeModel

PROMPT = load_prompt("short")
SENTENCE = (
    "In the spring of 1874, the harbour commission of the town reported that {0} ships had "
    "unloaded {1} barrels of oil, and recommended that a third pier be built next to the old one. "
)
STORY = "".join(SENTENCE.format(number, number * 7) for number in range(120))
TOKENIZERS: dict[str, tuple[Callable[[str], list[Any]], int]] = {
    "characters": (list, 9000),
    "pairs": (lambda text: re.findall(r"\w{1,2}|\W", text), 5000),
    "words": (str.split, 1500),
    "half the words": (lambda text: text.split()[::2], 750),
}
"""Tokenizers that make more tokens than LlamaIndex's, and fewer; with a small window for each."""


class TokenizerModel(FakeModel):
    """A fake model with a tokenizer of its own."""

    def __init__(self, tokenizer: Callable[[str], list[Any]], *responses: str, window: int) -> None:
        super().__init__(*responses, context_window=window)
        self.encode = tokenizer
        self.counts = 0

    @property
    def tokenizer(self) -> Callable[[str], list[Any]]:
        """The tokenizer given."""
        return self.encode

    def count_tokens(self, text: str) -> int:
        """Count with it."""
        self.counts += 1
        return len(self.encode(text))

    @property
    def fullest(self) -> float:
        """The largest share of the window that a prompt and its reply took."""
        taken = (len(self.encode(request.prompt)) + request.max_tokens for request in self.requests)
        return max(taken) / self._window  # type: ignore[operator]

    @property
    def fullest_prompt(self) -> float:
        """The largest share of the window that a prompt took."""
        return max(len(self.encode(request.prompt)) for request in self.requests) / self._window  # type: ignore[operator]


pytestmark = pytest.mark.usefixtures("default_tokenizer")


def llm_of(tokenizer: str, **fields: Any) -> tuple[UrialLLM, TokenizerModel]:
    """Return an LLM around a model with one of the tokenizers, and the model."""
    encode, window = TOKENIZERS[tokenizer]
    model = TokenizerModel(encode, "Many ships came to the old town. " * 8, window=window)
    return UrialLLM(llm=model, prompt=PROMPT, **fields), model


def summary_of(llm: UrialLLM, mode: str, text: str = STORY) -> None:
    """Ask about a text that is several times as long as the window."""
    index = SummaryIndex.from_documents([Document(text=text)], embed_model=MockEmbedding(2))
    answer = index.as_query_engine(llm=llm, response_mode=mode).query("What was reported?")
    assert "Many ships" in str(answer)


@pytest.mark.filterwarnings("ignore:The model's window leaves")
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("max_tokens", [None, 100])
@pytest.mark.parametrize("mode", ["tree_summarize", "refine", "compact", "compact_accumulate"])
def test_long_texts_fit_whichever_tokenizer(
    tokenizer: str, max_tokens: int | None, mode: str
) -> None:
    """No prompt exceeds the window, and most of it is used."""
    scale = {"characters": 4, "pairs": 2}.get(tokenizer, 1)
    llm, model = llm_of(tokenizer, max_tokens=max_tokens and max_tokens * scale)
    summary_of(llm, mode)
    assert model.fullest <= 1
    assert model.fullest_prompt > 0.4
    assert len(model.requests) > 1


def test_the_tokenizer_that_the_user_set_is_followed() -> None:
    """The plan is in tokens of ``Settings.tokenizer``, and changes with it."""
    llm, model = llm_of("pairs")
    by_default = llm.metadata.context_window
    Settings.tokenizer = list
    by_characters = llm.metadata.context_window
    assert by_characters > by_default * 2
    summary_of(llm, "tree_summarize")
    assert 0.4 < model.fullest <= 1
    assert Settings.tokenizer is list
    llm.use_tokenizer()
    assert llm.metadata.context_window == llm._window.room


def test_llms_with_different_tokenizers_share_a_process() -> None:
    """Each has a window of its own, and LlamaIndex's tokenizer stays as it is."""
    llms = [llm_of(tokenizer) for tokenizer in ("words", "pairs", "words")]
    for llm, model in llms:
        summary_of(llm, "tree_summarize")
        assert model.fullest <= 1
    windows = [llm.metadata.context_window for llm, _ in llms]
    assert windows[0] == windows[2] != windows[1]
    assert "cl100k_base" in repr(llama_index.core.global_tokenizer)


async def test_nothing_is_counted_with_the_model_in_an_event_loop() -> None:
    """There the plan is a careful estimate, until it was counted elsewhere."""
    llm, model = llm_of("words")
    estimate = llm.metadata.context_window
    assert model.counts == 0
    assert estimate == llm.metadata.context_window
    assert 0 < estimate < llm._window.counted_room


def test_events_load_no_tokenizer() -> None:
    """The payload of events leaves the window out while LlamaIndex has no tokenizer."""
    llm, _ = llm_of("words")
    assert "context_window" not in llm.to_payload()
    assert llama_index.core.global_tokenizer is None
    metadata = llm.metadata
    assert llm.to_payload()["context_window"] == metadata.context_window


@pytest.mark.filterwarnings("ignore:The model's window leaves")
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_chat_goes_on_beyond_the_window(tokenizer: str) -> None:
    """A memory made for the LLM drops what no longer fits."""
    llm, model = llm_of(tokenizer)
    question = "How many barrels of oil were unloaded by the ships in that year, and by whom?"
    history = [
        ChatMessage(role=role, content=text)
        for number in range(60)
        for role, text in (("user", question), ("assistant", SENTENCE.format(number, number)))
    ]
    memory = ChatMemoryBuffer.from_defaults(chat_history=history, llm=llm)
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
    for _ in range(3):
        engine.chat(question)
    assert model.fullest <= 1
    assert model.fullest_prompt > 0.4


def ships_of(year: int) -> str:
    """Count the ships of a year."""
    return f"There were 12 ships in {year}."


@pytest.mark.filterwarnings("ignore:The model's window leaves")
@pytest.mark.parametrize(
    ("fields", "token_limit", "fits"),
    [({}, None, False), ({"overflow": "truncate"}, None, True), ({}, 400, True)],
)
async def test_an_agents_memory_in_a_small_window(
    fields: dict[str, Any], token_limit: int | None, fits: bool
) -> None:
    """No memory knows of the tool examples: truncation or a smaller limit makes room for them."""
    model = TokenizerModel(
        lambda text: [text[i : i + 4] for i in range(0, len(text), 4)],
        "# Answer:\n````\nMany.\n````\n",
        window=2048,
    )
    llm = UrialLLM(llm=model, prompt=PROMPT, **fields)
    llm.use_tokenizer()
    assert llm._window.counted_room > 0  # counted, as after a call outside an event loop
    history = [
        ChatMessage(role=role, content=text)
        for number in range(60)
        for role, text in (("user", "How many?"), ("assistant", SENTENCE.format(number, number)))
    ]
    memory = ChatMemoryBuffer.from_defaults(history, llm=llm, token_limit=token_limit)
    agent = FunctionAgent(tools=[ships_of], llm=llm)
    if fits:
        assert str(await agent.run("And in 1875?", memory=memory)) == "Many."
        assert model.fullest <= 1
    else:
        with pytest.raises(ContextOverflowError):
            await agent.run("And in 1875?", memory=memory)


def test_a_node_too_long_by_itself_is_cut() -> None:
    """``overflow="truncate"`` goes on with the text cut and marked; the default refuses it."""
    node = TextNode(text=STORY)
    llm, model = llm_of("words", overflow="truncate", max_tokens=100)
    [found] = KeywordExtractor(llm=llm, num_workers=1).extract([node])
    assert found["excerpt_keywords"]
    assert "characters left out ...]" in model.requests[0].prompt
    assert model.fullest <= 1
    assert llm.chat([ChatMessage(content=STORY)]).raw["truncated_messages"] == 1
    with pytest.raises(ContextOverflowError):
        llm_of("words")[0].chat([ChatMessage(content=STORY)])
