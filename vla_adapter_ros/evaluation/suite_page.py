"""The result of a suite as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_adapter_ros.evaluation.suite_result import with_total
from vla_adapter_ros.html import write_html


def write_suite_page(result: Mapping[str, Any], path: Path) -> None:
    """Write the page: conditions, a table with a line per task, and every failure.

    Args:
        result: From `suite_result` or `merge_results`.
        path: HTML file to write.
    """
    rows = [_row(task, rates, result["chance"].get(task)) for task, rates in with_total(result).items()]
    write_html(
        path,
        "suite",
        about=result["conditions"],
        rows=rows,
        failures=[run for run in result["runs"] if not run["success"]],
        episodes=result["episodes"],
    )


def _row(task: str, rates: Mapping[str, Any], chance: float | None) -> dict[str, Any]:
    low, high = rates["success_interval"]
    return {
        "task": task,
        "successes": rates["successes"],
        "episodes": rates["episodes"],
        "rate": f"{rates['success_rate']:.0%}",
        "interval": f"{low:.0%} to {high:.0%}",
        "chance": "" if chance is None else f"{chance:.0%}",
        "median": "" if rates["median_success_s"] is None else f"{rates['median_success_s']:.1f}",
        "failures": ", ".join(f"{count} {ending}" for ending, count in rates["failures"].items()),
    }
