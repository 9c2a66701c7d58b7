"""Pictures of an open-loop evaluation: predicted chunks over what was recorded, errors by step."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.metrics import Errors, predict_chunks
from vla_adapter_ros.evaluation.report import OpenLoopReport
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.samples import Samples

_COLUMNS = 4
_PANEL = (3.1, 2.1)  # inches
_TRUTH, _CHUNK, _START = "#222222", "#d9480f", "#1c7ed6"


@dataclass(frozen=True)
class Trace:
    """One episode as recorded and as predicted.

    Attributes:
        episode: Its number.
        instruction: What was asked for.
        recorded: Actions, float64 (T, A).
        starts: Rows at which a chunk begins, int64 (N,), from 0.
        chunks: Predicted there, float64 (N, H, A).
    """

    episode: int
    instruction: str
    recorded: np.ndarray
    starts: np.ndarray
    chunks: np.ndarray


def trace_episode(policy: VlaAdapterPolicy, samples: Samples, episode: int) -> Trace:
    """Predict a chunk at every second step of a chunk's length, over one episode."""
    rows = np.flatnonzero(samples.episode == episode)
    every = max(1, policy.config.chunk // 2)
    at = rows[::every]
    chunks = predict_chunks(policy, samples, at)
    instruction = samples.tasks[samples.task[rows[0]]]
    return Trace(episode, instruction, samples.action[rows], at - rows[0], chunks)


def plot_trace(trace: Trace, report: OpenLoopReport, rate_hz: float) -> bytes:
    """Chunks over the recorded actions, one panel per dimension: a PNG."""
    figure, axes = _panels(len(report.names))
    times = np.arange(len(trace.recorded)) / rate_hz
    horizon = trace.chunks.shape[1]
    for i, axis in enumerate(axes):
        axis.plot(times, trace.recorded[:, i], color=_TRUTH, linewidth=1.6, label="recorded")
        for n, (start, chunk) in enumerate(zip(trace.starts, trace.chunks[:, :, i], strict=True)):
            steps = min(horizon, len(trace.recorded) - start)
            along = (start + np.arange(steps)) / rate_hz
            axis.plot(
                along, chunk[:steps], color=_CHUNK, linewidth=1, label=None if n else "predicted chunks"
            )
        axis.plot(
            trace.starts / rate_hz,
            trace.chunks[:, 0, i],
            ".",
            color=_START,
            markersize=4,
            label="their first step",
        )
        _widen(axis, report.std[i], trace.recorded[:, i], trace.chunks[:, :, i])
        axis.set_title(_label(report, i), fontsize=9)
    _finish(figure, axes, "time [s]")
    return _png(figure)


def plot_steps(report: OpenLoopReport) -> bytes:
    """Errors by step of the chunk, one panel per dimension: a PNG."""
    figure, axes = _panels(len(report.names))
    for i, axis in enumerate(axes):
        for name, color, steps in _lines(report.evaluated):
            axis.plot(np.arange(len(steps)), [step[i] for step in steps], color=color, marker=".", label=name)
        if report.trained is not None:
            steps = report.trained.policy_steps
            axis.plot(
                np.arange(len(steps)), [step[i] for step in steps], color=_CHUNK, linestyle=":",
                label="policy, training episodes",
            )  # fmt: skip
        axis.set_title(_label(report, i), fontsize=9)
        axis.set_ylim(bottom=0, top=0.01 if report.constant[i] else None)
    _finish(figure, axes, "step of the chunk")
    return _png(figure)


def _lines(errors: Errors) -> tuple[tuple[str, str, tuple[tuple[float, ...], ...]], ...]:
    return (
        ("policy", _CHUNK, errors.policy_steps),
        ("repeat", _START, errors.repeat_steps),
        ("mean action", "#868e96", errors.mean_steps),
    )


def _label(report: OpenLoopReport, i: int) -> str:
    unit = report.units[i] if report.units else ""
    name = report.names[i] + (f" [{unit}]" if unit and unit != "1" else "")
    return f"{name}, constant" if report.constant[i] else name


def _widen(axis: Any, min_range: float, *values: np.ndarray) -> None:
    """Show at least one standard deviation of the training actions: small errors then look small."""
    together = np.concatenate([part.ravel() for part in values])
    low, high = float(together.min()), float(together.max())
    min_range = max(min_range, 1e-3)
    if high - low < min_range:
        axis.set_ylim((low + high - 1.1 * min_range) / 2, (low + high + 1.1 * min_range) / 2)


def _panels(count: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.array(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def _finish(figure: Any, axes: Any, below: str) -> None:
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=7)
        axis.ticklabel_format(axis="y", useOffset=False)
    figure.supxlabel(below, fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
