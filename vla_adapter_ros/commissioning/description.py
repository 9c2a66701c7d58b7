"""The description of a robot that is at hand: a file, what the contract names, or what the graph says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.commissioning.urdf import Urdf, parse_urdf
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION, read_urdf, urdf_path
from vla_adapter_ros.errors import KinematicsError


@dataclass(frozen=True)
class Description:
    """A robot's description.

    Attributes:
        urdf: None if there is none at hand.
        text: The URDF itself.
        folder: Where its meshes lie; None if it came from the graph.
        why: Why there is none, in words.
    """

    urdf: Urdf | None = None
    text: str = ""
    folder: Path | None = None
    why: str = ""


def find_description(
    file: Path | None, contract: Contract | None, heard: str, *, listened: bool
) -> Description:
    """The description that is at hand.

    Args:
        file: That a user named; None: none.
        contract: Says where else it comes from.
        heard: What came on the topic robot_description.
        listened: Whether anybody listened to it.

    Raises:
        KinematicsError: a file that the user named cannot be read.
    """
    if file is not None:
        return _from_file(str(file.resolve()))
    source = contract.kinematics.urdf if contract is not None and contract.kinematics else ROBOT_DESCRIPTION
    try:
        if source != ROBOT_DESCRIPTION:
            return _from_file(source)
        if heard:
            return Description(parse_urdf(heard), heard)
    except KinematicsError as error:
        return Description(why=str(error))
    silent = f"nobody publishes {ROBOT_DESCRIPTION}, or it is not latched"
    return Description(why=silent if listened else "none at hand")


def _from_file(source: str) -> Description:
    text = read_urdf(source)
    return Description(parse_urdf(text), text, urdf_path(source).parent)
