"""Around unknown LLM classes: what they can do is derived from the class."""

from __future__ import annotations

import asyncio
import time
from math import ceil

import pytest
from fake_llms import PROMPT, WAYS, AsyncLLM, PlainLLM, ask
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler

from llamaindex_urial import UrialLLM


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("echoes", [False, True])
async def test_a_plain_llm_is_dealt_with(way: str, *, echoes: bool, cumulative: bool) -> None:
    """It runs on, repeats the prompt, or streams all so far: the reply is the same, and clean."""
    llm = PlainLLM(echoes=echoes, cumulative=cumulative)
    assert await ask(way, UrialLLM(llm=llm, prompt=PROMPT)) == "Hello!"
    prompt, formatted, kwargs, _ = llm._seen[0]
    assert prompt.startswith(PROMPT.prefix)
    assert formatted
    assert kwargs == {}


def test_its_own_settings_are_kept_until_others_are_set() -> None:
    """The owner's limit is kept; the call's takes precedence, on a copy of the LLM."""
    llm = PlainLLM()
    urial = UrialLLM(llm=llm, prompt=PROMPT)
    assert urial.metadata.num_output == ceil(7 / urial._window.ratio)  # in LlamaIndex's tokens
    urial.complete("Hi")
    urial.complete("Hi", max_tokens=3)
    assert [seen[3] for seen in llm._seen] == [7, 3]
    assert llm.max_tokens == 7


async def test_calls_of_a_blocking_llm_do_not_overlap_nor_block_the_loop() -> None:
    """Its calls run one after the other in their own thread, and the event loop keeps running."""
    urial = UrialLLM(llm=PlainLLM(), prompt=PROMPT)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.002)
            ticks += 1

    ticking = asyncio.create_task(tick())
    answers = await asyncio.gather(*(urial.acomplete("Hi") for _ in range(4)))
    ticking.cancel()
    assert [answer.text for answer in answers] == ["Hello!"] * 4
    assert ticks > 10


async def test_four_overlapping_answers_take_about_the_time_of_one() -> None:
    """An LLM that is async is awaited, not run in a thread in turn."""
    urial = UrialLLM(llm=AsyncLLM(), prompt=PROMPT)
    await urial.acomplete("Hi")
    started = time.perf_counter()
    await urial.acomplete("Hi")
    one = time.perf_counter() - started
    started = time.perf_counter()
    await asyncio.gather(*(urial.acomplete("Hi") for _ in range(4)))
    four = time.perf_counter() - started
    assert four < 2 * one


@pytest.mark.parametrize("kind", [PlainLLM, AsyncLLM])
async def test_the_wrapped_llm_reports_no_error_to_its_handlers(kind: type[PlainLLM]) -> None:
    """Closing its stream at the delimiter is not a failure; handlers of both see one call."""
    inner, outer = (
        LlamaDebugHandler(print_trace_on_end=False),
        LlamaDebugHandler(print_trace_on_end=False),
    )
    llm = kind(callback_manager=CallbackManager([inner]))
    urial = UrialLLM(llm=llm, prompt=PROMPT, callback_manager=CallbackManager([outer]))
    assert await ask("astream", urial) == "Hello!"
    for handler in (inner, outer):
        async with asyncio.timeout(10):  # a blocking LLM's stream is closed in its own thread
            while [*map(len, handler.get_llm_inputs_outputs())] != [2]:
                await asyncio.sleep(0.01)
        [(_, end)] = handler.get_llm_inputs_outputs()
        assert "exception" not in end.payload


def test_templates_that_have_no_effect_are_told() -> None:
    """A system prompt or a template on the wrapped LLM would be lost in silence: it warns."""
    effect = "system_prompt of the PlainLLM given have no effect"
    with pytest.warns(UserWarning, match=effect) as caught:
        UrialLLM(llm=PlainLLM(system_prompt="Be brief."), prompt=PROMPT)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="completion_to_prompt"):
        UrialLLM(llm=PlainLLM(completion_to_prompt=lambda text: f"<<{text}>>"), prompt=PROMPT)
