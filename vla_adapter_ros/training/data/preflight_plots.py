"""Pictures of the data before a training, as PNG.

Every picture is one pair of axes in which all panels are drawn by hand: a figure with dozens of
axes takes matplotlib many seconds, and every training waits for this.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.schema import ActionDimension, StateDimension
from vla_adapter_ros.training.data.augmentation import augment, draw
from vla_adapter_ros.training.data.image_store import ImageStore
from vla_adapter_ros.training.data.samples import Rows

_BARS, _QUANTILE, _LIMIT = "#4c78a8", "#222222", "#d9480f"
_WIDTH = 1150  # of a picture [px]
_COLUMNS, _PANEL, _TITLE, _FOOT = 4, 90, 22, 22  # panels per line; heights of a panel's parts [px]
_SIDE = 14  # space beside a panel [px]
_BINS = 60
_EXAMPLES = 6
_TILE = 140  # of an example image [px]
_LABEL = 130  # beside the examples [px]


def plot_values(rows: Rows, which: str) -> bytes:
    """One histogram per value of `state` or `action`, with q01, q99 and the contract's limits.

    Heights are the logarithm of counts, so that rare values show.
    """
    contract = rows.contract
    values = getattr(rows, which)
    names = contract.state_names if which == "state" else contract.action_names
    dimensions: list[StateDimension | ActionDimension]
    dimensions = [*contract.state] if which == "state" else [*contract.action.dimensions]
    line_height = _PANEL + _TITLE + _FOOT
    figure, axes = _canvas(-(-len(names) // _COLUMNS) * line_height)
    width = _WIDTH / _COLUMNS
    for n, (name, dimension) in enumerate(zip(names, dimensions, strict=True)):
        column = values[:, n] * getattr(dimension, "scale", 1.0)
        line, place = divmod(n, _COLUMNS)
        x, y = place * width + _SIDE, line * line_height + _TITLE
        limits = _limits(contract, which, n)
        far = _histogram(
            axes, column, (x, y, width - 2 * _SIDE, _PANEL), np.quantile(column, [0.01, 0.99]), limits
        )
        note = f", limits {' and '.join(f'{limit:g}' for limit in limits)}" if far else ""
        axes.text(x, y - 6, f"{name} [{dimension.unit.si}]{note}", fontsize=9)
    return _png(figure)


def plot_episodes(rows: Rows) -> bytes:
    """Length of every episode in seconds, in the order of recording."""
    starts = np.unique(rows.first)
    lengths = (rows.last[starts] - starts + 1) / rows.contract.rate_hz
    figure, axes = _canvas(_PANEL + _TITLE + _FOOT)
    box = (_SIDE, _TITLE, _WIDTH - 2 * _SIDE, _PANEL)
    _bars(axes, lengths, box)
    title = (
        f"length of {len(lengths)} episodes: {lengths.min():.1f} to {lengths.max():.1f} s, "
        f"median {np.median(lengths):.1f} s, {lengths.sum() / 60:.1f} minutes in all"
    )
    axes.text(_SIDE, _TITLE - 6, title, fontsize=9)
    _ends(axes, box, "episode 0", f"{len(lengths) - 1}")
    return _png(figure)


def plot_timing(stamps: Sequence[np.ndarray], rate_hz: float) -> bytes:
    """True time between rows; heights are the logarithm of counts."""
    gaps = 1e3 * np.concatenate([np.diff(times) for times in stamps])
    figure, axes = _canvas(_PANEL + _TITLE + _FOOT)
    box = (_SIDE, _TITLE, _WIDTH - 2 * _SIDE, _PANEL)
    _histogram(axes, gaps, box, np.quantile(gaps, [0.01, 0.99]), (1e3 / rate_hz,), bins=120)
    axes.text(_SIDE, _TITLE - 6, "time between rows [ms], in red that of the data set's rate", fontsize=9)
    return _png(figure)


def plot_images(
    store: ImageStore,
    cameras: Sequence[str],
    rows: np.ndarray,
    augmentation: str,
    *,
    gain: float,
    offset: float,
    seed: int,
) -> bytes:
    """Images as the running policy sees them, and twice as they are trained on.

    Args:
        store: Images by row.
        cameras: Their names.
        rows: Which to show, int64 (B,).
        augmentation: `official`, `light` or `none`; `gain`, `offset`: of the light one.
        seed: Of its draws.
    """
    plain = store[rows]
    whole = torch.from_numpy(store.uncropped(rows) if augmentation == "official" else plain)
    kinds = [("when it runs", plain / 255.0)]
    generator = torch.Generator().manual_seed(seed)
    for n in (1, 2):
        draws = draw(augmentation, len(rows), len(cameras), generator, gain=gain, offset=offset)
        kinds.append((f"in training, {n}", augment(augmentation, whole, draws).numpy()))
    figure, axes = _canvas(len(cameras) * len(kinds) * _TILE + _TITLE, _LABEL + len(rows) * _TILE)
    y = float(_TITLE)
    for c, camera in enumerate(cameras):
        for title, images in kinds:
            strip = np.concatenate([np.pad(image, ((0, 1), (0, 1), (0, 0)), constant_values=1.0)
                                    for image in images[:, c]], axis=1)  # fmt: skip
            extent = (_LABEL, _LABEL + len(rows) * _TILE, y + _TILE, y)
            axes.imshow(strip, extent=extent, interpolation="nearest", aspect="auto")
            axes.text(4, y + _TILE / 2, f"{camera}\n{title}", fontsize=9, va="center")
            y += _TILE
    for b, row in enumerate(rows):
        axes.text(_LABEL + b * _TILE, _TITLE - 6, f"row {row}", fontsize=9)
    _frame(axes, y, _LABEL + len(rows) * _TILE)  # imshow changes it
    return _png(figure)


def example_rows(usable: np.ndarray) -> np.ndarray:
    """A few rows, spread over those that may be learned from."""
    rows = np.flatnonzero(usable)
    return rows[np.unique(np.linspace(0, len(rows) - 1, _EXAMPLES).round().astype(int))]


def _limits(contract: Contract, which: str, n: int) -> tuple[float, ...]:
    """Limits, or a gripper's two values, or none."""
    if which == "state":
        d = contract.state[n]
        joint = contract.state_joints[n]
        known = d.field == "position" and joint in contract.limits
        return contract.limits[joint].position if known else ()
    if n in contract.gripper_places:
        scale = contract.action.dimensions[n].scale
        gripper = contract.grippers[contract.gripper_places.index(n)]
        return (gripper.open * scale, gripper.closed * scale)
    joint = contract.action_joints[n]
    if joint not in contract.limits:
        return ()
    if contract.action.space == "joint_position":
        return contract.limits[joint].position
    if contract.action.space == "joint_delta" and contract.action.delta_reference != "chunk_start":
        step = contract.limits[joint].velocity / contract.rate_hz
        return (-step, step)
    return ()


def _canvas(height: float, width: float = _WIDTH) -> tuple[Figure, Axes]:
    """Axes whose coordinates are pixels, y downwards."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    _frame(axes, height, width)
    return figure, axes


def _frame(axes: Axes, height: float, width: float) -> None:
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def _histogram(
    axes: Axes,
    values: np.ndarray,
    box: tuple[float, float, float, float],
    quantiles: Sequence[float] | np.ndarray,
    limits: Sequence[float],
    bins: int = _BINS,
) -> bool:
    """Draw into box (x, y, width, height); whether a limit is too far away to be shown.

    Limits nearer than two widths of the values are within the picture.
    """
    low, high = float(values.min()), float(values.max())
    width = max(high - low, 1e-6)
    near = [limit for limit in limits if low - 2 * width <= limit <= high + 2 * width]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.02 * max(high - low, 1e-6)
    low, high = low - margin, high + margin
    counts, _ = np.histogram(values, bins=bins, range=(low, high))
    _bars(axes, np.log1p(counts), box)
    x, y, box_width, height = box
    kinds: tuple[tuple[Sequence[float] | np.ndarray, str, Literal["--", "-"]], ...]
    kinds = ((quantiles, _QUANTILE, "--"), (near, _LIMIT, "-"))
    for marks, color, style in kinds:
        at = [x + (float(mark) - low) / (high - low) * box_width for mark in marks]
        axes.vlines(at, y, y + height, colors=color, linestyles=style, linewidth=1)
    _ends(axes, box, f"{low:.4g}", f"{high:.4g}")
    return len(near) < len(limits)


def _bars(axes: Axes, heights: np.ndarray, box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    edges = x + width * np.arange(len(heights) + 1) / len(heights)
    tops = y + height * (1 - heights / max(float(heights.max()), 1e-9))
    foot = np.full(len(heights), y + height)
    left, right = edges[:-1], edges[1:]
    corners = np.stack([[left, left, right, right], [foot, tops, tops, foot]], axis=-1)  # (4, N, 2)
    axes.add_collection(PolyCollection(list(corners.transpose(1, 0, 2)), facecolors=_BARS, linewidths=0))
    axes.hlines(y + height, x, x + width, colors="#888888", linewidth=0.8)


def _ends(axes: Axes, box: tuple[float, float, float, float], left: str, right: str) -> None:
    x, y, width, height = box
    axes.text(x, y + height + 13, left, fontsize=7)
    axes.text(x + width, y + height + 13, right, fontsize=7, ha="right")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
