"""Run as a program: ``urial`` with a scripted model that writes without end, slowly."""

import time
from collections.abc import Generator

from urial_core import CompletionChunk, CompletionRequest
from urial_core.cli import chat_command
from urial_core.cli.entry import main
from urial_core.cli.model_choice import ReadyModel
from urial_core.testing import FakeModel


class Endless(FakeModel):
    """Writes words for a minute."""

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Write a word every hundredth of a second."""
        for _ in range(6000):
            time.sleep(0.01)
            yield CompletionChunk("word ")


vars(chat_command)["ready_model"] = lambda choice, console: ReadyModel(Endless(), "endless")
main()
