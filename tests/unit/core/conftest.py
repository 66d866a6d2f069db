"""Settings for the tests of ``urial_core``."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("URIAL_HYPOTHESIS_EXAMPLES", "1500"))
"""Examples for each property test; there are about two dozen of them."""

settings.register_profile(
    "core",
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import `adversarial`
