"""The README.md of a data set: LeRobot's data set card, which the Hub shows and searches."""

from __future__ import annotations

import contextlib
from pathlib import Path

from vla_adapter_ros import files
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.mapping import dimension_names
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import VlaAdapterError

CARD = "README.md"
_HEADER = """---
license: other  # fill in, such as apache-2.0; the Hub lists the names that it knows
tags:
- LeRobot
task_categories:
- robotics
configs:
- config_name: default
  data_files: data/*/*.parquet
---
"""
_MORE = "[More Information Needed]"


def write_card(root: Path) -> bool:
    """Give a v3.0 data set a card if it has no README of any kind; returns whether one was written.

    Nothing is raised: a data set without a card is whole.
    """
    with contextlib.suppress(OSError, VlaAdapterError):
        if any(path.name.lower().startswith("readme") for path in root.iterdir()):
            return False
        text = dataset_card(DatasetReader(root))
        files.write_text(root / CARD, text)
        return True
    return False


def dataset_card(reader: DatasetReader) -> str:
    """Text of the card. It says nothing that changes while recording goes on, such as numbers of episodes."""
    contract = reader.contract
    robot = contract.robot_type if contract else reader.info.get("robot_type")
    lines = ["## Dataset Description", ""]
    lines += [
        f"Demonstrations with robot `{robot}`, {reader.fps:g} rows per second, in LeRobot {layout.VERSION}."
    ]
    lines += ["", f"- **Homepage:** {_MORE}", f"- **Paper:** {_MORE}", f"- **License:** {_MORE}", ""]
    lines += ["## Dataset Structure", "", "| feature | type | shape | names |", "|---|---|---|---|"]
    for name, feature in reader.features.items():
        names = ", ".join(map(str, dimension_names(feature) or ())) if feature["dtype"] != "video" else ""
        shape = " x ".join(map(str, feature.get("shape") or ()))
        lines.append(f"| `{_cell(name)}` | {_cell(feature['dtype'])} | {shape} | {_cell(names)} |")
    lines += ["", "[meta/info.json](meta/info.json) says how many episodes and frames there are, and "]
    lines[-1] += "`meta/tasks.parquet` what was to be done in them."
    if contract is not None:
        lines += [
            "[meta/contract.yaml](meta/contract.yaml) describes the robot: joints, units, cameras, limits."
        ]
    lines += ["", "## Citation", "", "**BibTeX:**", "", "```bibtex", _MORE, "```", ""]
    return _HEADER + "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
