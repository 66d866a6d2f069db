"""Settings of the LangChain adapter's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `fake_models`, which all files share
