"""The robot's kinematics for a node: from the contract's URDF file, or from the topic robot_description."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from std_msgs.msg import String

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION, contract_kinematics
from vla_adapter_ros.errors import KinematicsError
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.topics import LATCHED


def needs_kinematics(contract: Contract) -> bool:
    """Whether the controller cannot do without: Cartesian actions or commands, or a workspace box."""
    cartesian = contract.action.space.is_cartesian or contract.command.type.is_cartesian
    return cartesian or contract.workspace is not None


def watch_description(
    node: ManagedNode[Any],
    contract: Contract,
    receive: Callable[[Callable[[], ArmKinematics]], None],
    report_problem: Callable[[str], None],
) -> None:
    """Hand over the kinematics once the URDF is there.

    Args:
        node: Subscribes, if the contract says `robot_description`.
        contract: The robot's contract; without an entry `kinematics` nothing happens.
        receive: Gets a function that builds kinematics, to be called once per thread
            that uses them (one object serves one thread).
        report_problem: Gets why there are no kinematics, where they are not needed. What is wrong with a
            URDF that comes by topic is reported as a fault of that topic.

    Raises:
        KinematicsError: kinematics are needed, and the URDF file or the library is no good.
    """
    if contract.kinematics is None:
        return

    def hand_over(text: str | None) -> None:
        receive(partial(_build, contract, text))

    if contract.kinematics.urdf == ROBOT_DESCRIPTION:
        node.listen(String, ROBOT_DESCRIPTION, lambda m: hand_over(m.data), LATCHED, always=True)
        return
    try:
        hand_over(None)
    except KinematicsError as error:
        if needs_kinematics(contract):
            raise
        report_problem(f"no kinematics, and so no limits from the URDF: {error}")


def _build(contract: Contract, text: str | None) -> ArmKinematics:
    kinematics = contract_kinematics(contract, text)
    if kinematics is None:
        raise KinematicsError("contract.kinematics = none: allowed is an entry with a URDF that is there")
    return kinematics
