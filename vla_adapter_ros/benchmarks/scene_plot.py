"""Draws the scene benchmark: score, warnings and success over how far a camera stands from its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZES = (("shift_cm", "camera moved [cm]"), ("turn_deg", "camera turned [degrees]"))


def plot_result(result: dict[str, Any], path: Path) -> None:
    """Write a PNG: a row per camera, with moved cameras on the left and turned ones on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cameras = list(dict.fromkeys(level["camera"] for level in result["levels"]))
    figure = Figure(figsize=(10, 3.6 * len(cameras)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(cameras), len(SIZES), squeeze=False)
    for row, camera in zip(axes, cameras, strict=True):
        for axis, (key, label) in zip(row, SIZES, strict=True):
            _draw(axis, [level for level in result["levels"] if level["camera"] == camera], key, result)
            axis.set_xlabel(label)
            axis.set_title(camera)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=100)


def _draw(axis: Any, levels: list[dict[str, Any]], key: str, result: dict[str, Any]) -> None:
    """One panel: percentages on the left, the score in pixels on the right."""
    other = next(name for name, _ in SIZES if name != key)
    shown = sorted((level for level in levels if level[other] == 0), key=lambda level: level[key])
    sizes = [level[key] for level in shown]
    warned = [100 * level["warned"] / level["scenes"] for level in shown]
    axis.plot(sizes, warned, color="#d9480f", marker="s", label="scenes with a warning [%]")
    tried = [level for level in shown if "trials" in level]
    rates = [100 * level["successes"] / level["trials"] for level in tried]
    axis.errorbar(
        [level[key] for level in tried],
        rates,
        yerr=[
            [rate - 100 * level["success_interval"][0] for level, rate in zip(tried, rates, strict=True)],
            [100 * level["success_interval"][1] - rate for level, rate in zip(tried, rates, strict=True)],
        ],
        color="#2b8a3e", marker="o", capsize=3, label="cubes lifted [%]",
    )  # fmt: skip
    if tried and tried[0][key] == 0:
        axis.axhline(rates[0] - 10, color="#2b8a3e", linestyle=":", label="lifted: a tenth less")
    axis.set_ylim(-3, 103)
    score = axis.twinx()
    low, middle, high = ([level["score_px"][n] for level in shown] for n in range(3))
    score.plot(sizes, middle, color="#1c7ed6", marker="^", label="score [px]")
    score.fill_between(sizes, low, high, color="#1c7ed6", alpha=0.15)
    limit = result["limits"]["displacement_max"] * result["image_width_px"][shown[0]["camera"]]
    score.axhline(limit, color="#1c7ed6", linestyle="--", linewidth=1)
    score.set_ylabel("score [px], median, 10 to 90 %; dashed: limit", fontsize=8)
    score.set_ylim(0, None)
    axis.plot([], [], color="#1c7ed6", marker="^", label="score [px], right")
