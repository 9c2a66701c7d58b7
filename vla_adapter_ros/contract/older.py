"""Contracts as they were written before: the one place that knows how."""

from __future__ import annotations

from typing import Any

from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.untrusted import short

_MOVED = {"gripper_topic": "topic", "gripper_type": "type"}  # from `command` to the gripper


def with_grippers(data: Any) -> Any:
    """A contract's plain data with `grippers:`, where it has the one `gripper:` of before.

    Args:
        data: What the YAML holds; it is not changed. Without `gripper` it comes back as it is.

    Raises:
        ContractError: both keys.
    """
    if not isinstance(data, dict) or "gripper" not in data:
        return data
    if "grippers" in data:
        raise ContractError(
            f"contract.gripper = {short(data['gripper'])}: allowed is none beside 'grippers', "
            "which lists all of them"
        )
    rest = {key: value for key, value in data.items() if key != "gripper"}
    gripper, command = data["gripper"], data.get("command")
    if isinstance(command, dict):
        rest["command"] = {key: value for key, value in command.items() if key not in _MOVED}
        if isinstance(gripper, dict):
            gripper = gripper | {new: command[old] for old, new in _MOVED.items() if old in command}
    return rest | {"grippers": [gripper]}
