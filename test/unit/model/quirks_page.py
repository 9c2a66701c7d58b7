"""The page that says which test notices which mistake, from the numbers of a run."""

from __future__ import annotations

from .golden_checks import Check
from .quirks import QUIRKS, Quirk

PAGE = "docs/reference/quirks.md"
_START = """# Quirks of the official code, and what guards them

The official VLA-Adapter code does several things that are easy to get wrong and raise no error. Our
golden tests compare every stage with outputs of the official code on two small random checkpoints
(base and pro head). `test/unit/model/test_quirks.py` makes each mistake on purpose and fails unless one
of these comparisons turns red. Tests are named without `test_`; they are in `test_golden.py` and
`test_golden_training.py`.

Distances are those of the comparison that is farthest beyond its tolerance, in the order
distance > allowed. `-`: the mistake makes no difference for this head, or the stage is the same for both.

"""
_END = """
## What these comparisons cannot show

- Query 63, the stop token and the order of class and register tokens change nothing that is read. For
  the base head the place of the proprioception among the action states does not either: its attention
  has no positions.
- Scaling by 255 or in float64 instead of float32 in the Lanczos step changes a few bytes in a million by
  one level. The reference allows one level on 0.1 % of the bytes.
- In bf16 the kernels differ from machine to machine, so the tolerances are wide. What hides below them is
  compared by itself: the rotary frequencies and the pro head's tables.
- The half turn of LIBERO's images and the gripper's last step are not in the reference data. They are
  tested with arrays in `test_preprocessing.py` and `test_normalization.py`.

Written by `QUIRKS_PAGE=1 python -m pytest test/unit/model/test_quirks.py`.
"""


def page(found: dict[tuple[Quirk, str], list[Check]]) -> str:
    """The page in Markdown."""
    lines = [
        "| The official code | Mistake | Test that turns red | Pro head | Base head |",
        "|---|---|---|---|---|",
    ]
    for quirk in QUIRKS:
        cells = [_cell(found.get((quirk, head))) for head in ("pro", "base")]
        lines.append(f"| {quirk.name} | {quirk.mistake} | `{quirk.test}` | {cells[0]} | {cells[1]} |")
    return _START + "\n".join(lines) + "\n" + _END


def _cell(checks: list[Check] | None) -> str:
    if checks is None:
        return "-"
    worst = max(checks, key=lambda check: check.excess)
    if worst.distance == float("inf"):
        return f"{worst.stage}: another length"
    return f"{worst.stage}: {worst.distance:.2g} > {worst.tolerance:g}"
