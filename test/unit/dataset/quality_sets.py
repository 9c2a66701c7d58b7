"""Small data sets in which everything is right, to be spoilt by the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from recording_samples import CONTRACT

from vla_adapter_ros.dataset.quality.dataset_report import DatasetReport, check_dataset
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.observation.frame import Frame

EPISODES, ROWS = 5, 60
STREAMS = (*CONTRACT.cameras, *CONTRACT.topics, CONTRACT.action.topic)


def make_frame(episode: int, n: int, rows: int = ROWS) -> Frame:
    """Frame n of an episode at 10 Hz: all joints move, the gripper closes once, each camera sees its own."""
    phase = 2 * np.pi * (n + 2 * episode) / 60
    middle = np.array([sum(CONTRACT.limits[j].position) / 2 for j in CONTRACT.arm_joints])
    lead = middle + 0.3 * np.sin(phase + 0.2 + np.arange(7)) + 0.02 * episode
    arm = middle + 0.3 * np.sin(phase + np.arange(7)) + 0.02 * episode
    finger, command = (0.04, 1.0) if n < rows // 2 else (0.0, 0.0)
    images = {}
    for c, name in enumerate(CONTRACT.cameras):
        image = np.full((112, 112, 3), 100, dtype=np.uint8)
        half = (slice(0, 50), slice(None)) if c else (slice(None), slice(0, 50))
        image[half] = (40, 90, 160) if c else (170, 120, 60)
        x = 2 * n % 80
        image[60:90, x : x + 25] = (220, 60, 60)
        images[name] = image
    ages = {name: 0.004 * place for place, name in enumerate(STREAMS)}
    stamp = 50.0 + 100 * episode + 0.1 * n
    return Frame(
        stamp, images, np.array([*arm, finger, *(0.1 * arm[:3])]), np.array([*lead, command]), ages, stamp
    )


def make_set(
    root: Path, episodes: int = EPISODES, rows: int = ROWS, codec: str = "h264", change=None
) -> Path:
    """Record a data set; `change` gets (episode, row, frame) and gives the frame that is recorded."""
    with DatasetWriter(root, CONTRACT, codec=codec) as writer:
        for episode in range(episodes):
            writer.start_episode(("lift the cube", "push the cube")[episode % 2])
            for n in range(rows):
                frame = make_frame(episode, n, rows)
                writer.add_frame(frame if change is None else change(episode, n, frame), 1)
            writer.save_episode()
    return root


def edit_column(path: Path, name: str, change) -> None:
    """Rewrite a column of a parquet file: `change` gets its values as a list."""
    table = pq.read_table(path)
    place = table.column_names.index(name)
    field = table.schema.field(name)
    values = pa.array(change(table[name].to_pylist()), field.type)
    pq.write_table(table.set_column(place, field, values), path)


def findings(root: Path, **options) -> dict[str, str]:
    """Check -> level, the worst of all episodes for those of single episodes."""
    return levels_of(check_dataset(root, **options))


def levels_of(report: DatasetReport) -> dict[str, str]:
    """As `findings`, of a report."""
    found: dict[str, list] = {}
    for finding in report.structure:
        found.setdefault(finding.name, []).append(finding.level)
    for episode in report.episodes:
        for finding in episode.findings if episode else ():
            found.setdefault(finding.name, []).append(finding.level)
    return {name: max(levels, key=lambda level: level.rank).value for name, levels in found.items()}
