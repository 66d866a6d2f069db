"""Settings of the core's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `adversarial`, which several files here share
