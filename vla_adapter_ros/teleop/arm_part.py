"""The arm of a robot that one device drives, among several: its joints, its grippers, its kinematics."""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.commissioning.urdf import parse_urdf, tool_link
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import Route
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.errors import ContractError, KinematicsError, ParameterError


@dataclass(frozen=True)
class ArmPart:
    """What one device drives.

    Attributes:
        dimensions: Names of the action values that it gives, in the action's order.
        joints: Places of its joints in the contract's arm joints, in order; without those that close a hand.
        hands: Places of joints of the arm's own controller that close a hand, of robots without an entry
            `grippers` for it.
        grippers: Places of its grippers in the contract's.
    """

    dimensions: tuple[str, ...]
    joints: tuple[int, ...]
    hands: tuple[int, ...]
    grippers: tuple[int, ...]


def require_drivable(contract: Contract) -> None:
    """Refuse a robot that no commands of a human reach through the controller.

    Raises:
        ContractError: its arm is guided by hand, or its human's device drives it directly.
    """
    if not contract.teleop_groups:
        raise ContractError("contract.teleop.topic = none: allowed is a topic for the commands of a human")
    if contract.teleop.route is not Route.THROUGH_CONTROLLER:
        raise ContractError(
            f"contract.teleop.route = {contract.teleop.route}: allowed for gamepads, 6D mice and jogging is "
            f"{Route.THROUGH_CONTROLLER}, as they rely on the controller's limits"
        )


def arm_part(contract: Contract, group: int) -> ArmPart:
    """The arm that is driven.

    Args:
        contract: The robot's contract.
        group: 0: all joints; from 1 on an entry of `teleop.groups`, or else of `command.groups`. A gripper
            belongs to the group whose joint stands before it in the action.

    Raises:
        ParameterError: the contract has no such group.
    """
    names = contract.action_names
    if group == 0:
        return _part(contract, names)
    if contract.teleop.groups:
        key, groups = "teleop.groups", [entry.dimensions for entry in contract.teleop.groups]
    else:
        key, groups = "command.groups", [_with_grippers(contract, g.joints) for g in contract.command.groups]
    if group > len(groups):
        raise ParameterError(
            f"parameters.group = {group}: allowed is 0 for all joints"
            + (
                f", or 1 to {len(groups)} for an entry of {key}"
                if groups
                else ", as the contract has no groups"
            )
        )
    chosen = groups[group - 1]
    return _part(contract, tuple(name for name in names if name in chosen))


def _with_grippers(contract: Contract, joints: tuple[str, ...]) -> tuple[str, ...]:
    """Dimensions of a command group, with the grippers that follow its joints in the action."""
    if contract.action.space.is_cartesian:
        return contract.action_names
    grippers = {gripper.dimension for gripper in contract.grippers}
    found, ours = [], contract.action_joints[contract.arm_places[0]] in joints
    for name, joint in zip(contract.action_names, contract.action_joints, strict=True):
        ours = ours if name in grippers else joint in joints
        if ours:
            found.append(name)
    return tuple(found)


def _part(contract: Contract, dimensions: tuple[str, ...]) -> ArmPart:
    if contract.action.space.is_cartesian:
        driven = list(range(len(contract.arm_joints)))
    else:
        driven = [
            contract.arm_joints.index(joint)
            for name, joint in zip(contract.action_names, contract.action_joints, strict=True)
            if joint and name in dimensions
        ]
    grippers = tuple(n for n, gripper in enumerate(contract.grippers) if gripper.dimension in dimensions)
    hands = [] if grippers else [n for n in driven if is_gripper(contract.arm_joints[n])]
    return ArmPart(dimensions, tuple(n for n in driven if n not in hands), tuple(hands), grippers)


def part_kinematics(
    contract: Contract, part: ArmPart, urdf_text: str, base_link: str = "", tool_link_: str = ""
) -> ArmKinematics:
    """Kinematics of the joints that a device drives.

    Args:
        contract: The robot's contract; its links count where it has an entry `kinematics`.
        part: The joints.
        urdf_text: The URDF itself.
        base_link: Frame of the motion; empty: the contract's, else the URDF's root.
        tool_link_: The tool; empty: the contract's, else a link at the end of the arm that is called a tool.

    Raises:
        KinematicsError: see `parse_urdf` and `ArmKinematics`, or the arm has no end.
    """
    joints = tuple(contract.arm_joints[n] for n in part.joints)
    entry, urdf = contract.kinematics, parse_urdf(urdf_text)
    if missing := [joint for joint in joints if joint not in urdf.joints]:
        raise KinematicsError(f"joints {missing} are not in the URDF: it has {sorted(urdf.moving)}")
    base = base_link or (entry.base_link if entry else urdf.root)
    tool = tool_link_ or (entry.tool_link if entry else tool_link(urdf, joints))
    if not tool:
        raise KinematicsError(
            f"no link of the URDF is moved by all of {list(joints)}: with several arms, choose one by `group`"
        )
    return ArmKinematics(urdf_text, joints, base, tool)
