"""Results of commands, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_result(path: Path | None, result: dict[str, Any]) -> None:
    """Write a result as JSON; its folder is made.

    Args:
        path: File; None: nobody wants one.
        result: Plain values.
    """
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
