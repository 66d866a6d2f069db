"""Settings for the tests of ``urial_core``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import `adversarial`
