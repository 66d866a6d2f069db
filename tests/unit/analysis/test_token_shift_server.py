"""``urial_core.analysis.shift`` on a vLLM server: requests, rows, refusals, failures, resuming."""

from __future__ import annotations

import csv
import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")
pytest.importorskip("jinja2")
pytest.importorskip("openai")

from stub_server import StubServer, serving

from urial_core import Completion, UnsupportedModelError, load_prompt
from urial_core.analysis import shift
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.backends.completions_server.prompt_logprobs import scored_as_written
from urial_core.completion import TokenLogprob

pytestmark = pytest.mark.enable_socket

QUESTIONS = ["Why?", ["Boats?", "And rivers?"]]
ANSWER = "Yes.\n````"
BEGIN = 2
RANKS = {"Y": 9, ".": 3, "`": 2}
"""Ranks under the base model of the characters of the answer; 1 for others."""
LOGPROBS = {1: -0.25, 2: -0.625, 3: -1.0, 9: -5.0}
OTHERS = ((1, "a", -0.5), (2, "b", -0.75), (3, "c", -1.5), (4, "d", -3.0), (5, "e", -4.0))
"""Other tokens at each position, by their rank among these; the ids 1000 + rank."""


def encoded(text: str) -> list[int]:
    """Return a text's tokens: each character is one, and its code is the id."""
    return [BEGIN, *map(ord, text)]


def decoded(ids: list[int]) -> str:
    """Return the text of tokens."""
    return "".join(chr(token) for token in ids if token != BEGIN)


def entry(token: int) -> dict[str, Any]:
    """Return a position of ``prompt_logprobs``: the five best tokens, and the prompt's own.

    As vLLM does, it counts tokens that are as probable in the rank.
    """
    rank = RANKS.get(chr(token), 1)
    above = [other for other in OTHERS if other[2] > LOGPROBS[rank]]
    others = OTHERS if rank > 5 else [*above, *OTHERS[len(above) : 4]]
    found = {str(1000 + n): {"logprob": p, "rank": n, "decoded_token": t} for n, t, p in others}
    own = {"logprob": LOGPROBS[rank], "rank": rank, "decoded_token": chr(token)}
    return {str(token): own, **found}


class FakeVllm:
    """Answers as vLLM does; a model that always writes ``ANSWER``.

    Attributes:
        removed: The fields that its responses lack.
        damaged: Questions whose answers are scored without log-probabilities.
        top: The most probable tokens while it writes, besides the token itself.
    """

    def __init__(self) -> None:
        self.removed = set[str]()
        self.damaged = set[str]()
        self.top = {name: value - 1 for _, name, value in OTHERS[:4]}

    def __call__(self, body: dict[str, Any]) -> bytes:
        if "max_tokens" not in body:
            return json.dumps(self.tokens(body)).encode()
        scores = "prompt_logprobs" in body
        choice = self.scored(body["prompt"]) if scores else self.written()
        if scores and any(question in decoded(body["prompt"]) for question in self.damaged):
            choice.pop("prompt_logprobs")
        choice = {name: value for name, value in choice.items() if name not in self.removed}
        return json.dumps({"choices": [{"index": 0, **choice}]}).encode()

    def tokens(self, body: Mapping[str, Any]) -> Any:
        if "tokens" in self.removed:
            return {}
        if "messages" in body:
            text = "".join(f"<{m['role']}>{m['content']}" for m in body["messages"])
            return {"tokens": encoded(f"{text}<assistant>")}
        return {"tokens": encoded(body["prompt"])}

    def scored(self, ids: list[int]) -> dict[str, Any]:
        entries = [None, *(entry(token) for token in ids[1:])]
        return {
            "text": "x",
            "finish_reason": "length",
            "token_ids": [7],
            "prompt_logprobs": entries,
        }

    def written(self) -> dict[str, Any]:
        tops = [{character: -0.125, **self.top} for character in ANSWER]
        logprobs = {"tokens": [*ANSWER], "token_logprobs": [-0.125] * len(ANSWER)}
        return {
            "text": ANSWER,
            "finish_reason": "stop",
            "token_ids": [ord(character) for character in ANSWER],
            "logprobs": {**logprobs, "top_logprobs": tops},
        }


@pytest.fixture
def vllm() -> FakeVllm:
    """What the server answers."""
    return FakeVllm()


@pytest.fixture
def server(vllm: FakeVllm) -> Generator[StubServer]:
    """The server."""
    with serving(vllm) as running:
        yield running


def model_of(server: StubServer, name: str = "base") -> CompletionsServerModel:
    """Return a model of the server."""
    return CompletionsServerModel(server.url, name, dialect="vllm", max_retries=0)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of ``tokens.jsonl``."""
    return [json.loads(line) for line in (folder / "tokens.jsonl").read_text("utf-8").splitlines()]


def written_prompts(server: StubServer) -> list[dict[str, Any]]:
    """Return the bodies of the requests for answers."""
    return [body for body in server.bodies if "stop" in body]


def scored_prompts(server: StubServer) -> list[str]:
    """Return the prompts that were scored, after the probe."""
    found = [body["prompt"] for body in server.bodies if "prompt_logprobs" in body]
    return [decoded(ids) for ids in found[1:]]


def test_requests(server: StubServer, tmp_path: Path) -> None:
    """Answers are asked for with their token ids, and read after the conversation's turns alone."""
    shift(QUESTIONS[:1], model=model_of(server), output=tmp_path, max_tokens=12)
    [answered] = written_prompts(server)
    turns = "# Query:\n````\nWhy?\n````\n\n# Answer:\n````\n"
    assert answered["prompt"] == encoded(f"{load_prompt().prefix}\n{turns}")
    assert (answered["max_tokens"], answered["temperature"]) == (12, 0)
    assert (answered["return_token_ids"], answered["logprobs"]) == (True, 5)
    assert scored_prompts(server) == [turns + ANSWER]
    scoring = server.bodies[-1]
    assert (scoring["prompt_logprobs"], scoring["max_tokens"]) == (5, 1)


def test_rows(server: StubServer, tmp_path: Path) -> None:
    """A row has each token's rank and log-probability and the top five of both sides, and no KL."""
    shift(QUESTIONS, model=model_of(server), output=tmp_path, max_tokens=12)
    rows = rows_of(tmp_path)
    assert sorted((row["id"], row["turn"]) for row in rows) == [("1", 1), ("2", 1), ("2", 2)]
    for row in rows:
        assert (row["answer"], row["end_reason"], row["error"]) == ("Yes.", "delimiter", "")
        assert "".join(token["text"] for token in row["tokens"]) == ANSWER
        ends = [token["ends"] for token in row["tokens"]]
        assert ends == [False] * 4 + [True] * 5
        for token in row["tokens"]:
            rank = RANKS.get(token["text"], 1)
            assert (token["id"], token["rank"]) == (ord(token["text"]), rank)
            assert (token["logprob"], token["kl"]) == (LOGPROBS[rank], None)
            assert (token["aligned_rank"], token["aligned_logprob"]) == (1, -0.125)
            assert token["aligned_top"][:2] == [[token["text"], -0.125], ["a", -1.5]]
            assert len(token["top"]) == len(token["aligned_top"]) == 5
            assert [p for _, p in token["top"]] == sorted(
                (p for _, p in token["top"]), reverse=True
            )


def test_a_later_turn_has_the_earlier_answers(server: StubServer, tmp_path: Path) -> None:
    """The base model reads the aligned side's earlier answers."""
    shift(QUESTIONS[1:], model=model_of(server), output=tmp_path, max_tokens=12)
    assert (
        "# Answer:\n````\nYes.\n````\n\n# Query:\n````\nAnd rivers?" in scored_prompts(server)[-1]
    )


def test_files_without_divergence(server: StubServer, tmp_path: Path) -> None:
    """Its cells in the table are empty, and the report has no column or plot, and says so."""
    summary = shift(QUESTIONS, model=model_of(server), output=tmp_path, max_tokens=12)
    assert {figures.kl for figures in summary.groups} == {None}
    assert {curve.measure for curve in summary.curves} == {"probability", "rank"}
    with (tmp_path / "summary.csv").open(encoding="utf-8") as file:
        first, *_ = csv.DictReader(file)
    assert (first["kl"], first["kl_low"], first["tokens"]) == ("", "", "27")
    assert float(first["shifted"]) == pytest.approx(1 / 9)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "KL, nats</th>" not in page
    assert "There is no KL divergence" in page


def test_tied_tokens(server: StubServer, vllm: FakeVllm, tmp_path: Path) -> None:
    """A token that is as probable as another has the better rank, as in this process."""
    tied = {"logprob": LOGPROBS[2], "rank": 1, "decoded_token": "x"}
    scored = vllm.scored
    vllm.scored = (
        lambda ids: {  # type: ignore[method-assign]
            **scored(ids),
            "prompt_logprobs": [
                None,
                *({**entry(token), "999": tied, "1002": tied} for token in ids[1:]),
            ],
        }
    )
    shift(QUESTIONS[:1], model=model_of(server), output=tmp_path, max_tokens=12)
    [row] = rows_of(tmp_path)
    assert {token["rank"] for token in row["tokens"] if token["text"] == "`"} == {2}


@pytest.mark.parametrize(
    "top",
    [
        {"a": -0.01, "b": -0.02, "c": -0.03, "d": -0.04, "e": -0.05},  # a rank of 6 or more
        {"a": -0.5, "b": -0.75, "c": -1.0},  # two tokens had the same text
    ],
)
def test_an_open_rank(
    server: StubServer, vllm: FakeVllm, top: dict[str, float], tmp_path: Path
) -> None:
    """Where the five best tokens leave the aligned side's rank open, it reads the answer again."""
    vllm.top = top
    shift(QUESTIONS[:1], model=model_of(server), output=tmp_path, max_tokens=12)
    aligned, base = scored_prompts(server)
    assert aligned == load_prompt().prefix + "\n" + base
    [row] = rows_of(tmp_path)
    assert [token["aligned_rank"] for token in row["tokens"]] == [
        token["rank"] for token in row["tokens"]
    ]


def test_ranks_while_writing() -> None:
    """Ranks below five come from the completion; a token that it does not report leaves it open."""
    top = (("a", -0.5), ("b", -1.0), ("c", -2.0), ("d", -3.0), ("e", -4.0))
    completion = Completion("c", logprobs=(TokenLogprob("c", -2.0, top),), token_ids=(7,))
    found = scored_as_written(completion)
    assert found is not None
    assert (found[0].rank, found[0].top) == (3, top)
    assert scored_as_written(Completion("c", token_ids=(7,))) is None


@pytest.mark.parametrize("removed", ["prompt_logprobs", "token_ids", "tokens"])
def test_a_server_that_cannot_score(
    server: StubServer, vllm: FakeVllm, removed: str, tmp_path: Path
) -> None:
    """It is refused before any answer is written, and the error says what to do."""
    vllm.removed = {removed}
    with pytest.raises(UnsupportedModelError, match="Serve the model with a recent vLLM"):
        shift(QUESTIONS, model=model_of(server), output=tmp_path, max_tokens=12)
    assert not written_prompts(server)
    assert rows_of(tmp_path) == []


def test_failures_are_counted(server: StubServer, vllm: FakeVllm, tmp_path: Path) -> None:
    """An answer that cannot be scored is a row with its error, and is tried again."""
    vllm.damaged = {"Boats?"}
    summary = shift(QUESTIONS, model=model_of(server), output=tmp_path, max_tokens=12)
    assert (summary.answers, summary.failed) == (1, 2)
    errors = {(row["id"], row["turn"]): row["error"] for row in rows_of(tmp_path)}
    assert "no log-probabilities" in errors["2", 1]
    vllm.damaged = set()
    assert shift(QUESTIONS, model=model_of(server), output=tmp_path, max_tokens=12).answers == 3


def test_an_answer_without_token_ids(server: StubServer, vllm: FakeVllm, tmp_path: Path) -> None:
    """An answer whose tokens are unknown fails; they are not guessed from its text."""
    written = vllm.written
    vllm.written = lambda: {**written(), "token_ids": None}  # type: ignore[method-assign]
    shift(QUESTIONS[:1], model=model_of(server), output=tmp_path, max_tokens=12)
    [row] = rows_of(tmp_path)
    assert (row["error"], row["tokens"]) == ("The server sent no token ids with its answer.", [])


def test_resuming(server: StubServer, tmp_path: Path) -> None:
    """After a kill, only what is missing is answered; where nothing is, nothing is generated."""
    model = model_of(server)
    whole = shift(QUESTIONS, model=model, output=tmp_path, max_tokens=12)
    file = tmp_path / "tokens.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1] + lines[2][:-20])
    server.bodies.clear()
    again = shift(QUESTIONS, model=model, output=tmp_path, max_tokens=12)
    assert again.groups == whole.groups
    assert file.read_bytes() == b"".join(lines)
    assert len(written_prompts(server)) == 1
    server.bodies.clear()
    shift(QUESTIONS, model=model, output=tmp_path, max_tokens=12)
    assert server.bodies == []


def test_against_a_served_model(server: StubServer, tmp_path: Path) -> None:
    """A tuned model behind a server sees the conversation in its own chat template."""
    base = model_of(server)
    summary = shift(
        QUESTIONS[1:], model=base, against=base.with_model("tuned"), output=tmp_path, max_tokens=12
    )
    first, second = written_prompts(server)
    assert (first["model"], decoded(first["prompt"])) == ("tuned", "<user>Boats?<assistant>")
    assert (
        decoded(second["prompt"]) == f"<user>Boats?<assistant>{ANSWER}<user>And rivers?<assistant>"
    )
    assert (summary.base, summary.aligned, summary.answers) == ("base", "tuned", 2)


def test_different_vocabularies(server: StubServer, tmp_path: Path) -> None:
    """Models that encode a text differently are refused before any answer is written."""

    class Other(FakeVllm):
        def tokens(self, body: Mapping[str, Any]) -> Any:
            return {"tokens": [token + 1 for token in super().tokens(body)["tokens"]]}

    with serving(Other()) as other, pytest.raises(UnsupportedModelError, match="vocabularies"):
        shift(QUESTIONS, model=model_of(server), against=model_of(other), output=tmp_path)
    assert not written_prompts(server)


def test_a_token_with_another_text(server: StubServer, vllm: FakeVllm, tmp_path: Path) -> None:
    """Models that have another text for a token of an answer are refused, too."""

    class Other(FakeVllm):
        def written(self) -> dict[str, Any]:
            choice = super().written()
            choice["logprobs"]["tokens"][1] = "E"
            return choice

    with serving(Other()) as other, pytest.raises(UnsupportedModelError, match="'E'"):
        shift(QUESTIONS, model=model_of(server), against=model_of(other), output=tmp_path)


def test_a_model_without_chat_template(server: StubServer, tmp_path: Path) -> None:
    """A served model to compare with must have a chat template; the error says so."""

    class Other(FakeVllm):
        def tokens(self, body: Mapping[str, Any]) -> Any:
            return {} if "messages" in body else super().tokens(body)

    with serving(Other()) as other, pytest.raises(UnsupportedModelError, match="chat template"):
        shift(QUESTIONS, model=model_of(server), against=model_of(other), output=tmp_path)


def test_one_side_in_this_process(server: StubServer, tmp_path: Path) -> None:
    """Both sides run in this process, or both on servers; anything else is an error at once."""
    pytest.importorskip("torch")
    from urial_core.backends.transformers import TransformersModel

    with pytest.raises(UnsupportedModelError, match="serve both"):
        shift(
            QUESTIONS,
            model=TransformersModel("some/model"),
            against=model_of(server),
            output=tmp_path,
        )
