"""A program: ``urial`` with a fake model that streams slowly and without end."""

import time
from collections.abc import Generator

from urial_core import CompletionChunk, CompletionRequest
from urial_core.cli import chat_command
from urial_core.cli.__main__ import main
from urial_core.testing import FakeModel


class Endless(FakeModel):
    """Streams words for a minute."""

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Yield a word every hundredth of a second."""
        for _ in range(6000):
            time.sleep(0.01)
            yield CompletionChunk("word ")


vars(chat_command)["load_model"] = lambda *_: (Endless(), "endless")
main()
