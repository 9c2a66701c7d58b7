"""The data before a training on one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vla_adapter_ros.dataset.quality.findings import Finding, Level, worst
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.html import embedded, write_html
from vla_adapter_ros.training.data.image_store import ImageStore
from vla_adapter_ros.training.data.preflight_checks import Preflight
from vla_adapter_ros.training.data.preflight_plots import (
    example_rows,
    plot_episodes,
    plot_images,
    plot_timing,
    plot_values,
)
from vla_adapter_ros.training.data.samples import Rows
from vla_adapter_ros.training.settings import FinetuneSettings

_SUMMARY = {
    Level.PASS: "Nothing was found.",
    Level.WARN: "The data can be trained on. Read the warnings first: they do not stop a training.",
    Level.FAIL: "The data cannot be trained on as it is.",
}


def draw_pictures(
    preflight: Preflight, rows: Rows, store: ImageStore, settings: FinetuneSettings, augmentation: str
) -> list[tuple[str, bytes]]:
    """Titles and PNGs, in the order of the page."""
    contract = rows.contract
    pictures = [
        (
            "What each camera shows the model",
            plot_images(
                store, contract.camera_names, example_rows(rows.usable), augmentation, gain=settings.gain,
                offset=settings.offset, seed=settings.seed,
            ),
        ),
        ("State: q01 and q99 dashed, limits in red, counts on a log scale", plot_values(rows, "state")),
        ("Action: q01 and q99 dashed, limits or gripper positions in red", plot_values(rows, "action")),
        ("Episodes", plot_episodes(rows)),
    ]  # fmt: skip
    if any(len(times) > 1 for times in preflight.stamps):
        pictures.append(("Timing", plot_timing(preflight.stamps, contract.rate_hz)))
    return pictures


def write_page(
    path: Path,
    preflight: Preflight,
    rows: Rows | None,
    store: ImageStore | None,
    settings: FinetuneSettings,
    augmentation: str,
    facts: Mapping[str, object],
) -> None:
    """Write the page, checks in the order of their severity.

    Without rows, or where images cannot be decoded, it has fewer pictures.
    """
    pictures: list[tuple[str, bytes]] = []
    checks = preflight.findings
    if rows is not None and store is not None:
        try:
            pictures = draw_pictures(preflight, rows, store, settings, augmentation)
        except VlaAdapterError as error:
            checks = (*checks, Finding("pictures", Level.WARN, 0.0, str(error)))
    write_html(
        path,
        "training_data",
        level=(level := worst(check.level for check in checks)),
        summary=_SUMMARY[level],
        about=facts,
        checks=sorted(checks, key=lambda check: -check.level.rank),
        pictures=[embedded(*picture) for picture in pictures],
    )
