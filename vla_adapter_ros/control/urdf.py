"""Where an arm's URDF comes from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.errors import KinematicsError
from vla_adapter_ros.paths import expand

ROBOT_DESCRIPTION = "robot_description"
_PACKAGE = "package:"


def urdf_path(source: str) -> Path:
    """Where a URDF file lies.

    Args:
        source: An absolute path, one from the home folder (`~/arm.urdf`), or
            `package:NAME/PATH` for a file inside an installed Python package.
            Relative paths are refused: contracts travel with data sets and
            checkpoints.

    Raises:
        KinematicsError: no such package, or `robot_description`, which is a topic.
    """
    path = _in_package(source) if source.startswith(_PACKAGE) else expand(source)
    if not path.is_absolute():
        raise KinematicsError(
            f"URDF '{source}': allowed are an absolute path, 'package:NAME/PATH' in a Python package, "
            f"and '{ROBOT_DESCRIPTION}' for the topic"
        )
    return path


def read_urdf(source: str) -> str:
    """The text of a URDF file.

    Args:
        source: See `urdf_path`.

    Raises:
        KinematicsError: no such file or package, or `robot_description`, which is a topic.
    """
    path = urdf_path(source)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KinematicsError(f"URDF '{source}' cannot be read from {path}: {error}") from error


def contract_kinematics(contract: Contract, robot_description: str | None = None) -> ArmKinematics | None:
    """Kinematics of the contract's arm.

    Args:
        contract: The robot's contract.
        robot_description: What came on the topic `robot_description`, if anything did.

    Returns:
        None if the contract has no entry `kinematics`, or its URDF is to come
        on the topic and has not come yet.

    Raises:
        KinematicsError: see `read_urdf` and `ArmKinematics`.
    """
    entry = contract.kinematics
    if entry is None:
        return None
    if entry.urdf == ROBOT_DESCRIPTION:
        if robot_description is None:
            return None
        text = robot_description
    else:
        text = read_urdf(entry.urdf)
    return ArmKinematics(text, contract.arm_joints, entry.base_link, entry.tool_link)


def _in_package(source: str) -> Path:
    name, _, inside = source.removeprefix(_PACKAGE).partition("/")
    try:
        found = importlib.util.find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        found = None
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        if inside and (Path(place) / inside).is_file():
            return (Path(place) / inside).resolve()
    raise KinematicsError(
        f"URDF '{source}': "
        + (f"no file '{inside}' in {places}" if places else f"no Python package '{name}' is installed")
    )
