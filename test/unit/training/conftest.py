"""Lets the tests of this folder import its sample maker, and keeps them on one core."""

import sys
from pathlib import Path

from one_core import one_thread  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent))
