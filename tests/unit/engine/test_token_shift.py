"""``urial_core.analysis.shift`` on tiny models: rows, resuming, failures, both kinds of sides."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("numpy")
pytest.importorskip("jinja2")

from urial_core import AnalysisError, PromptFormat, UnsupportedModelError, load_prompt
from urial_core.analysis import shift
from urial_core.backends.transformers import TransformersModel

QUESTIONS = ["Why do cats purr?", ["Tell me about boats.", "And about rivers?"]]
TEMPLATE = (
    "{% for message in messages %}<pad>{{ message['role'] }}: {{ message['content'] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<pad>assistant:{% endif %}"
)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of ``tokens.jsonl``."""
    return [json.loads(line) for line in (folder / "tokens.jsonl").read_text("utf-8").splitlines()]


def logprobs(model: Any, text_ids: list[int], answer: list[int]) -> torch.Tensor:
    """Log-probabilities before each token of an answer, in float64, without any cache."""
    with torch.no_grad():
        logits = model(torch.tensor([text_ids + answer])).logits[0]
    return logits[len(text_ids) - 1 : -1].double().log_softmax(-1)


def check_row(row: dict[str, Any], aligned: torch.Tensor, base: torch.Tensor) -> None:
    """A row's ranks are exact, its probabilities right to 1e-4."""
    for at, token in enumerate(row["tokens"]):
        for side, expected in (("", base[at]), ("aligned_", aligned[at])):
            rank = int((expected > expected[token["id"]]).sum()) + 1
            assert token[f"{side}rank"] == rank
            probability = expected[token["id"]].exp().item()
            assert math.exp(token[f"{side}logprob"]) == pytest.approx(probability, abs=1e-4)
            best = expected.topk(5).values.exp().tolist()
            assert [math.exp(p) for _, p in token[f"{side}top"]] == pytest.approx(best, abs=1e-4)
        kl = (aligned[at].exp() * (aligned[at] - base[at])).sum().item()
        assert token["kl"] == pytest.approx(kl, abs=1e-4)


def test_against_a_prompt(
    make_model: Callable[..., Any], tokenizer: Any, plain_architecture: str, tmp_path: Path
) -> None:
    """The base side sees the conversation's turns alone; both sides are as without any cache.

    The contexts are written out here, second turn included, and read in one pass for each answer.
    """
    raw = make_model(plain_architecture)
    summary = shift(
        QUESTIONS, model=TransformersModel(raw, tokenizer), output=tmp_path, max_tokens=24
    )
    prompt = load_prompt("default")
    first, boats, rivers = rows_of(tmp_path)
    boats, rivers = sorted([boats, rivers], key=lambda row: row["turn"])
    history = turn("Tell me about boats.") + answered(boats["answer"])
    for row, turns in [
        (first, turn("Why do cats purr?")),
        (boats, turn("Tell me about boats.")),
        (rivers, history + turn("And about rivers?")),
    ]:
        context = f"{turns}\n# Answer:\n````\n"
        answer = [token["id"] for token in row["tokens"]]
        sides = (prompt.prefix + context, context.removeprefix("\n"))
        found = (logprobs(raw, tokenizer(text)["input_ids"], answer) for text in sides)
        check_row(row, *found)
    assert summary.groups[0].tokens == sum(len(row["tokens"]) for row in rows_of(tmp_path))
    assert (tmp_path / "summary.csv").is_file()
    assert (tmp_path / "report.html").is_file()


def turn(query: str) -> str:
    """Return a query as the default format has it."""
    return f"\n# Query:\n````\n{query}\n````\n"


def answered(answer: str) -> str:
    """Return an answer as the default format has it."""
    return f"\n# Answer:\n````\n{answer}\n````\n"


def test_against_a_tuned_model(
    make_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    """A tuned model sees its own chat template with its special tokens, the base plain turns."""
    import copy

    raw, other = make_model("llama"), make_model("gpt2")
    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = TEMPLATE
    models = TransformersModel(raw, tokenizer), TransformersModel(other, chatty)
    shift(["Why?"], model=models[0], against=models[1], output=tmp_path, max_tokens=12)
    (row,) = rows_of(tmp_path)
    answer = [token["id"] for token in row["tokens"]]
    text_ids = tokenizer("user: Why?", add_special_tokens=False)["input_ids"]
    cue = tokenizer("assistant:", add_special_tokens=False)["input_ids"]
    context = tokenizer(turn("Why?").removeprefix("\n") + "\n# Answer:\n````\n")["input_ids"]
    aligned = logprobs(other, [2, *text_ids, 1, 2, *cue], answer)
    check_row(row, aligned, logprobs(raw, context, answer))


def test_resuming(make_engine: Callable[..., TransformersModel], tmp_path: Path) -> None:
    """After a kill, only what is missing is answered, and the figures are those of one run."""
    whole = shift(QUESTIONS, model=make_engine(), output=tmp_path / "cut", max_tokens=8)
    file = tmp_path / "cut" / "tokens.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1] + lines[2][:-20])
    done = list[tuple[str, int, int]]()
    summary = shift(
        QUESTIONS,
        model=make_engine(),
        output=tmp_path / "cut",
        max_tokens=8,
        progress=lambda *counts: done.append(counts),
    )
    for found, expected in zip(summary.groups, whole.groups, strict=True):
        assert (found.tokens, found.unshifted) == (expected.tokens, expected.unshifted)
        assert found.kl.mean == pytest.approx(expected.kl.mean, abs=1e-5)
    assert (done[0], done[-1]) == (("Answers", 2, 3), ("Answers", 3, 3))
    assert file.read_bytes().startswith(lines[0] + lines[1])
    assert len(rows_of(tmp_path / "cut")) == 3


def test_nothing_is_loaded_when_all_is_done(
    make_engine: Callable[..., TransformersModel], tmp_path: Path
) -> None:
    """Where every answer is there, the model is not asked for anything."""
    model = make_engine()
    shift(QUESTIONS, model=model, output=tmp_path, max_tokens=4)
    before = len(rows_of(tmp_path))
    again = shift(QUESTIONS, model=model, output=tmp_path, max_tokens=4)
    assert (again.answers, len(rows_of(tmp_path))) == (3, before)


def test_failures_are_counted(
    make_engine: Callable[..., TransformersModel], tmp_path: Path
) -> None:
    """An answer that fails is a row with its error, fails later turns only, and is tried again."""
    questions = [["word " * 3000, "And then?"], "Why?"]
    summary = shift(questions, model=make_engine(), output=tmp_path, max_tokens=4)
    assert (summary.answers, summary.failed) == (1, 2)
    errors = {(row["id"], row["turn"]): row["error"] for row in rows_of(tmp_path)}
    assert "context window" in errors["1", 1]
    assert errors["1", 2] == "An earlier turn has no answer."
    assert errors["2", 1] == ""
    shift(questions, model=make_engine(), output=tmp_path, max_tokens=4)
    assert len(rows_of(tmp_path)) == 3 + 2


def test_a_failing_pass_fails_its_answers_only(
    make_engine: Callable[..., TransformersModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a batch cannot be compared, its answers are compared one by one."""
    from urial_core.backends.transformers import scoring

    compare = scoring.compare_sides

    def fail(aligned: Any, base: Any, pairs: Any) -> Any:
        if any("boats" in pair.base.prompt for pair in pairs):
            raise RuntimeError("out of memory")
        return compare(aligned, base, pairs)

    monkeypatch.setattr(scoring, "compare_sides", fail)
    summary = shift(["Why?", "Boats or boats?"], model=make_engine(), output=tmp_path, max_tokens=4)
    assert (summary.answers, summary.failed) == (1, 1)
    assert "out of memory" in rows_of(tmp_path)[1]["error"]


def test_other_settings_or_questions_are_an_error(
    make_engine: Callable[..., TransformersModel], tmp_path: Path
) -> None:
    """Rows of other settings, or of another question with the same id, are not mixed in."""
    model = make_engine()
    shift(["Why?"], model=model, output=tmp_path, max_tokens=4)
    with pytest.raises(AnalysisError, match="max_tokens"):
        shift(["Why?"], model=model, output=tmp_path, max_tokens=5)
    with pytest.raises(AnalysisError, match="digest"):
        shift(["Why?"], model=model, against="short", output=tmp_path, max_tokens=4)
    with pytest.raises(AnalysisError, match="another question with the id '1'"):
        shift(["How?"], model=model, output=tmp_path, max_tokens=4)


def test_a_model_without_chat_template_is_refused(
    make_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    """A model to compare with must have a chat template; the error says so."""
    base, other = (TransformersModel(make_model(name), tokenizer) for name in ("llama", "gpt2"))
    with pytest.raises(UnsupportedModelError, match="Only a tuned model has a chat template"):
        shift(["Why?"], model=base, against=other, output=tmp_path, max_tokens=4)


def test_the_end_of_an_answer_is_marked(
    make_engine: Callable[..., TransformersModel], tmp_path: Path
) -> None:
    """The tokens of the delimiter or the end of the text, and no others, are those that end it."""
    shift(QUESTIONS, model=make_engine(), output=tmp_path, max_tokens=24)
    for row in rows_of(tmp_path):
        ends = [token["ends"] for token in row["tokens"]]
        assert ends == sorted(ends)
        assert any(ends) == (row["end_reason"] != "length")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("One.\n````\n", 4),
        ("One.\n\n````", 4),
        ("```py\nx\n```\n````\n", 11),
        ("One.\n# Query:\n", 4),
        ("One.", 4),
    ],
)
def test_where_an_answer_ends(text: str, length: int) -> None:
    """The delimiter, with the line break before it, is no part of the answer; a code block is."""
    from urial_core import Completion
    from urial_core.analysis.token_shift.comparing import _length

    assert _length(Completion(text, finish="stop"), PromptFormat()) == length
    assert _length(Completion(text, finish="length"), PromptFormat()) > len(text)
