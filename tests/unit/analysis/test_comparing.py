"""Comparisons: every answer is recorded, nothing is lost, and a second run goes on."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numpy")
pytest.importorskip("jinja2")

from urial_core import GenerationParameters, ModelLoadError
from urial_core.analysis import Answer, Comparison, Question, compare
from urial_core.errors import AnalysisError, ParameterError, UnsupportedModelError
from urial_core.testing import FakeModel

QUESTIONS = [Question("one", ("Why is the sky blue?", "And at night?")), Question("two", ("Hi?",))]
METHODS = ["zero_shot", "urial:short"]
END = "\n````\n"


class LetterCounts:
    """An embedding model of two dimensions."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(text.count("e")), float(text.count("i"))]


def run(
    output: Path, model: FakeModel, methods: list[str] | None = None, **options: object
) -> Comparison:
    """Compare with a model that answers in order, one conversation at a time."""
    given = {"questions": QUESTIONS, "concurrency": 1, **options}
    return compare(methods=methods or METHODS, output=output, model=model, **given)  # type: ignore[arg-type]


def rows_of(output: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (output / "answers.jsonl").read_text().splitlines()]


def test_every_turn_is_answered_by_every_method(tmp_path: Path) -> None:
    """Each answer is a row; a later turn is asked with the earlier reply before it."""
    model = FakeModel(*[f"Reply {number}.{END}" for number in range(6)])
    found = run(tmp_path, model)
    assert [(row["method"], row["question"], row["turn"]) for row in rows_of(tmp_path)] == [
        ("zero_shot", "one", 1),
        ("zero_shot", "one", 2),
        ("zero_shot", "two", 1),
        ("urial:short", "one", 1),
        ("urial:short", "one", 2),
        ("urial:short", "two", 1),
    ]
    assert "Reply 0.\n````\n\n# Query:\n````\nAnd at night?" in model.requests[1].prompt
    answer = found.answers["zero_shot", "one", 2]
    assert (answer.text, answer.query, answer.end) == ("Reply 1.", "And at night?", "delimiter")
    assert found.failed == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *("answers.jsonl", "answers.settings.json", "summary.csv", "report.html")
    }


def test_the_summary_holds_first_and_later_turns(tmp_path: Path) -> None:
    """``summary.csv`` has the mean of each measure, for first and later turns apart."""
    run(tmp_path, FakeModel(f"one two three{END}", f"one{END}", f"a b c d e{END}"))
    with (tmp_path / "summary.csv").open(newline="") as file:
        rows = {(r["method"], r["turns"], r["measure"]): r for r in csv.DictReader(file)}
    words = rows["zero_shot", "first", "words"]
    assert (float(words["mean"]), float(words["low"]), float(words["high"])) == (4, 3, 5)
    assert (words["answers"], words["difference"]) == ("2", "")
    later = rows["urial:short", "later", "words"]
    assert (float(later["mean"]), later["answers"], float(later["difference"])) == (1, "1", 0)


@given(cut=st.floats(0, 1))
def test_a_run_goes_on_after_a_kill(tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    """Wherever a kill cut the file, a second run asks for what is missing and for nothing else."""
    output = tmp_path_factory.mktemp("run")
    before = run(output, FakeModel(f"Same.{END}"))
    path = output / "answers.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    kept = path.read_bytes().count(b"\n")
    model = FakeModel(f"Same.{END}")
    after = run(output, model)
    assert len(model.requests) in (6 - kept, 6 - kept - 1)  # the last line may lack its end only
    assert {key: answer.text for key, answer in after.answers.items()} == {
        key: answer.text for key, answer in before.answers.items()
    }
    assert len(rows_of(output)) == 6


def test_a_killed_process_loses_the_answer_in_progress_only(tmp_path: Path) -> None:
    """Each answer is in the file as soon as it is there: a killed process leaves it behind."""
    program = (
        "import sys; from pathlib import Path; from urial_core.analysis import compare;"
        "from urial_core.testing import FakeModel;"
        f"compare([f'Why {{n}}?' for n in range(50)], ['zero_shot'],"
        f" output=Path({str(tmp_path)!r}), model=FakeModel([{f'Same.{END}'!r}], delay=0.1),"
        " concurrency=1, progress=lambda what, done, total: print(done, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reported = 0
    while reported < 5:
        reported = int(process.stdout.readline())
    process.kill()
    process.communicate()
    kept = len(rows_of(tmp_path))
    assert kept in (reported, reported + 1)
    model = FakeModel([f"Same.{END}"])
    found = run(tmp_path, model, ["zero_shot"], questions=[f"Why {n}?" for n in range(50)])
    assert len(model.requests) == 50 - kept
    assert found.failed == 0


def test_methods_and_questions_may_be_added(tmp_path: Path) -> None:
    """What is there stays; only new methods and questions are answered."""
    run(tmp_path, FakeModel(f"Old.{END}"))
    model = FakeModel(f"Old.{END}")
    asked = [*QUESTIONS, Question("three", ("New?",))]
    found = run(tmp_path, model, [*METHODS, "vanilla"], questions=asked)
    assert len(model.requests) == 2 + 4
    assert len(found.answers) == 12


def test_other_settings_are_refused(tmp_path: Path) -> None:
    """Answers of another sampling, prompt or model are never mixed with new ones."""
    run(tmp_path, FakeModel(f"A.{END}"))
    with pytest.raises(AnalysisError, match="max_tokens it was None, and is now 5"):
        run(tmp_path, FakeModel(f"A.{END}"), parameters=GenerationParameters(max_tokens=5))
    with pytest.raises(AnalysisError, match="'model'"):
        run(tmp_path, FakeModel(f"B.{END}"))
    with pytest.raises(AnalysisError, match="turn 1 of question 'two'"):
        run(tmp_path, FakeModel(f"A.{END}"), questions=[Question("two", ("Other?",))])


def test_failures_are_rows(tmp_path: Path) -> None:
    """An answer that fails is recorded with its error, counted, and asked for again later."""
    broken = FakeModel([RuntimeError("out of memory")], f"Fine.{END}", f"Fine.{END}")
    found = run(tmp_path, broken, ["zero_shot"])
    assert [row["error"] for row in rows_of(tmp_path)] == [
        *("out of memory", "not asked, since turn 1 failed", "")
    ]
    assert found.failed == 2
    assert found.values["zero_shot", "one", 1] == {"failed": 1}
    by_name = {(row.turns, row.measure): row for row in found.summary}
    assert by_name["first", "failed"].mean == 0.5
    assert by_name["first", "words"].answers == 1
    assert "2 failed" in found.report.read_text()
    broken.requests.clear()
    broken.requests.append(object())  # type: ignore[arg-type]  # so that it fails no more
    assert run(tmp_path, broken, ["zero_shot"]).failed == 0
    assert len(rows_of(tmp_path)) == 5


def test_nothing_but_failures_is_an_error(tmp_path: Path) -> None:
    """If every answer fails, the comparison is an error that shows why."""
    with pytest.raises(AnalysisError, match=r"All 6 answers failed.*no memory"):
        run(tmp_path, FakeModel([RuntimeError("no memory")]))


def test_a_model_that_cannot_be_loaded_ends_it(tmp_path: Path) -> None:
    """After an error that every further answer would have, no further one is tried."""
    model = FakeModel([ModelLoadError("no such file")])
    with pytest.raises(ModelLoadError):
        run(tmp_path, model)
    assert len(model.requests) < 6


def test_conversations_are_held_at_the_same_time(tmp_path: Path) -> None:
    """With a concurrency of four, four slow answers take about as long as one."""
    asked = [f"Question {number}?" for number in range(4)]
    model = FakeModel([f"Yes.{END}"], delay=0.3)
    found = run(tmp_path, model, ["zero_shot"], questions=asked, concurrency=4)
    spans = [answer.seconds for answer in found.answers.values()]
    assert max(spans) < 4 * 0.3


def test_progress_counts_answers(tmp_path: Path) -> None:
    """Progress begins with what earlier runs did, and ends at all answers."""
    run(tmp_path, FakeModel(f"A.{END}"), ["zero_shot"])
    calls = list[tuple[str, int, int]]()
    run(tmp_path, FakeModel(f"A.{END}"), progress=lambda *call: calls.append(call))
    assert calls == [("Answering", done, 6) for done in range(3, 7)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"methods": []}, ParameterError, "no methods"),
        ({"methods": "zero_shot"}, ParameterError, "methods is a text"),
        ({"methods": ["zero_shot", "zero_shot"]}, ParameterError, "named twice"),
        ({"methods": {"mine": object()}}, UnsupportedModelError, "object is no method"),
        ({"methods": ["retrieval"]}, ParameterError, "needs a pool"),
        ({"pool": Path("pool.jsonl")}, ParameterError, "needs an embedding model"),
        ({"pool": [], "embedding": LetterCounts()}, AnalysisError, "no question-and-answer pairs"),
        ({"judge": object()}, UnsupportedModelError, "object cannot judge"),
        ({"concurrency": 0}, ParameterError, "concurrency is 0"),
        ({"questions": Path("nowhere.jsonl")}, AnalysisError, "nowhere.jsonl"),
    ],
)
def test_mistakes_are_found_before_anything_is_asked(
    tmp_path: Path, options: dict[str, object], error: type[Exception], message: str
) -> None:
    """What is invalid is reported before a model runs or a file is written."""
    model = FakeModel()
    given = {"questions": QUESTIONS, "methods": METHODS, **options}
    with pytest.raises(error, match=message):
        compare(output=tmp_path / "out", model=model, **given)  # type: ignore[arg-type]
    assert not model.requests
    assert not (tmp_path / "out").exists()


@pytest.mark.needs("langchain_core")
def test_chat_models_of_langchain(tmp_path: Path) -> None:
    """A LangChain chat model is a method: it gets the conversation, and its metadata is read."""
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    cut = AIMessage(
        "One",
        response_metadata={"finish_reason": "length"},
        usage_metadata={"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
    )
    tuned = GenericFakeChatModel(messages=iter([cut, AIMessage("Two"), AIMessage("Three")]))
    found = compare(QUESTIONS, {"tuned": tuned}, output=tmp_path, concurrency=1)
    first = found.answers["tuned", "one", 1]
    assert (first.text, first.end, first.input_tokens, first.output_tokens) == (
        "One",
        "length",
        5,
        2,
    )
    assert found.answers["tuned", "two", 1].text == "Three"


@pytest.mark.needs("langchain_core")
def test_chat_urial_as_a_method(tmp_path: Path) -> None:
    """A ``ChatUrial`` is a method with its own prompt, of which copies are found."""
    from langchain_urial import ChatUrial
    from urial_core import load_prompt

    copied = load_prompt("short").examples[0].answer
    chat = ChatUrial(llm=FakeModel(f"{copied}{END}"), prompt="short")
    found = compare(["How?"], {"mine": chat}, output=tmp_path)
    assert found.answers["mine", "1", 1].end == "delimiter"
    assert found.values["mine", "1", 1]["copied_from_prompt"] == 1
    chat.prompt = "default"
    with pytest.raises(AnalysisError, match="'method mine': prompt it was"):
        compare(["How?"], {"mine": chat}, output=tmp_path)


@pytest.mark.needs("llama_index.core")
def test_llms_of_llamaindex(tmp_path: Path) -> None:
    """A LlamaIndex LLM is a method, too."""
    from llama_index.core.llms import MockLLM

    from llamaindex_urial import UrialLLM

    own = UrialLLM(llm=FakeModel(f"Blue.{END}"), context_window=4000)
    found = compare(QUESTIONS, {"own": own, "mock": MockLLM()}, output=tmp_path, concurrency=1)
    answer = found.answers["own", "one", 2]
    assert (answer.text, answer.end, answer.output_tokens) == ("Blue.", "delimiter", 2)
    assert "Hi?" in found.answers["mock", "two", 1].text


@pytest.mark.needs("langchain_core")
def test_completion_llms_are_no_methods(tmp_path: Path) -> None:
    """A LangChain LLM that completes text is refused, with how to use it."""
    from langchain_core.language_models.fake import FakeListLLM

    with pytest.raises(UnsupportedModelError, match="completes text"):
        compare(["Hi?"], {"base": FakeListLLM(responses=["x"])}, output=tmp_path)


@pytest.mark.needs("langchain_core")
def test_a_completion_llm_as_the_base_model(tmp_path: Path) -> None:
    """A framework's completion LLM inside ``ChatUrial`` is a base model of named methods."""
    from langchain_core.language_models.fake import FakeListLLM

    from langchain_urial import ChatUrial

    llm = FakeListLLM(responses=[f"Blue.{END}# Query:\n````\nMore?"])
    found = run(tmp_path, ChatUrial(llm=llm))  # type: ignore[arg-type]
    assert {answer.text for answer in found.answers.values()} == {"Blue."}
    assert run(tmp_path, ChatUrial(llm=llm)).failed == 0  # type: ignore[arg-type]


def test_retrieval(tmp_path: Path) -> None:
    """Retrieval takes its examples from a pool's file; another pool's answers are not mixed."""
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"question": "Near?", "answer": "Yes."}\n{"question": "Hi?", "answer": "Ho."}')
    options = {"pool": pool, "embedding": LetterCounts()}
    model = FakeModel(f"Fine.{END}")
    run(tmp_path / "out", model, ["retrieval"], **options)
    assert all("Near?" in request.prompt for request in model.requests)
    assert "Ho." in model.requests[0].prompt
    assert "Ho." not in model.requests[2].prompt  # which asks that very question
    pool.write_text('{"question": "Near?", "answer": "No."}')
    with pytest.raises(AnalysisError, match="'method retrieval': pool it was"):
        run(tmp_path / "out", model, ["retrieval"], **options)


def test_relevance(tmp_path: Path) -> None:
    """With an embedding model, each answer has its similarity to the question."""
    found = run(tmp_path, FakeModel(f"Hi?{END}"), ["zero_shot"], embedding=LetterCounts())
    assert found.values["zero_shot", "two", 1]["relevance"] == pytest.approx(1)
    assert found.values["zero_shot", "one", 1]["relevance"] < 0.99


@pytest.mark.needs("pandas")
def test_dataframe(tmp_path: Path) -> None:
    """The answers are a dataframe, a row each, with a column for each measure."""
    frame = run(tmp_path, FakeModel(f"one two{END}")).dataframe()
    assert len(frame) == 6
    assert set(frame["words"]) == {2}
    assert {*Answer.__dataclass_fields__} <= {*frame.columns}
