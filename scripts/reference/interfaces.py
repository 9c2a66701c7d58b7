"""Messages, services and actions of this package as Markdown tables, from msg/, srv/ and action/."""

from __future__ import annotations

import re
from pathlib import Path

FIELD = re.compile(r"^(?P<type>\S+)\s+(?P<name>\w+)\s*(?:#\s*(?P<text>.*))?$")
PARTS = {1: [""], 2: ["request", "answer"], 3: ["goal", "result", "feedback"]}
ROOT = Path(__file__).resolve().parents[2]


def message_tables() -> str:
    """One table per message in msg/."""
    return "\n".join(_page(file) for file in sorted((ROOT / "msg").glob("*.msg")))


def service_tables() -> str:
    """One table per service in srv/; request and answer are told apart."""
    return "\n".join(_page(file) for file in sorted((ROOT / "srv").glob("*.srv")))


def action_tables() -> str:
    """One table per action in action/; goal, result and feedback are told apart."""
    return "\n".join(_page(file) for file in sorted((ROOT / "action").glob("*.action")))


def _page(file: Path) -> str:
    halves = file.read_text(encoding="utf-8").split("---\n")
    said, rows = [], []
    for number, half in enumerate(halves):
        for line in half.splitlines():
            if line.startswith("#"):
                said.append(line.lstrip("# "))
            elif found := FIELD.match(line.strip()):
                part = PARTS[len(halves)][number]
                text = (found["text"] or "").replace("|", "or")
                rows.append(f"| {part} | `{found['name']}` | `{found['type']}` | {text} |")
    head = ["| part | field | type | meaning |", "|---|---|---|---|"]
    if len(halves) == 1:
        head = ["| field | type | meaning |", "|---|---|---|"]
        rows = [row.replace("|  | ", "| ", 1) for row in rows]
    return "\n".join([f"### {file.stem}\n", " ".join(said), "", *head, *rows, ""])
