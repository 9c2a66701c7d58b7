"""Draws episodes of a data set: images, curves and quality report, as PNG files and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.opening import Dataset, find_episodes, open_dataset
from vla_adapter_ros.dataset.quality.episode import validate_episode
from vla_adapter_ros.dataset.quality.findings import QualityReport
from vla_adapter_ros.dataset.quality.images import measure_images
from vla_adapter_ros.dataset.quality.samples import Samples, describing_contract
from vla_adapter_ros.dataset.quality.settings import QualitySettings
from vla_adapter_ros.dataset.quality.stored_samples import samples_of
from vla_adapter_ros.dataset.tools.info import describe_dataset, overview
from vla_adapter_ros.html import Picture, write_html
from vla_adapter_ros.paths import locate

_SHOWN = 8  # images per camera on a contact sheet
_WIDTH = 200  # of an image on it [px]
_COLUMNS = 4  # curves side by side


class _Shown(NamedTuple):
    """An episode on the page."""

    title: str
    seconds: float
    pictures: list[Picture]
    report: QualityReport


def draw_dataset(
    root: str | Path,
    output: str | Path,
    *,
    episodes: Sequence[int] | None = None,
    most: int = 20,
    mapping: str | Path | None = None,
    contract: Contract | None = None,
) -> Path:
    """Write two PNG files per episode, and a page that shows them; the page needs nothing from the net.

    Args:
        root: Folder of the data set.
        output: Folder to write to; files of the same names are replaced.
        episodes: Numbers, as the data set itself has them (`episode_index`), of those to draw; all if None,
            but at most `most`, evenly spread.
        most: See there.
        mapping: What its names are called in a contract, for a data set by others.
        contract: For a data set that carries none.

    Returns:
        The page, index.html.

    Raises:
        DatasetError: it cannot be opened or read, or has no such episode.
    """
    dataset, output = open_dataset(root, mapping, contract), locate(output)
    if episodes is None:
        count = min(max(most, 1), dataset.num_episodes)
        places = np.unique(np.linspace(0, dataset.num_episodes - 1, count).round().astype(int)).tolist()
    else:
        places = find_episodes(dataset, episodes)
    output.mkdir(parents=True, exist_ok=True)
    settings = QualitySettings()
    shown = []
    for episode in places:
        number = dataset.episodes[episode].number
        rows = dataset.rows(episode)
        times = _times(samples_of(dataset, rows, {}))
        sheet, measured = _look(dataset, episode, times, settings)
        samples = samples_of(dataset, rows, measured)
        report = validate_episode(samples, settings, describing_contract(samples, dataset.contract))
        images, curves = f"episode_{number:04d}_images.png", f"episode_{number:04d}_curves.png"
        if sheet is not None:
            cv2.imwrite(str(output / images), sheet[..., ::-1])
        _draw_curves(output / curves, samples, rows.get(layout.CONTROL_SOURCE))
        title = f"Episode {number}: {_tasks(dataset.row_tasks(episode), times)}"
        names = [curves] if sheet is None else [images, curves]
        shown.append(_Shown(title, float(times[-1]), [Picture(title, name) for name in names], report))
    page = output / "index.html"
    write_html(
        page,
        "dataset",
        folder=root,
        about="\n".join(overview(describe_dataset(root, mapping=mapping, contract=contract))),
        count=dataset.num_episodes,
        episodes=shown,
    )
    return page


def _tasks(tasks: Sequence[str], times: np.ndarray) -> str:
    """What was to be done, with the times from which on where it changes."""
    starts = [n for n in range(len(tasks)) if n == 0 or tasks[n] != tasks[n - 1]]
    return tasks[0] if len(starts) == 1 else "; ".join(f"from {times[n]:.1f} s {tasks[n]}" for n in starts)


def _times(samples: Samples) -> np.ndarray:
    """Time of each row since the first, by real stamps where there are some: (T,) [s]."""
    if samples.stamps is None:
        return np.arange(len(samples.state)) / samples.fps
    times: np.ndarray = samples.stamps - samples.stamps[0]
    return times


def _look(
    dataset: Dataset, episode: int, times: np.ndarray, settings: QualitySettings
) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """Decode an episode: its contact sheet, uint8 (H, W, 3) RGB, and its measured images."""
    shown = min(_SHOWN, len(times))
    wanted = set(np.linspace(0, len(times) - 1, shown).round().astype(int).tolist())
    bands, measured = [], {}
    for camera in dataset.cameras:
        tiles: list[np.ndarray] = []

        def images(camera: str = camera, tiles: list[np.ndarray] = tiles) -> Any:
            for n, image in enumerate(dataset.images(camera, episode)):
                if n in wanted:
                    tiles.append(_tile(image, f"{camera} {times[n]:.1f} s"))
                yield image

        measured[camera] = measure_images(images(), settings)
        bands.append(np.hstack(tiles))
    if not bands:
        return None, {}
    width = max(band.shape[1] for band in bands)
    return np.vstack([np.pad(b, ((0, 0), (0, width - b.shape[1]), (0, 0))) for b in bands]), measured


def _tile(image: np.ndarray, text: str) -> np.ndarray:
    """An image at the sheet's width with a line of text below it."""
    height = round(image.shape[0] * _WIDTH / image.shape[1])
    tile = np.full((height + 20, _WIDTH + 4, 3), 255, dtype=np.uint8)
    how = cv2.INTER_AREA if image.shape[1] > _WIDTH else cv2.INTER_LINEAR
    tile[:height, :_WIDTH] = cv2.resize(image, (_WIDTH, height), interpolation=how)
    cv2.putText(tile, text, (2, height + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def _draw_curves(path: Path, samples: Samples, sources: np.ndarray | None) -> None:
    """One plot per name: what was measured, and what was commanded where the names are the same."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [*samples.state_names, *(n for n in samples.action_names if n not in samples.state_names)]
    rows = max(1, -(-len(names) // _COLUMNS))
    height = 0.9 + 2.0 * rows
    figure = Figure(figsize=(16, height))
    # Fixed margins: letting matplotlib find them takes several times as long as drawing.
    figure.subplots_adjust(0.04, 0.45 / height, 0.99, 1 - 0.55 / height, wspace=0.18, hspace=0.35)
    FigureCanvasAgg(figure)
    figure.suptitle("blue: state; orange, dashed: action; shaded: the policy was in control", fontsize=9)
    time = _times(samples)
    for n, name in enumerate(names):
        axes = figure.add_subplot(rows, _COLUMNS, n + 1)
        if name in samples.state_names:
            axes.plot(time, samples.state[:, samples.state_names.index(name)], color="#1f5fa8")
        if name in samples.action_names:
            column = samples.action[:, samples.action_names.index(name)]
            axes.plot(time, column, color="#d9541e", linestyle="--")
        if sources is not None:
            low, high = axes.get_ylim()
            axes.fill_between(time, low, high, where=sources == 2, color="#8a5fc0", alpha=0.15, linewidth=0)
            axes.set_ylim(low, high)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        if n + _COLUMNS >= len(names):
            axes.set_xlabel("time [s]", fontsize=8)
    figure.savefig(path, dpi=90)
