"""Lets the tests of this folder import the sample makers of the recordings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "recording"))
