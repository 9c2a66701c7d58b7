"""Draws the latency benchmark: success over latency, a line per method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_LINES = {
    "ours": ("decides for the time of its chunk, slower where late", "#2b8a3e", "o", "-"),
    "full_pace": ("decides for the time of its chunk, at full pace", "#66a80f", "v", "-"),
    "splice": ("decides for the time of its image", "#1c7ed6", "s", "-"),
    "ensembling": ("temporal ensembling", "#d9480f", "^", "--"),
    "newest_row": ("newest row", "#862e9c", "v", "--"),
    "stop_and_go": ("stop and go", "#495057", "d", "--"),
}
"""Of each method: words, color, marker, line. Colors differ in lightness, too."""


def plot_result(result: dict[str, Any], path: Path) -> None:
    """Write a PNG with the success rates and their 95 % intervals (Wilson)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    shown = [name for name in _LINES if name in result["methods"]]
    for place, name in enumerate(shown):
        levels = result["methods"][name]
        words, color, marker, line = _LINES[name]
        at = [float(latency) + 4.0 * (place - (len(shown) - 1) / 2) for latency in levels]
        rates = [100 * level["success"] / level["episodes"] for level in levels.values()]
        below = [rate - 100 * v["interval"][0] for rate, v in zip(rates, levels.values(), strict=True)]
        above = [100 * v["interval"][1] - rate for rate, v in zip(rates, levels.values(), strict=True)]
        axis.errorbar(
            at, rates, yerr=[below, above], label=words, color=color, marker=marker, linestyle=line, capsize=3
        )
    episodes = next(iter(next(iter(result["methods"].values())).values()))["episodes"]
    axis.set_xlabel("from image to chunk [ms]")
    axis.set_ylabel("named cube lifted [%]")
    axis.set_title(f"{episodes} episodes each, in unseen scenes; bars: 95 % intervals", fontsize=10)
    axis.set_ylim(0, 102)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(loc="lower left", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
