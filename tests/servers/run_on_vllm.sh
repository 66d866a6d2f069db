#!/usr/bin/env bash
# Runs the tests that need a server on a real vLLM, which it starts and always stops.
#
#   tests/servers/run_on_vllm.sh [PYTEST_OPTION ...]
#
# The project is installed in $VENV (default: .venv). vLLM's log is build/vllm.log.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${VENV:-.venv}/bin
port=${PORT:-8082}
server=http://127.0.0.1:$port
mkdir -p build
if curl --silent --output /dev/null "$server"; then
    echo "Something answers at $server already: set PORT to another." && exit 1
fi

# vLLM loads folders in transformers' format: the demo model is converted as "urial" would.
model=$("$tools/python" - <<'PYTHON'
import torch

from urial_core.backends.transformers.loading import converted_gguf
from urial_core.demo import demo_model_file

print(converted_gguf(demo_model_file(), torch.bfloat16))
PYTHON
)
"$tools/urial" template --prompt short --model "$model" --output build/urial.jinja

# In a process group of its own, so that vLLM's workers end with it.
set -m
tests/servers/start_vllm.sh "$model" "$port" --chat-template build/urial.jinja >build/vllm.log 2>&1 &
vllm=$!
set +m
trap 'kill -- "-$vllm" 2>/dev/null; wait "$vllm" 2>/dev/null || true' EXIT

until curl --silent --fail --output /dev/null "$server/health"; do
    kill -0 "$vllm" 2>/dev/null || { tail -n 40 build/vllm.log; exit 1; }
    sleep 1
done
printf 'vLLM is ready (%ss)\n' "$SECONDS"
URIAL_TEST_SERVER=$server/v1 "$tools/pytest" -m "server or (server and matrix)" "$@"
printf 'The tests have ended (%ss)\n' "$SECONDS"
