"""Example pool: question-and-answer pairs, from which those nearest to a question are taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from urial_core.analysis.embedding import Embedding
from urial_core.analysis.text_files import read_lines
from urial_core.errors import AnalysisError, ParameterError
from urial_core.prompts.prompt import Example

__all__ = ["ExamplePool", "load_pool", "read_pool"]


class _Line(BaseModel):
    query: str = Field(pattern=r"\S", validation_alias=AliasChoices("question", "query"))
    answer: str = Field(pattern=r"\S")


def read_pool(path: Path) -> list[Example]:
    """Read pairs from a JSONL file: each line is ``{"question": ..., "answer": ...}``.

    Raises:
        AnalysisError: The file is missing, empty, not UTF-8 or of another format (``*.json``), or
            a line is invalid; the message names the line.
    """
    pairs = list[Example]()
    for number, line in read_lines(path):
        try:
            pair = _Line.model_validate_json(line)
        except ValidationError as error:
            fault = error.errors()[0]
            key = "".join(f"{part}: " for part in fault["loc"])
            raise AnalysisError(f"{path}, line {number}: {key}{fault['msg']}.") from error
        pairs.append(Example(pair.query, pair.answer))
    if not pairs:
        raise AnalysisError(f"{path} holds no question-and-answer pairs.")
    return pairs


def load_pool(source: Path | Sequence[Example], *, has_embedding: bool) -> Sequence[Example]:
    """Return the pairs of a pool that an embedding model is to search.

    Args:
        source: The pairs, or a JSONL file of them (see ``read_pool``).
        has_embedding: Whether there is an embedding model.

    Raises:
        AnalysisError: There are no pairs, or the file is invalid.
        ParameterError: There is no embedding model.
    """
    if not has_embedding:
        raise ParameterError("The pool needs an embedding model: give one as embedding.")
    pairs = read_pool(source) if isinstance(source, Path) else source
    if not pairs:
        raise AnalysisError("The pool holds no question-and-answer pairs.")
    return pairs


class ExamplePool:
    """Pairs with the embeddings of their questions."""

    def __init__(self, pairs: Sequence[Example], embedding: Embedding) -> None:
        """Embed the pairs' questions.

        Args:
            pairs: The pairs; at least one.
            embedding: The embedding model.
        """
        self.pairs = tuple(pairs)
        self.embedding_settings = embedding.settings
        self._embedding = embedding
        self._vectors = embedding.documents([pair.query for pair in pairs])

    def nearest(self, question: str, count: int) -> list[Example]:
        """Return the pairs whose questions are nearest to a question, the nearest one last.

        A pair with that very question is left out, since it would give the answer away.

        Args:
            question: The question.
            count: How many pairs; fewer if the pool holds fewer.
        """
        similarity = self._vectors @ self._embedding.queries([question])[0]
        same = question.split()
        ranked = (self.pairs[number] for number in similarity.argsort(kind="stable")[::-1])
        others = [pair for pair in ranked if pair.query.split() != same]
        return others[:count][::-1]
