"""The list of checks as Markdown: the tables of docs/reference/quality.md, written by `make reference`."""

from __future__ import annotations

import math

from pydantic import TypeAdapter

from vla_adapter_ros.dataset.quality.checks import CHECKS, Check
from vla_adapter_ros.dataset.quality.settings import QualityNumbers


def checks_table() -> str:
    """All checks: what each finds, its thresholds, what it needs and where it runs, as Markdown."""
    lines = ["| check | its number | unit | warns | fails | needs | where |", "|---|---|---|---|---|---|---|"]
    for check in CHECKS:
        needs = ", ".join(sorted(need.value for need in check.needs))
        places = ", ".join(place.value for place in check.places)
        unit = "fraction or count" if check.unit == "1" else check.unit
        limits = f"{_limit(check, check.warn)} | {_limit(check, check.fail)}"
        lines.append(f"| `{check.name}` | {check.finds} | {unit} | {limits} | {needs} | {places} |")
    return "\n".join(lines)


def numbers_table() -> str:
    """The numbers that say what counts, as Markdown."""
    lines = ["| setting | meaning | unit | value |", "|---|---|---|---|"]
    schema = TypeAdapter(QualityNumbers).json_schema()
    for name, entry in schema["properties"].items():
        unit = "factor" if entry["unit"] == "1" else entry["unit"]
        lines.append(f"| `{name}` | {entry['description']} | {unit} | {entry['default']:g} |")
    return "\n".join(lines)


def _limit(check: Check, limit: float) -> str:
    side = "below" if check.below else "above"
    return "never" if math.isinf(limit) else f"{side} {limit:g}"
