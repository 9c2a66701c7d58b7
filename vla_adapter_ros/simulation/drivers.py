"""Which emulated driver a contract asks for, and how it is set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import CommandType
from vla_adapter_ros.simulation.cartesian_controllers import CartesianPoseController, CartesianTwistController
from vla_adapter_ros.simulation.forward_controllers import (
    ForwardPositionController,
    ForwardVelocityController,
)
from vla_adapter_ros.simulation.kinematics import Kinematics
from vla_adapter_ros.simulation.mjcf import ARM_JOINTS
from vla_adapter_ros.simulation.trajectory_controller import TrajectoryController

Driver = (
    TrajectoryController
    | ForwardPositionController
    | ForwardVelocityController
    | CartesianPoseController
    | CartesianTwistController
)


@dataclass(frozen=True)
class DriverSettings:
    """Settings of the arm's driver; see `TrajectoryController` for the first four.

    Attributes:
        path_tolerance, goal_tolerance: Of the trajectory controller [rad]; 0: none.
        goal_time_s: Time after the last point to reach the goal [s].
        from_desired: Whether a new trajectory starts from the desired state.
        command_timeout_s: Age at which a velocity or twist counts as 0 [s].
    """

    path_tolerance: float = 0.0
    goal_tolerance: float = 0.0
    goal_time_s: float = 0.0
    from_desired: bool = True
    command_timeout_s: float = 0.1


def make_driver(contract: Contract, kinematics: Kinematics, settings: DriverSettings) -> Driver:
    """The driver that takes what `contract.command.type` says, holding all joints at 0.

    Joints are in the order of the simulated arm; commands by position (forward
    controllers) are in the order of the contract's `arm_joints`.
    """
    names, still = ARM_JOINTS, np.zeros(len(ARM_JOINTS))
    kind = contract.command.type
    if kind is CommandType.JOINT_TRAJECTORY:
        return TrajectoryController(
            names,
            still,
            path_tolerance=settings.path_tolerance,
            goal_tolerance=settings.goal_tolerance,
            goal_time_s=settings.goal_time_s,
            from_desired=settings.from_desired,
        )
    if kind is CommandType.FORWARD_POSITION:
        return ForwardPositionController(names, still)
    if kind is CommandType.FORWARD_VELOCITY:
        return ForwardVelocityController(names, still, settings.command_timeout_s)
    if kind is CommandType.CARTESIAN_POSE:
        return CartesianPoseController(names, still, kinematics)
    return CartesianTwistController(names, still, kinematics, settings.command_timeout_s)
