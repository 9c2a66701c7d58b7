"""Contracts that differ from the shipped ones in what a test is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.read import plain_contract
from vla_adapter_ros.contract.resources import robots_folder

KINEMATICS = {"urdf": "robot_description", "base_link": "fr3_link0", "tool_link": "fr3_hand_tcp"}
GRIPPER = plain_contract(read_contract("franka_sim"))["grippers"][0]


def contract_file(folder: Path, base: str = "franka_sim", **changes: Any) -> str:
    """Write a contract like `base`, with `changes` merged into its sections; returns its path."""
    text = (robots_folder() / f"{base}.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    for section, change in changes.items():
        if isinstance(change, dict) and isinstance(values.get(section), dict):
            values[section] |= change
        else:
            values[section] = change
    path = folder / "contract.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return str(path)
