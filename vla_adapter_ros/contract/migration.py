"""Contracts as they were written before: the one place that knows how.

Schema 1 called the command's delay `lead_s`, and its first form had one `gripper:`, told through `command`.
"""

from __future__ import annotations

from typing import Any

from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.untrusted import short

SCHEMA = 2
"""What is written today; all up to it are read."""
_RENAMED = {"command": {"lead_s": "command_delay_s"}}  # part -> old key -> key
_MOVED = {"gripper_topic": "topic", "gripper_type": "type"}  # from `command` to the gripper


def migrate(data: Any) -> Any:
    """A contract's plain data in the form of today.

    Args:
        data: What the YAML holds; it is not changed. Without old keys it comes back as it is.

    Raises:
        ContractError: an old key beside the one that replaced it, or a schema of a newer version.
    """
    if not isinstance(data, dict):
        return data
    schema = data.get("schema")
    if isinstance(schema, int) and not isinstance(schema, bool):
        if not 1 <= schema <= SCHEMA:
            raise ContractError(
                f"contract.schema = {schema}: allowed is 1 to {SCHEMA}; a newer version of vla_adapter_ros "
                "may read it"
            )
        data = data | {"schema": SCHEMA}
    data = _with_grippers(data)
    for part, keys in _RENAMED.items():
        if isinstance(data.get(part), dict):
            data = data | {part: _renamed(data[part], keys, f"contract.{part}")}
    return data


def _renamed(part: dict[Any, Any], keys: dict[str, str], where: str) -> dict[Any, Any]:
    for old, new in keys.items():
        if old in part and new in part:
            raise ContractError(
                f"{where}.{old} = {short(part[old])}: allowed is none beside '{new}', its name of today"
            )
    return {keys.get(key, key): value for key, value in part.items()}


def _with_grippers(data: dict[Any, Any]) -> dict[Any, Any]:
    if "gripper" not in data:
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
