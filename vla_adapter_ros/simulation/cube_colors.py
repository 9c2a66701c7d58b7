"""The colors that cubes can have, red, green and blue in 0..1."""

from __future__ import annotations

COLORS = {
    "red": (0.82, 0.10, 0.10),
    "green": (0.12, 0.62, 0.18),
    "blue": (0.12, 0.22, 0.82),
    "yellow": (0.88, 0.78, 0.12),
}
