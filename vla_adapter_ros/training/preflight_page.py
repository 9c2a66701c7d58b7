"""The data before a training on one HTML page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from vla_adapter_ros.dataset.quality.findings import Finding, Level, worst
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.training.data import Rows
from vla_adapter_ros.training.images import ImageStore
from vla_adapter_ros.training.preflight import Preflight
from vla_adapter_ros.training.preflight_plots import (
    example_rows,
    plot_episodes,
    plot_images,
    plot_timing,
    plot_values,
)
from vla_adapter_ros.training.settings import FinetuneSettings

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto; }
body { padding: 0 1rem; } h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } td { padding: 0.25rem 0.8rem; border-bottom: 1px solid #ddd; }
td { vertical-align: top; } td:first-child { font-weight: 600; white-space: nowrap; }
.pass { color: #2b8a3e; } .warn { color: #b35900; } .fail { color: #c92a2a; } .skip { color: #888; }
.facts { color: #555; } img { max-width: 100%; }
"""
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


def format_page(
    checks: Sequence[Finding], pictures: Sequence[tuple[str, bytes]], facts: Mapping[str, object]
) -> str:
    """The page as text, pictures (title, PNG) inside; checks stand in the order of their severity."""
    order = sorted(checks, key=lambda check: -check.level.rank)
    level = worst(c.level for c in checks)
    lines = [
        f"<tr><td class={c.level}>{c.level} {escape(c.name)}</td><td>{escape(c.text)}</td></tr>"
        for c in order
    ]
    told = "<br>".join(f"{escape(name)}: {escape(str(value))}" for name, value in facts.items())
    shown = "".join(
        f'<h2>{escape(title)}</h2><img alt="{escape(title)}" src="data:image/png;base64,'
        f'{base64.b64encode(png).decode()}">'
        for title, png in pictures
    )
    return (
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Data of a training</title>"
        f"<style>{_STYLE}</style><h1>Data of a training</h1><p class={level}><b>{_SUMMARY[level]}</b></p>"
        f"<p class=facts>{told}</p><table class=checks>{''.join(lines)}</table>{shown}</html>\n"
    )


def write_page(
    path: Path,
    preflight: Preflight,
    rows: Rows | None,
    store: ImageStore | None,
    settings: FinetuneSettings,
    augmentation: str,
    facts: Mapping[str, object],
) -> None:
    """Write the page; without rows, or where images cannot be decoded, it has fewer pictures."""
    pictures: list[tuple[str, bytes]] = []
    checks = preflight.checks
    if rows is not None and store is not None:
        try:
            pictures = draw_pictures(preflight, rows, store, settings, augmentation)
        except VlaAdapterError as error:
            checks = (*checks, Finding("pictures", Level.WARN, 0.0, str(error)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(format_page(checks, pictures, facts), encoding="utf-8")
