"""What an LLM claims to do, and how the tests reach it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, ClassVar, TypeVar

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.endpoints import (
    Endpoint,
    Question,
    Response,
    acollect,
    collect,
    text_of,
)

__all__ = ["LLMClaims"]

T = TypeVar("T")

_GRACE = 1.0  # seconds in which a call in an event loop can be cancelled


class _StuckError(TimeoutError):
    """A call that could not be ended."""


class LLMClaims:
    """What the tests know of the LLM: override these in your class.

    Only the fixture ``llm`` must be given. The properties are claims with defaults: what an LLM
    does not claim is skipped, with the claim as the reason.
    """

    @pytest.fixture
    def llm(self) -> LLM:
        """The LLM to test. It may be one for all tests (give the fixture a wider scope)."""
        raise NotImplementedError("Override the fixture `llm` and return your LLM.")

    @pytest.fixture
    def failing_llm(self) -> LLM:
        """An LLM of the same class whose source fails, at once or amid the answer."""
        pytest.skip("no fixture `failing_llm`")

    # What is asked

    @property
    def prompt(self) -> str:
        """A prompt that gets an answer of at least four words."""
        return "Tell me in a few sentences what bees do all day."

    @property
    def messages(self) -> list[ChatMessage]:
        """Messages that get an answer of at least four words."""
        return [ChatMessage(role="user", content=self.prompt)]

    @property
    def time_limit(self) -> float:
        """Seconds that one call may take. Default: 60."""
        return 60.0

    # What is claimed

    @property
    def deterministic(self) -> bool:
        """The same question gets the same answer, by whichever method. Default: true."""
        return True

    @property
    def supports_formatted(self) -> bool:
        """``complete(..., formatted=True)`` passes the prompt on as it is. Default: true."""
        return True

    @property
    def honours_stop(self) -> bool:
        """``stop=[...]`` of a call ends the answer before such a text. Default: true."""
        return True

    @property
    def returns_usage(self) -> bool:
        """``raw`` says how many tokens were read and written. Default: false."""
        return False

    @property
    def is_truly_async(self) -> bool:
        """The event loop runs on while an answer is awaited. Default: true."""
        return True

    @property
    def concurrent(self) -> bool:
        """Several awaited answers take less time together than in turn. Default: false."""
        return False

    @property
    def stops_on_close(self) -> bool:
        """A stream that is closed early stops its source; see ``source_stopped``. Default: false.

        llama-index-core's own decorators do not see to this.
        """
        return False

    @property
    def closes_quietly(self) -> bool:
        """A stream that is closed early is not reported as an error. Default: false.

        llama-index-core's own decorators report ``GeneratorExit`` as one.
        """
        return False

    @property
    def accepts_images(self) -> bool:
        """Images in messages reach the model. Default: false, then they must not be lost silently.

        Either an error or a warning (of ``warnings`` or ``logging``) must say so.
        """
        return False

    @property
    def supports_tools(self) -> bool:
        """It is a ``FunctionCallingLLM`` that calls tools. Default: false."""
        return False

    @property
    def supports_tool_choice(self) -> bool:
        """``tool_choice="name"`` forces that tool. Default: as ``supports_tools``."""
        return self.supports_tools

    @property
    def supports_structured_output(self) -> bool:
        """It fills in pydantic classes. Default: as ``supports_tools``."""
        return self.supports_tools

    @property
    def secrets(self) -> Sequence[str]:
        """Texts, such as the API key it was made with, that no event and no dump may hold."""
        return ()

    # How it is looked into

    def seen_by_model(self, llm: LLM) -> str | None:
        """The text that the model itself was given last; ``None`` (default): it cannot be known."""
        del llm
        return None

    def source_stopped(self, llm: LLM) -> bool:
        """Whether the source of the stream that was closed last has stopped."""
        raise NotImplementedError("Claiming `stops_on_close` needs `source_stopped(llm)`.")

    # How the tests reach it

    _runner: ClassVar[asyncio.Runner]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _event_loop_of_the_class(cls) -> Generator[None]:
        # One loop for a class: clients that are kept open belong to the loop that opened them.
        cls._renew_event_loop()
        yield
        cls._runner.close()

    @classmethod
    def _renew_event_loop(cls) -> None:
        # One that is stuck cannot be closed.
        cls._runner = asyncio.Runner()

    def needs(self, claim: str) -> None:
        """Skip the test if this is not claimed."""
        if not getattr(self, claim):
            pytest.skip(f"not claimed: {claim}")

    def question(self, endpoint: Endpoint) -> Question:
        """Get what to ask by this method."""
        return self.messages if endpoint.is_chat else self.prompt

    def run_async(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run in the event loop, within the time limit."""

        async def limited() -> T:
            return await asyncio.wait_for(coroutine, self.time_limit)

        try:
            return self.run(lambda: self._runner.run(limited()), _GRACE)
        except _StuckError:
            self._renew_event_loop()
            raise

    def run(self, function: Callable[[], T], grace: float = 0.0) -> T:
        """Run in a thread, within the time limit and the seconds of grace."""
        results = list[T]()
        errors = list[BaseException]()

        def work() -> None:
            try:
                results.append(function())
            except BaseException as error:
                errors.append(error)

        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(work,), daemon=True)
        thread.start()
        thread.join(self.time_limit + grace)
        if errors:
            raise errors[0]
        if not results:
            raise _StuckError(f"The call took longer than {self.time_limit:g} s.")
        return results[0]

    def ask(
        self, llm: LLM, endpoint: Endpoint, question: Question | None = None, **kwargs: Any
    ) -> list[Response]:
        """Get all items of an answer, within the time limit."""
        asked = self.question(endpoint) if question is None else question
        if endpoint.is_async:
            return self.run_async(acollect(llm, endpoint, asked, **kwargs))
        return self.run(lambda: collect(llm, endpoint, asked, **kwargs))

    def text(
        self, llm: LLM, endpoint: Endpoint, question: Question | None = None, **kwargs: Any
    ) -> str:
        """Get the text of an answer, within the time limit."""
        return text_of(self.ask(llm, endpoint, question, **kwargs)[-1])
