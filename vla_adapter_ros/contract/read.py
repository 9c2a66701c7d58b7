"""Read and write robot contracts; every error names the key, the value and what is allowed."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.contract.contract import Contract
from vla_adapter_ros.contract.older import with_grippers
from vla_adapter_ros.contract.resources import robots_folder
from vla_adapter_ros.contract.schema import FIELDS, TOOL_COLUMNS
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.paths import expand, locate
from vla_adapter_ros.untrusted import NAME_RULE, is_finite, is_name, read_yaml, short


def read_contract(name_or_path: str | Path) -> Contract:
    """Read a contract from a YAML file, or by the name of one that ships with the package.

    Args:
        name_or_path: Path of a .yaml file, or a name such as `franka_sim`.

    Raises:
        ContractError: no such file, bad YAML, or a value that is not allowed.
    """
    path = locate(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = robots_folder() / f"{expand(name_or_path)}.yaml"
    try:
        if not path.is_file():
            shipped = sorted(p.stem for p in robots_folder().glob("*.yaml"))
            raise ContractError(f"no contract at {path}; shipped contracts: {', '.join(shipped)}")
        data = read_yaml(path)
    except (OSError, ValueError) as error:
        raise ContractError(f"contract {short(str(path))} cannot be read: {error}") from None
    try:
        return parse_contract(data)
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from None


def parse_contract(data: Any) -> Contract:
    """Build a contract from plain mappings and lists, and check that its parts fit together.

    Raises:
        ContractError: names the key, the value and what is allowed.
    """
    contract = _build(Contract, with_grippers(data), "contract")
    _check(contract)
    return contract


def write_contract(contract: Contract, path: str | Path) -> None:
    """Write a contract as YAML; `read_contract` gives an equal object back."""
    text = yaml.safe_dump(_plain(contract), sort_keys=False, allow_unicode=True, width=100)
    locate(path).write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn plain data into `kind`, which is a dataclass, dict[str, X], tuple[X, ...] or a scalar."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):  # X | None
        inner = next(k for k in typing.get_args(kind) if k is not type(None))
        return None if value is None else _build(inner, value, where)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin is dict:
        _require(isinstance(value, dict) and value, where, value, "a mapping with at least one entry")
        item = typing.get_args(kind)[1]
        return {str(key): _build(item, entry, f"{where}.{key}") for key, entry in value.items()}
    if origin is tuple:
        _require(isinstance(value, list) and value, where, value, "a list with at least one entry")
        item = typing.get_args(kind)[0]
        return tuple(_build(item, entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if kind is float:
        _require(is_finite(value), where, value, "a finite number")
        return float(value)
    if kind is int:
        _require(isinstance(value, int) and not isinstance(value, bool), where, value, "a whole number")
        return value
    _require(isinstance(value, str), where, value, "a text")
    return value


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    _require(isinstance(value, dict), where, value, "a mapping")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = [key for key in value if key not in fields]
    _require(not unknown, where, unknown, f"only these keys: {', '.join(fields)}")
    types = typing.get_type_hints(kind)
    arguments = {}
    for name, entry in fields.items():
        if name in value:
            if entry.metadata.get("may_be_empty"):
                empty, nothing = ({}, {}) if typing.get_origin(types[name]) is dict else ([], ())
                if value[name] == empty:
                    arguments[name] = nothing
                    continue
            arguments[name] = _build(types[name], value[name], f"{where}.{name}")
            _check_range(arguments[name], entry.metadata, f"{where}.{name}")
        else:
            optional = (
                entry.default is not dataclasses.MISSING or entry.default_factory is not dataclasses.MISSING
            )
            _require(optional, where, "missing key", f"the key '{name}'")
    return kind(**arguments)


def _check_range(value: Any, rule: Any, where: str) -> None:
    if value is None:
        return
    if "choices" in rule:
        _require(value in rule["choices"], where, value, f"one of {list(rule['choices'])}")
    if "min" in rule:
        _require(value >= rule["min"], where, value, f"at least {rule['min']}")
    if "above" in rule:
        _require(value > rule["above"], where, value, f"more than {rule['above']}")
    if "max" in rule:
        _require(value <= rule["max"], where, value, f"at most {rule['max']}")


def _check(contract: Contract) -> None:
    """Rules that span several keys."""
    cameras, topics = contract.cameras, contract.topics
    for name, camera in cameras.items():
        _require(is_name(name), "contract.cameras", name, NAME_RULE)  # they become parts of paths
        _require(
            not camera.encoding or camera.transport == "raw",
            f"contract.cameras.{name}.encoding", camera.encoding, "none with transport compressed",
        )  # fmt: skip
    for name, camera in contract.depth_cameras.items():
        _require(is_name(name), "contract.depth_cameras", name, NAME_RULE)
        _require(name not in cameras, "contract.depth_cameras", name, "a name that no camera has")
        _require(
            not camera.encoding, f"contract.depth_cameras.{name}.encoding", camera.encoding,
            "none: depth is what its messages say, 16UC1 [mm] or 32FC1 [m]",
        )  # fmt: skip
    _require(
        contract.reference_camera in cameras,
        "contract.reference_camera", contract.reference_camera, f"one of {list(cameras)}",
    )  # fmt: skip
    for where, names in (("state", contract.state_names), ("action.dimensions", contract.action_names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        _require(not twice, f"contract.{where}", twice, "each name once")
    for i, dimension in enumerate(contract.state):
        where = f"contract.state[{i}]"
        _require(dimension.topic in topics, f"{where}.topic", dimension.topic, f"one of {list(topics)}")
        kind = topics[dimension.topic].type
        _require(dimension.field in FIELDS[kind], f"{where}.field", dimension.field, f"one of {FIELDS[kind]}")
        needs_joint = kind == "joint_state"
        _require(
            bool(dimension.joint) == needs_joint,
            f"{where}.joint", dimension.joint,
            "a joint name" if needs_joint else f"no joint on a {kind} topic",
        )  # fmt: skip
    _check_grippers(contract)
    _check_driven(contract)
    _check_teleop(contract)
    _check_tool(contract)
    measured = set(contract.state_joints) - {""}
    for joint in contract.arm_joints:
        _require(
            joint in measured,
            "contract.limits" if contract.action.space.startswith("ee_") else "contract.action.dimensions",
            joint,
            f"joints measured in state: {sorted(measured)}",
        )
        _require(
            joint in contract.limits, "contract.limits", f"no limits for {joint}", "an entry per arm joint"
        )
    for joint, limit in contract.limits.items():
        ok = len(limit.position) == 2 and limit.position[0] < limit.position[1]
        _require(ok, f"contract.limits.{joint}.position", list(limit.position), "[low, high] with low < high")


def _check_grippers(contract: Contract) -> None:
    """Every gripper moves by a dimension of its own, and is told on a topic of its own."""
    for i, gripper in enumerate(contract.grippers):
        where, before = f"contract.grippers[{i}]", contract.grippers[:i]
        _require(
            gripper.dimension in contract.action_names,
            f"{where}.dimension", gripper.dimension, f"one of {contract.action_names}",
        )  # fmt: skip
        _require(gripper.open != gripper.closed, f"{where}.open", gripper.open, "another value than 'closed'")
        for key in ("dimension", "joint", "topic"):
            value = getattr(gripper, key)
            _require(
                value not in [getattr(other, key) for other in before],
                f"{where}.{key}", value, "another one than that of a gripper before it",
            )  # fmt: skip


def _check_driven(contract: Contract) -> None:
    """Every joint of the arm is driven by one dimension; `joint` stands only where it says something."""
    _require(
        contract.arm_places,
        "contract.action.dimensions", list(contract.action_names), "at least one that is no gripper's",
    )  # fmt: skip
    for i, (dimension, joint) in enumerate(
        zip(contract.action.dimensions, contract.action_joints, strict=True)
    ):
        where = f"contract.action.dimensions[{i}].joint"
        why = (
            f"none in {contract.action.space}" if contract.action.space.startswith("ee_")
            else "none here: the joint is named with the gripper"
        )  # fmt: skip
        _require(joint or not dimension.joint, where, dimension.joint, why)
        _require(
            not joint or joint not in contract.action_joints[:i],
            where, joint, "a joint that no dimension before drives",
        )  # fmt: skip


def _check_teleop(contract: Contract) -> None:
    """A human's commands must not be the controller's own, and a clutch needs a topic."""
    teleop = contract.teleop
    _require(
        teleop.topic != contract.action.topic,
        "contract.teleop.topic", teleop.topic,
        "another topic than action.topic: the controller publishes there, and would take itself for a human",
    )  # fmt: skip
    _require(
        bool(teleop.takeover_topic) == (teleop.takeover == "topic"),
        "contract.teleop.takeover_topic", teleop.takeover_topic,
        "the topic of the clutch with takeover: topic, and none without",
    )  # fmt: skip
    _require(
        not teleop.publishers or teleop.route == "direct",
        "contract.teleop.publishers", list(teleop.publishers), "none unless route is direct",
    )  # fmt: skip


def _check_tool(contract: Contract) -> None:
    """What concerns the tool point: columns of the ee spaces, the box, and where kinematics are needed."""
    ee, command = contract.action.space.startswith("ee_"), contract.command.type
    _require(
        not ee or contract.arm_columns == TOOL_COLUMNS,
        "contract.action.dimensions", contract.arm_columns, f"{TOOL_COLUMNS} in {contract.action.space}",
    )  # fmt: skip
    needs = [name for name, needed in (
        (f"action space {contract.action.space}", ee),
        (f"command type {command}", command.startswith("cartesian_")),
        ("a workspace", contract.workspace is not None),
    ) if needed]  # fmt: skip
    _require(
        contract.kinematics is not None or not needs,
        "contract.kinematics", None, f"an entry, since it is needed for {', '.join(needs)}",
    )  # fmt: skip
    if contract.workspace is not None:
        low, high = contract.workspace.low, contract.workspace.high
        _require(
            len(low) == len(high) == 3 and all(a < b for a, b in zip(low, high, strict=True)),
            "contract.workspace", [list(low), list(high)], "[x, y, z] each, low < high",
        )  # fmt: skip


def _require(ok: Any, where: str, value: Any, allowed: str) -> None:
    if not ok:
        raise ContractError(f"{where} = {short(value)}: allowed is {allowed}")
