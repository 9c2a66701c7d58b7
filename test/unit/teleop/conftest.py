"""Lets the tests of this folder import their helpers, and the arm of the tests of the controller's core."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "control"))
