"""The control benchmark's result for people: a table and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vla_adapter_ros.benchmarks.control import EVERY_FRAME, METHODS, verdict

LABELS = {
    "one_point": "one point",
    "open_loop": "open loop",
    "ensembling": "ensembling",
    "default": "default",
    EVERY_FRAME: "default, every frame",
}
_COLUMNS = (  # key, heading, factor, digits
    ("rms_jerk", "RMS jerk rad/s3", 1, 0),
    ("peak_jerk", "peak jerk rad/s3", 1, 0),
    ("seam_step_mean", "step at a transition rad/s", 1, 3),
    ("seam_step_max", "largest", 1, 3),
    ("path_error", "path error mrad", 1e3, 1),
    ("path_distance", "path distance mrad", 1e3, 1),
    ("delay", "delay ms", 1e3, 0),
    ("chunks", "chunks", 1, 0),
)
_PANELS = (
    ("rms_jerk", "RMS jerk [rad/s³]", True),
    ("path_error", "path error, delay removed [rad]", False),
    ("delay", "delay [s]", False),
    ("seam_step_mean", "velocity step at a chunk transition [rad/s]", False),
)


def format_result(result: dict[str, Any]) -> str:
    """A Markdown table per latency, and what became of the aims at each."""
    lines = []
    for key, part in _latencies(result).items():
        lines += [f"Inference latency {key}", ""]
        lines.append("| method | " + " | ".join(heading for _, heading, _, _ in _COLUMNS) + " |")
        lines.append("|---|" + "--:|" * len(_COLUMNS))
        for name, figures in part.items():
            cells = [f"{figures[k] * factor:.{digits}f}" for k, _, factor, digits in _COLUMNS]
            lines.append(f"| {LABELS[name]} | " + " | ".join(cells) + " |")
        if set(METHODS) <= set(part):
            aims = verdict(part)
            lines += [
                "",
                f"Default: RMS jerk {aims['rms_jerk_below_one_point']:.1f} times below one point, "
                f"{'the lowest' if aims['lowest_rms_jerk'] else 'not the lowest'} of the four; "
                f"path error {aims['path_error_ratio']:.2f} times the best of the others. "
                f"The aims {'hold' if aims['holds'] else 'do not all hold'}.",
            ]
        lines.append("")
    facts = result["stream"]
    lines.append(
        f"Stream: neighboring chunks differ by {facts['disagreement'] * 1e3:.1f} mrad about the same time; "
        f"{facts['beyond_limits']:.0%} of the first rows lie beyond the arm's acceleration limits."
    )
    return "\n".join(lines)


def plot_result(result: dict[str, Any], path: Path) -> None:
    """Write a PNG with one panel per measure: the methods over the latency."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts = _latencies(result)
    names = [name for name in LABELS if all(name in part for part in parts.values())]
    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2).ravel()
    width = 0.8 / len(names)
    for axis, (key, title, logarithmic) in zip(axes, _PANELS, strict=True):
        for i, name in enumerate(names):
            at = [place + (i - (len(names) - 1) / 2) * width for place in range(len(parts))]
            axis.bar(at, [part[name][key] for part in parts.values()], width, label=LABELS[name])
        axis.set_xticks(range(len(parts)), list(parts))
        axis.set_xlabel("inference latency")
        axis.set_title(title)
        axis.grid(axis="y", alpha=0.3)
        if logarithmic:
            axis.set_yscale("log")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(names))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _latencies(result: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """The parts that are latencies, by their value in words."""
    return {
        key.removeprefix("latency_").replace("ms", " ms").replace("_old_stream", ", earlier policy"): part
        for key, part in result.items()
        if key.startswith("latency_")
    }
