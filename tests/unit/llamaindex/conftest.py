"""Settings of the LlamaIndex adapter's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `fake_llms`, which several files share
