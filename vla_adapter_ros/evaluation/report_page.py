"""The report as one HTML page that needs nothing else, and its pictures as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.metrics import Errors
from vla_adapter_ros.evaluation.plots import plot_steps, plot_trace, trace_episode
from vla_adapter_ros.evaluation.report import OpenLoopReport, conclusions
from vla_adapter_ros.html import embedded, write_html
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.samples import Samples

SHOWN_EPISODES = 3


def write_page(
    report: OpenLoopReport,
    pictures: Mapping[str, tuple[str, bytes]],
    path: Path | None,
    *,
    folder: Path | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write the page, the pictures as PNG files, or both.

    Args:
        report: What is shown.
        pictures: From `draw_pictures`.
        path: HTML file to write; its pictures are inside.
        folder: Where to write the pictures.
        facts: What was evaluated, by name: shown at the top.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (_, png) in pictures.items():
            (folder / f"{name}.png").write_bytes(png)
    if path is not None:
        kind = "Validation episodes" if report.is_validation else "Episodes that training may have seen"
        tables = [_table(report, report.evaluated, kind)]
        if report.trained is not None:
            tables.append(_table(report, report.trained, "Training episodes"))
        write_html(
            path,
            "open_loop",
            about=facts or {},
            conclusions=conclusions(report),
            bad=not report.beats_baselines or bool(report.language_blind),
            tables=tables,
            pictures=[embedded(*picture) for picture in pictures.values()],
        )


def draw_pictures(
    report: OpenLoopReport, policy: VlaAdapterPolicy, samples: Samples, rate_hz: float
) -> dict[str, tuple[str, bytes]]:
    """Title and PNG by file name: errors by step, and a few evaluated episodes spread over all of them."""
    episodes = report.evaluated.episodes
    chosen = sorted({int(n) for n in np.linspace(0, len(episodes) - 1, SHOWN_EPISODES).round()})
    found = {"steps": ("Error by step of the chunk", plot_steps(report))}
    for number in (episodes[n] for n in chosen):
        trace = trace_episode(policy, samples, number)
        title = f"Episode {number}: “{trace.instruction}”"
        found[f"episode_{number:06d}"] = (title, plot_trace(trace, report, rate_hz))
    return found


def _table(report: OpenLoopReport, errors: Errors, kind: str) -> dict[str, Any]:
    """Title, head and rows of the table of some episodes, as the template shows them."""
    test = report.instructions
    further = (test.change, test.right, test.wrong) if errors is report.evaluated else (None,)
    units = report.units or ("",) * len(report.names)
    head = ["dimension", "unit", "policy", "repeat", "mean"]
    columns = [column for column in further if column is not None]
    head += ["other instruction", "error with right", "with wrong instruction"] if columns else []
    rows = []
    for i, comparison in enumerate(report.comparisons(errors)):
        numbers = [errors.policy[i], errors.repeat[i], errors.mean[i]]
        numbers += [column[i] for column in columns]
        rows.append(
            {
                "name": report.names[i],
                "unit": units[i],
                "numbers": numbers,
                "comparison": comparison,
                "worse": comparison.startswith("worse"),
            }
        )
    title = f"{kind}: {errors.rows} rows of {len(errors.episodes)} episodes"
    return {"title": title, "head": [*head, "against the baselines"], "rows": rows}
