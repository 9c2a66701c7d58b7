"""The report as one HTML page that needs nothing else, and its pictures as files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from vla_adapter_ros.evaluation.metrics import Errors
from vla_adapter_ros.evaluation.plots import plot_steps, plot_trace, trace_episode
from vla_adapter_ros.evaluation.report import OpenLoopReport, conclusions
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.samples import Samples

SHOWN_EPISODES = 3
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, td.words { text-align: left; }
.conclusion { padding: 0.8rem 1.2rem; border-left: 6px solid #2b8a3e; background: #ebfbee; }
.conclusion.bad { border-color: #c92a2a; background: #fff5f5; }
.worse { color: #c92a2a; } .facts { color: #555; } img { max-width: 100%; }
"""
_LEGEND = """
Mean absolute errors. <i>repeat</i>: the action before, kept. <i>mean</i>: always the mean action in training.
<i>other instruction</i>: how much the policy's own actions change when it gets another one in the same
scene, before a gripper closes; its errors with the right and with wrong instructions are of the same rows.
"""


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
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(format_page(report, list(pictures.values()), facts or {}), encoding="utf-8")


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


def format_page(
    report: OpenLoopReport, pictures: Sequence[tuple[str, bytes]], facts: Mapping[str, object]
) -> str:
    """The page as text, pictures (title, PNG) inside."""
    first, *further = conclusions(report)
    bad = not report.beats_baselines or bool(report.language_blind)
    what = "Validation episodes" if report.is_validation else "Episodes that training may have seen"
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Open-loop report</title>",
        f"<style>{_STYLE}</style></head><body><h1>Open-loop report</h1>",
        "<p class='facts'>"
        + "<br>".join(f"{escape(k)}: {escape(str(v))}" for k, v in facts.items())
        + "</p>",
        f"<div class='conclusion{' bad' if bad else ''}'><b>{escape(first)}</b>",
        *(f"<br>{escape(line)}" for line in further),
        "</div>",
        *_table(report, report.evaluated, what),
        *(_table(report, report.trained, "Training episodes") if report.trained is not None else ()),
        f"<p>{_LEGEND}</p>",
    ]
    for title, png in pictures:
        data = base64.b64encode(png).decode("ascii")
        parts += [
            f"<h2>{escape(title)}</h2>",
            f"<img alt='{escape(title)}' src='data:image/png;base64,{data}'>",
        ]
    return "\n".join([*parts, "</body></html>", ""])


def _table(report: OpenLoopReport, errors: Errors, what: str) -> list[str]:
    test = report.instructions
    further = (test.change, test.right, test.wrong) if errors is report.evaluated else (None,)
    units = report.units or ("",) * len(report.names)
    head = ["dimension", "unit", "policy", "repeat", "mean"]
    columns = [column for column in further if column is not None]
    head += ["other instruction", "error with right", "with wrong instruction"] if columns else []
    lines = [
        f"<h2>{what}: {errors.rows} rows of {len(errors.episodes)} episodes</h2><table><tr>",
        *(f"<th>{name}</th>" for name in (*head, "against the baselines")),
        "</tr>",
    ]
    for i, comparison in enumerate(report.comparisons(errors)):
        numbers = [errors.policy[i], errors.repeat[i], errors.mean[i]]
        numbers += [column[i] for column in columns]
        cells = [escape(report.names[i]), escape(units[i]), *(f"{number:.4g}" for number in numbers)]
        style = "words worse" if comparison.startswith("worse") else "words"
        lines.append(
            "<tr>"
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + f"<td class='{style}'>{comparison}</td></tr>"
        )
    return [*lines, "</table>"]
