"""Lets the tests of this folder import its sample makers and those of the recordings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "recording"))
