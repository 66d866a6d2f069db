"""Measure answers from retrieved passages: facts, refusals, citations, obedience to passages.

    python benchmarks/rag.py answers.jsonl                          # held-out questions
    python benchmarks/rag.py tuning.jsonl --half tuning --prompt my_rag.toml
    python benchmarks/rag.py --retrieval                            # the vector stores alone

The passages are in ``rag_corpus.toml``, the questions in ``rag_questions.toml``: every second one
is for tuning, the others are held out. Every question goes through LangChain's two-step chain and
LlamaIndex's query engine, with the frameworks' own templates and with those of the preset ``rag``,
through an agent of each with a retrieval tool, and through LlamaIndex's chat engine.
Each answer is a row of the file, and running again adds what is missing. ``--store`` and
``--retrieval`` use FAISS and Qdrant where they are installed (``rag_stores.py``).
``rag_arms.py`` has what answers.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rag_arms import (
    AGENT_TOKENS,
    ARMS,
    MAX_TOKENS,
    Answer,
    langchain_arms,
    llamaindex_arms,
)
from rag_stores import (
    PASSAGES_PER_QUESTION,
    Passage,
    langchain_embeddings,
    langchain_retriever,
    llamaindex_embedding,
    llamaindex_index,
    stores,
)
from scipy.stats import binomtest

from urial_core import Prompt, find_citations, load_prompt
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.demo import demo_model_file
from urial_core.prompts.loading import preset_or_file

FOLDER = Path(__file__).parent
SLOTS = 4
REFUSAL = re.compile(
    r"\b(do(es)? not|don'?t|doesn'?t|did not|didn'?t) (say|mention|give|state|contain|provide"
    r"|specify|know|include|list|have)\b|\b(cannot|can't|could not|unable to|not able to)\b"
    r"|\bnot (mentioned|stated|given|specified|provided|known|in the (passages?|context))\b"
    r"|\bno (information|mention|answer)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Question:
    """A question; one without a source has no answer in the corpus."""

    text: str
    source: str = ""
    fact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One answer, and what was found in it."""

    settings: str
    framework: str
    arm: str
    question: str
    answer: str
    passages: tuple[str, ...]
    answerable: bool
    retrieved: bool
    has_fact: bool
    refuses: bool
    cites_source: bool
    citations: int
    unsupported: int
    baited: bool
    obeyed: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells one answer from another."""
        return self.framework, self.arm, self.question


def read_corpus() -> dict[str, Passage]:
    """Read the passages, by their ids."""
    data = tomllib.loads((FOLDER / "rag_corpus.toml").read_text("utf-8"))
    return {entry["id"]: Passage(**entry) for entry in data["passages"]}


def read_questions(half: str) -> list[Question]:
    """Read one half of the questions, or all."""
    data = tomllib.loads((FOLDER / "rag_questions.toml").read_text("utf-8"))
    questions = [Question(**{**q, "fact": tuple(q.get("fact", ()))}) for q in data["questions"]]
    kinds = [q for q in questions if q.source], [q for q in questions if not q.source]
    part = {"tuning": slice(0, None, 2), "held-out": slice(1, None, 2), "all": slice(None)}[half]
    return [question for kind in kinds for question in kind[part]]


# Judging and reporting


def judged(
    settings: str,
    place: tuple[str, str],
    question: Question,
    answer: Answer,
    corpus: dict[str, Passage],
) -> Row:
    """Judge an answer by rules."""
    text, ids = answer
    passages = [corpus[one] for one in ids]
    citations = find_citations(text, [one.text for one in passages])
    cited = {passages[one.number - 1].id for one in citations if one.passage is not None}
    baits = [one.bait for one in passages if one.bait]
    return Row(
        settings=settings,
        framework=place[0],
        arm=place[1],
        question=question.text,
        answer=text,
        passages=tuple(ids),
        answerable=bool(question.source),
        retrieved=question.source in ids,
        has_fact=any(fact.casefold() in text.casefold() for fact in question.fact),
        refuses=bool(REFUSAL.search(text)),
        cites_source=question.source in cited,
        citations=len(citations),
        unsupported=sum(not one.is_supported for one in citations),
        baited=bool(baits),
        obeyed=any(bait.casefold() in text.casefold() for bait in baits),
    )


def share(values: Sequence[bool]) -> str:
    """Return a share with its 95 % interval (Wilson's, which is also right at 0 and at 100 %)."""
    if not values:
        return "-"
    interval = binomtest(sum(values), len(values)).proportion_ci(method="wilson")
    return f"{sum(values)} of {len(values)} ({interval.low:.0%} to {interval.high:.0%})"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the report, in Markdown."""
    yield (
        "| | fact given | refused, no answer | refused, though answered | cites the right passage "
        "| citations flagged | obeyed a passage |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for framework, arm in dict.fromkeys((row.framework, row.arm) for row in rows):
        part = [row for row in rows if (row.framework, row.arm) == (framework, arm)]
        answerable = [row for row in part if row.answerable]
        cells = [
            share([row.has_fact for row in answerable]),
            share([row.refuses for row in part if not row.answerable]),
            share([row.refuses for row in answerable]),
            share([row.cites_source for row in answerable]),
            f"{sum(row.unsupported for row in part)} of {sum(row.citations for row in part)}",
            share([row.obeyed for row in part if row.baited]),
        ]
        yield f"| {framework}, {arm} | {' | '.join(cells)} |"


def settings_of(store: str, rag: Prompt) -> dict[str, str]:
    """Return what decides the answers of each arm: its prompt, the store, the reply's length."""
    default = load_prompt().digest[:12]
    prompts = {arm: default for arm in ARMS if "default" in arm} | {"bare model": "none"}
    tokens = {arm: AGENT_TOKENS if arm.startswith("agent") else MAX_TOKENS for arm in ARMS}
    return {arm: f"{prompts.get(arm, rag.digest[:12])} {store} {tokens[arm]}" for arm in ARMS}


def read_rows(path: Path, settings: dict[str, str]) -> list[Row]:
    """Read the answers made before; end if they were made with other settings."""
    if not path.exists():
        return []
    rows = [Row(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    if any(row.settings != settings[row.arm] for row in rows):
        raise SystemExit(f"{path} has answers made with other settings: name another file.")
    return rows


def show_retrieval(corpus: dict[str, Passage], questions: Sequence[Question]) -> None:
    """Print how often each store finds the passage that holds the answer."""
    asked = [question for question in questions if question.source]
    print(f"passage found among {PASSAGES_PER_QUESTION}:")
    for store in stores():
        with TemporaryDirectory() as one, TemporaryDirectory() as other:
            passages = list(corpus.values())
            retriever = langchain_retriever(store, Path(one), passages, langchain_embeddings())
            index = llamaindex_index(store, Path(other), passages, llamaindex_embedding())
            nodes = index.as_retriever(similarity_top_k=PASSAGES_PER_QUESTION)
            found = {
                "LangChain": [[d.metadata["id"] for d in retriever.invoke(q.text)] for q in asked],
                "LlamaIndex": [[n.metadata["id"] for n in nodes.retrieve(q.text)] for q in asked],
            }
            for name, ids in found.items():
                hits = [q.source in got for q, got in zip(asked, ids, strict=True)]
                print(f"  {name}, {store}: {share(hits)}", flush=True)


def main() -> None:
    """Ask every question in every way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("answers", type=Path, nargs="?", help="a JSONL file, added to")
    parser.add_argument("--half", choices=["tuning", "held-out", "all"], default="held-out")
    parser.add_argument("--prompt", default="rag", help="the preset or file in place of `rag`")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--store", choices=stores(), default="own")
    parser.add_argument("--retrieval", action="store_true", help="measure the stores alone")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    corpus, questions = read_corpus(), read_questions(options.half)
    if options.retrieval:
        show_retrieval(corpus, questions)
        return
    if options.answers is None:
        parser.error("name a file for the answers, or pass --retrieval")
    rag = load_prompt(preset_or_file(options.prompt))
    settings = settings_of(options.store, rag)
    rows = read_rows(options.answers, settings)
    done = {row.key for row in rows}
    model = LlamaCppModel(
        demo_model_file(), n_ctx=4096, n_parallel=SLOTS, n_threads=options.threads
    )
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        passages = list(corpus.values())
        retriever = langchain_retriever(options.store, Path(one), passages, langchain_embeddings())
        index = llamaindex_index(options.store, Path(other), passages, llamaindex_embedding())
        arms = {
            ("LangChain", arm): ask for arm, ask in langchain_arms(model, rag, retriever).items()
        } | {("LlamaIndex", arm): ask for arm, ask in llamaindex_arms(model, rag, index).items()}
        with options.answers.open("a", encoding="utf-8") as file:
            for place, ask in arms.items():
                if place[1] not in options.arms:
                    continue
                todo = [one for one in questions if (*place, one.text) not in done]
                with ThreadPoolExecutor(SLOTS) as pool:
                    answers = pool.map(ask, [one.text for one in todo])
                    for question, answer in zip(todo, answers, strict=True):
                        row = judged(settings[place[1]], place, question, answer, corpus)
                        rows.append(row)
                        file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
                        file.flush()
                print(f"{', '.join(place)}: {len(todo)} answers", file=sys.stderr, flush=True)
    model.close()
    asked = {question.text for question in questions}
    print(*table([row for row in rows if row.question in asked]), sep="\n")


if __name__ == "__main__":
    main()
