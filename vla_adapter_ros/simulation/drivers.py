"""Which emulated drivers a contract asks for, one per group of joints, and how they are set."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import CommandType
from vla_adapter_ros.simulation.cartesian_controllers import CartesianPoseController, CartesianTwistController
from vla_adapter_ros.simulation.forward_controllers import (
    ForwardPositionController,
    ForwardVelocityController,
)
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics
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
        response_delay_s: The arm follows each set-point so much later [s].
    """

    path_tolerance: float = 0.0
    goal_tolerance: float = 0.0
    goal_time_s: float = 0.0
    from_desired: bool = True
    command_timeout_s: float = 0.1
    response_delay_s: float = 0.0


class ArmDrivers:
    """The drivers that take what `contract.command` says, holding all joints at 0.

    Args:
        contract: Type of the command, and which joints each driver has.
        joints: All joints that are driven (J,), in the order of every array here.
        kinematics: Of the simulated arm, for Cartesian commands.
        settings: Of each driver.
    """

    def __init__(
        self, contract: Contract, joints: tuple[str, ...], kinematics: Kinematics, settings: DriverSettings
    ) -> None:
        kind = contract.command.type
        # Commands without names come in the group's order; a Cartesian driver knows the arm's own.
        groups = [joints] if kind.is_cartesian else [group.joints for group in contract.command_groups]
        self._drivers = [_make_driver(kind, group, kinematics, settings) for group in groups]
        self._places = [[joints.index(joint) for joint in group] for group in groups]
        self._count = len(joints)
        self._delay_s = settings.response_delay_s
        # Set-points (2, J) that the arm follows now and later, with their times.
        self._past: deque[tuple[float, np.ndarray]] = deque([(-np.inf, np.zeros((2, self._count)))])

    def __getitem__(self, group: int) -> Driver:
        """The driver of a group, by its number in `contract.command_groups`."""
        return self._drivers[group]

    def places(self, group: int) -> list[int]:
        """Where the joints of a group stand among all."""
        return self._places[group]

    def hold(self, positions: np.ndarray) -> None:
        """Drop all commands and hold `positions` (J,)."""
        for driver, places in zip(self._drivers, self._places, strict=True):
            driver.hold(positions[places])
        self._past = deque([(-np.inf, np.stack([positions, np.zeros_like(positions)]))])

    def sample(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Set-point that the arm follows at `t` [s], and its speed: positions (J,), velocities (J,).

        `t` never goes back.
        """
        state = np.empty((2, self._count))
        for driver, places in zip(self._drivers, self._places, strict=True):
            state[:, places] = driver.sample(t)
        if self._delay_s > 0:
            state = self._delayed(t, state)
        return state[0], state[1]

    def _delayed(self, t: float, state: np.ndarray) -> np.ndarray:
        """The set-point (2, J) of `response_delay_s` ago; `state` is that of `t`."""
        if t > self._past[-1][0]:
            self._past.append((t, state))
        while len(self._past) > 1 and self._past[1][0] <= t - self._delay_s + 1e-9:
            self._past.popleft()
        return self._past[0][1]

    def check_tolerances(self, t: float, measured: np.ndarray) -> str:
        """What a trajectory controller complains about with joints measured at (J,); empty: nothing."""
        for driver, places in zip(self._drivers, self._places, strict=True):
            if isinstance(driver, TrajectoryController):
                if problem := driver.check_tolerances(t, measured[places]):
                    return problem
        return ""


def _make_driver(
    kind: CommandType, names: tuple[str, ...], kinematics: Kinematics, settings: DriverSettings
) -> Driver:
    still = np.zeros(len(names))
    if kind is CommandType.JOINT_TRAJECTORY:
        return TrajectoryController(
            names,
            still,
            path_tolerance=settings.path_tolerance,
            goal_tolerance=settings.goal_tolerance,
            goal_time_s=settings.goal_time_s,
            from_desired=settings.from_desired,
        )
    if kind in (CommandType.FORWARD_POSITION, CommandType.JOINT_STATE):
        return ForwardPositionController(names, still)
    if kind is CommandType.FORWARD_VELOCITY:
        return ForwardVelocityController(names, still, settings.command_timeout_s)
    if kind is CommandType.CARTESIAN_POSE:
        return CartesianPoseController(names, still, kinematics)
    return CartesianTwistController(names, still, kinematics, settings.command_timeout_s)
