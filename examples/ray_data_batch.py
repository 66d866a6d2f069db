"""Answer thousands of questions in a batch job (Ray Data) that can be stopped and resumed.

Ray Data reads rows, each with an id and the messages of a conversation, sends them to a server
through its HTTP processor, and writes the answers in parts. It needs two pure functions of this
project: ``completion_payload`` writes a request's body and ``reply_of`` reads the response. A row
that cannot be answered becomes a row with its error. Run it again with the same folder, and it
sends only the missing rows.

    python examples/ray_data_batch.py                                 # a dozen, demo model
    python examples/ray_data_batch.py --rows 2000 --folder answers    # Ctrl-C, and again
    python examples/ray_data_batch.py --questions my.jsonl --folder answers \
        --server http://127.0.0.1:8000/v1 --in-flight 64

Needs ``pip install -e ".[ray]"``, and without ``--server`` also ``[demo,llamacpp]``.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset

from urial_core import (
    CompletionRequest,
    GenerationParameters,
    Message,
    UrialError,
    compose,
    load_prompt,
)
from urial_core.backends.completions_server import (
    CompletionsServerModel,
    Server,
    completion_payload,
    reply_of,
)

PROMPT = load_prompt("short")
PARAMETERS = GenerationParameters(max_tokens=24)
REQUESTS_PER_WORKER = 4  # concurrent batches of one worker of Ray Data's
TOPICS = ("bees", "bread", "clouds", "coffee", "honey", "maps", "paper", "rain", "silk", "snow")
LLAMA_SERVER = Path(__file__).parents[1] / "tests" / "servers" / "llama_server.py"


def request_of(row: dict[str, Any]) -> CompletionRequest:
    """Compose the request for a row's conversation: the same before sending and after."""
    messages = [Message(message["role"], message["content"]) for message in row["messages"]]
    return compose(PROMPT, messages, PARAMETERS)


class AddPayload:
    """Add the request's payload to a row."""

    def __init__(self, server: Server) -> None:
        """Store the server's dialect and model."""
        self.server = server

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Add the payload; Ray Data skips rows that have an error already."""
        try:
            request, error = request_of(row), ""
        except UrialError as failure:
            request, error = compose(PROMPT, [Message("user", "-")], PARAMETERS), str(failure)
        payload = completion_payload(request, self.server.model, self.server.dialect)
        return {"payload": payload, "__inference_error__": error}


class ReadReply:
    """Turn a row with the server's response into a row with the reply."""

    def __init__(self, server: Server) -> None:
        """Store the server's dialect."""
        self.server = server

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the same columns for all rows, with a reply or an error."""
        out = {"id": row["id"], "reply": "", "finish_reason": "", "error": ""}
        out |= {"input_tokens": 0, "cached_tokens": 0, "output_tokens": 0}
        if row["__inference_error__"]:
            return out | {"error": row["__inference_error__"]}
        try:
            reply = reply_of(row["http_response"], request_of(row), self.server.dialect)
        except UrialError as error:
            return out | {"error": str(error)}
        out |= {"reply": reply.text, "finish_reason": reply.end.finish_reason}
        if (usage := reply.end.usage) is not None:
            out |= {"input_tokens": usage.input_tokens, "cached_tokens": usage.cached_tokens}
            out |= {"output_tokens": usage.output_tokens}
        return out


def answer_all(
    questions: Path, folder: Path, base_url: str, server: Server, options: argparse.Namespace
) -> None:
    """Answer the questions that have no reply in the folder yet."""
    import ray
    from ray.data.checkpoint import CheckpointConfig
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    workers = -(-options.in_flight // REQUESTS_PER_WORKER)
    # Ray reserves a CPU for each step of the job and needs all of them; they mostly wait.
    ray.init(num_cpus=4 + (os.cpu_count() or 1), include_dashboard=False, logging_level="WARNING")
    # Ray Data itself stores which ids were written, beside the parts.
    ray.data.DataContext.get_current().checkpoint_config = CheckpointConfig(
        id_column="id",
        checkpoint_path=str(folder / "done"),
        delete_checkpoint_on_success=False,
    )
    processor = build_processor(
        HttpRequestProcessorConfig(
            url=f"{base_url}/completions",
            concurrency=(workers, workers),
            batch_size=1,  # a worker sends the rows of a batch one after the other
            max_retries=5,  # when the server is busy or unreachable, after 1, 2, 4, ... seconds
            http_request_stage={"num_cpus": 0},
        ),
        preprocess=AddPayload(server),
    )
    rows = ray.data.read_json(str(questions), override_num_blocks=1)
    rows = rows.repartition(target_num_rows_per_block=options.rows_per_part, strict=True)
    processor(rows).map(ReadReply(server)).write_parquet(str(folder / "parts"))
    ray.shutdown()


def write_questions(file: Path, rows: int) -> None:
    """Write some easy questions, the same in every run."""
    chosen = random.Random(0)  # noqa: S311 - nothing secret
    with file.open("w", encoding="utf-8") as out:
        for number in range(rows):
            topic, a, b = chosen.choice(TOPICS), chosen.randrange(100), chosen.randrange(100)
            question = (
                f"What is {a} plus {b}?",
                f"What is {topic} made of?",
                f"Write a sentence about {topic}.",
                f"Name {a % 4 + 2} things that go well with {topic}.",
            )[number % 4]
            messages = [
                {"role": "system", "content": "Answer in a few words."},
                {"role": "user", "content": question},
            ]
            out.write(json.dumps({"id": f"q{number:06}", "messages": messages}) + "\n")


@contextmanager
def demo_server() -> Generator[str]:
    """Serve the demo model with llama.cpp; yield the base URL of its API."""
    command = [sys.executable, str(LLAMA_SERVER), "--slots", "4", "--window", "1024"]
    process = subprocess.Popen(  # noqa: S603 - our own script
        [*command, "--threads", str(max(1, (os.cpu_count() or 1) // 2))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout  # noqa: S101
        yield f"{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.communicate()


def show(folder: Path, seconds: float) -> None:
    """Print a few of the replies in the folder, and a summary."""
    table = pyarrow.dataset.dataset(folder / "parts", format="parquet").to_table()
    rows: list[dict[str, Any]] = table.sort_by("id").to_pylist()
    total, cached = (
        sum(row[f"{kind}_tokens"] or 0 for row in rows) for kind in ("input", "cached")
    )
    failed = [row for row in rows if row["error"]]
    for row in [*rows[:4], *failed[:4]]:
        print(f"{row['id']}: {row['reply']!r} {row['error']}")
    print(
        f"{len(rows)} rows in {folder}, {len(failed)} with an error; {cached / max(total, 1):.0%} "
        f"of {total} input tokens were cached, "
        f"{sum(row['output_tokens'] for row in rows)} tokens were generated; "
        f"this run took {seconds:.0f} s."
    )


def main() -> None:
    """Answer a file of questions, or some easy ones."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--questions", type=Path, help="JSON lines with id and messages")
    parser.add_argument("--rows", type=int, default=12, help="without --questions: how many")
    parser.add_argument("--folder", type=Path, help="for the replies; default: a temporary one")
    parser.add_argument("--server", help="its base URL; default: start one with the demo model")
    parser.add_argument("--in-flight", type=int, default=8, help="concurrent requests")
    parser.add_argument(
        "--rows-per-part", type=int, default=40, help="how many are written at once"
    )
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="urial-answers-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    questions = options.questions or folder / "questions.jsonl"
    if options.questions is None:
        write_questions(questions, options.rows)
    if options.server:
        run(questions, folder, options.server, options)
    else:
        with demo_server() as url:
            run(questions, folder, url, options)


def run(questions: Path, folder: Path, base_url: str, options: argparse.Namespace) -> None:
    """Compute the prompt prefix ahead, answer the questions, and print the replies."""
    model = CompletionsServerModel(base_url)
    model.warm(PROMPT)
    start = time.monotonic()
    answer_all(questions, folder, base_url.rstrip("/"), model.server(), options)
    show(folder, time.monotonic() - start)


if __name__ == "__main__":
    main()
