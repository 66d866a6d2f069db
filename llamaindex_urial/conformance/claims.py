"""What an LLM claims to do, and how the tests call it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.calls import (
    Endpoint,
    Question,
    Response,
    acollect,
    collect,
    text_of,
)

__all__ = ["LLMClaims", "contract"]

P = ParamSpec("P")
T = TypeVar("T")

_GRACE = 1.0  # seconds in which a call in an event loop can be cancelled


def contract(
    relied_on_by: str, endpoints: Sequence[Endpoint] = ()
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Mark a test whose docstring is a rule of LlamaIndex's contract.

    Whatever error the test fails with gets the rule as a note.

    Args:
        relied_on_by: Where the rule comes from: the code in llama-index-core that relies on it.
        endpoints: What the test's argument ``endpoint`` is parametrized with.
    """

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        rule = " ".join(inspect.cleandoc(test.__doc__ or "").split())

        @wraps(test)
        def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            __tracebackhide__ = True
            try:
                test(*args, **kwargs)
            except (Exception, pytest.fail.Exception) as error:
                error.add_note(f"Contract: {rule}\nRelied on by: {relied_on_by}")
                raise

        if not endpoints:
            return checked
        return pytest.mark.parametrize("endpoint", endpoints, ids=str)(checked)

    return decorate


class LLMClaims:
    """What the tests know of the LLM: override these in your class.

    Only the fixture ``llm`` is required. Inputs and claims have defaults; override them with
    attributes or properties. Tests of what an LLM does not claim are skipped, with the claim as the
    reason. Claims that langchain-tests has too have the same names.
    """

    @pytest.fixture
    def llm(self) -> LLM:
        """Return the LLM to test. One LLM may serve all tests: widen the fixture's scope."""
        raise NotImplementedError("Override the fixture `llm` and return your LLM.")

    @pytest.fixture
    def failing_llm(self) -> LLM:
        """Return an LLM of the same class whose model fails, at once or amid the answer."""
        pytest.skip("no fixture `failing_llm`")

    # Inputs

    prompt: str = "Tell me in a few sentences what bees do all day."
    """A prompt that gets an answer of at least four words."""

    time_limit: float = 60.0
    """Seconds that one call may take."""

    secrets: Sequence[str] = ()
    """Texts, such as its API key, that no event and no dictionary may hold."""

    @property
    def messages(self) -> list[ChatMessage]:
        """Messages that get an answer of at least four words. Default: the prompt."""
        return [ChatMessage(role="user", content=self.prompt)]

    # Claims

    is_deterministic: bool = True
    """The same question gets the same answer from all methods."""

    supports_formatted: bool = True
    """``complete(..., formatted=True)`` passes the prompt on unchanged."""

    supports_stop: bool = True
    """``stop=[...]`` of a call ends the answer before such a text."""

    has_native_async: bool = True
    """The async methods do not block the event loop."""

    returns_usage_metadata: bool = False
    """``raw`` holds the number of tokens read and written."""

    supports_concurrency: bool = False
    """Several answers awaited together take less time than in turn."""

    cancels_on_close: bool = False
    """Closing a stream early stops generation; override ``generation_stopped`` too.

    llama-index-core's own decorators do not ensure this.
    """

    closes_without_error: bool = False
    """Closing a stream early is not reported as an error.

    llama-index-core's own decorators report ``GeneratorExit`` as one.
    """

    supports_image_inputs: bool = False
    """Images in messages reach the model; if not, an error or a warning must say so."""

    has_tool_calling: bool = False
    """It is a ``FunctionCallingLLM`` that calls tools."""

    @property
    def has_tool_choice(self) -> bool:
        """``tool_choice="name"`` forces that tool. Default: as ``has_tool_calling``."""
        return self.has_tool_calling

    @property
    def has_structured_output(self) -> bool:
        """It fills in pydantic classes. Default: as ``has_tool_calling``."""
        return self.has_tool_calling

    # Inspection

    def seen_by_model(self, llm: LLM) -> str | None:
        """Return the text that the model itself got last; ``None`` (default) if unknown."""
        del llm
        return None

    def generation_stopped(self, llm: LLM) -> bool:
        """Return whether generation for the stream that was closed last has stopped."""
        raise NotImplementedError("Claiming `cancels_on_close` needs `generation_stopped(llm)`.")

    # Calls

    _runner: ClassVar[asyncio.Runner]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _event_loop_of_the_class(cls) -> Generator[None]:
        # One loop for a class: clients that are kept open belong to the loop that opened them.
        cls._runner = asyncio.Runner()
        yield
        cls._runner.close()

    def needs(self, claim: str) -> None:
        """Skip the test if this is not claimed."""
        if not getattr(self, claim):
            pytest.skip(f"not claimed: {claim}")

    def needs_seen_by_model(self, llm: LLM) -> str:
        """Return the text that the model got last, or skip the test if it is unknown."""
        seen = self.seen_by_model(llm)
        if seen is None:
            pytest.skip("`seen_by_model` is not overridden")
        return seen

    def check_no_secret(self, values: Iterable[Any]) -> None:
        """Fail if any of the values holds a secret."""
        texts = [repr(value) for value in values]
        for secret in self.secrets:
            assert not any(secret in text for text in texts), "a secret"  # do not show which

    def question(self, endpoint: Endpoint) -> Question:
        """Return what to ask by this method."""
        return self.messages if endpoint.is_chat else self.prompt

    def run_async(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run in the event loop of the class, within the time limit."""
        limited = asyncio.wait_for(coroutine, self.time_limit)
        return self.run(lambda: self._runner.run(limited), _GRACE)

    def run(self, function: Callable[[], T], grace: float = 0.0) -> T:
        """Run in a thread, within the time limit and the seconds of grace."""
        future = Future[T]()

        def work() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - raised in the caller
                future.set_exception(error)

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(work,), daemon=True).start()
        if not wait([future], self.time_limit + grace).done:
            type(self)._runner = asyncio.Runner()  # noqa: SLF001 - a stuck loop cannot be closed
            raise TimeoutError(f"The call took longer than {self.time_limit:g} s.")
        return future.result()

    def call(self, llm: LLM, method: str | Endpoint, *args: Any, **kwargs: Any) -> list[Any]:
        """Call a method, sync or async, and return its items, within the time limit.

        Args:
            llm: The LLM.
            method: The method, or its name. A whole response is a list of one.
            args: The method's positional arguments.
            kwargs: Its keyword arguments.
        """
        endpoint = Endpoint(method) if isinstance(method, str) else method
        if endpoint.is_async:
            return self.run_async(acollect(llm, endpoint, *args, **kwargs))
        return self.run(lambda: collect(llm, endpoint, *args, **kwargs))

    def ask(
        self, llm: LLM, endpoint: Endpoint, question: Question | None = None, **kwargs: Any
    ) -> list[Response]:
        """Return all items of the answer to a question (default: ``prompt`` or ``messages``)."""
        asked = self.question(endpoint) if question is None else question
        return self.call(llm, endpoint, asked, **kwargs)

    def text(self, llm: LLM, *args: Any, **kwargs: Any) -> str:
        """Return the text of the answer that ``ask`` gets with these arguments."""
        return text_of(self.ask(llm, *args, **kwargs)[-1])

    def close_early(self, llm: LLM, endpoint: Endpoint) -> Any:
        """Open a stream, read one item, close the stream, and return it."""
        question = self.question(endpoint)

        async def close_awaited() -> Any:
            stream = await endpoint.call(llm, question)
            await anext(stream)
            await stream.aclose()
            return stream

        def close() -> Any:
            stream = endpoint.call(llm, question)
            next(stream)
            stream.close()
            return stream

        return self.run_async(close_awaited()) if endpoint.is_async else self.run(close)
