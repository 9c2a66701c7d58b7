"""Fits a policy or backbone to rows that count from the joints' positions."""

from __future__ import annotations

import dataclasses

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy


def with_relative_rows(policy: VlaAdapterPolicy, robot: Contract, relative: bool) -> VlaAdapterPolicy:
    """The same model, whose head gives joint positions relative to those of the state, or absolute ones.

    A head that is kept means something else by that: it has to be trained again.

    Args:
        policy: A backbone, or a policy.
        robot: Whose values action and state are.
        relative: Whether they are relative.

    Raises:
        TrainingError: the robot's action has no joint position that is in its state.
    """
    columns = relative_columns(robot) if relative else ()
    if relative and max(columns, default=-1) < 0:
        raise TrainingError(
            f"relative_rows with an action of {robot.action.space}: allowed is joint_position of joints "
            "whose position is in the state"
        )
    return policy.replace(config=dataclasses.replace(policy.config, relative_to=columns))


def relative_columns(robot: Contract) -> tuple[int, ...]:
    """Of each action value the place in the state of its joint's position (A,), -1 where there is none."""
    if robot.action.space is not ActionSpace.JOINT_POSITION:
        return (-1,) * len(robot.action_names)
    named = zip(robot.state, robot.state_joints, strict=True)
    places = {joint: n for n, (d, joint) in enumerate(named) if joint and d.field == "position"}
    arm = set(robot.arm_places)
    return tuple(
        places.get(joint, -1) if n in arm and dimension.scale == 1.0 else -1
        for n, (joint, dimension) in enumerate(zip(robot.action_joints, robot.action.dimensions, strict=True))
    )
