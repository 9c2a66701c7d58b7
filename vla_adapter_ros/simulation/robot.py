"""The simulated robot as its driver sees it: arm and gripper commands in, joints and images out.

Everything that a ROS node of the simulator needs, but no ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.disturbance import MAX_AMPLITUDE_M, Disturbance
from vla_adapter_ros.simulation.drivers import ArmDrivers, DriverSettings
from vla_adapter_ros.simulation.forward_controllers import ForwardPositionController
from vla_adapter_ros.simulation.mjcf import ARM_JOINTS, FINGER_OPEN_M, TIME_STEP_S
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics
from vla_adapter_ros.simulation.scene import Scene, sample_scene
from vla_adapter_ros.simulation.trajectory_controller import Rows, TrajectoryController
from vla_adapter_ros.simulation.world import World

_OPEN_M = 0.035  # a gripper command above this counts as open: only then come pushes


class SimulatedRobot:
    """World, the arm's driver and gripper. Time starts at 0 and never runs back.

    Starts with the scene of seed 0. Methods are not thread-safe.

    Args:
        contract: Camera names and sizes, the arm joints and the type of driver are taken from it.
        backend: Renderer: auto, egl, osmesa or raycast.
        time_step_s: Length of a physics step [s].
        settings: Of the arm's driver.

    Raises:
        SimulationError: the contract belongs to another arm, or see `World`.
    """

    def __init__(
        self,
        contract: Contract,
        backend: str = "auto",
        time_step_s: float = TIME_STEP_S,
        settings: DriverSettings = DriverSettings(),  # noqa: B008 - frozen
    ) -> None:
        if set(contract.arm_joints) != set(ARM_JOINTS):
            raise SimulationError(
                f"contract '{contract.name}' has the arm joints {list(contract.arm_joints)}; "
                f"the simulated arm has {list(ARM_JOINTS)}"
            )
        if len(contract.grippers) != 1:
            raise SimulationError(
                f"contract '{contract.name}' has {len(contract.grippers)} grippers; the simulated arm has 1"
            )
        self.contract = contract
        sizes = {name: (camera.width, camera.height) for name, camera in contract.cameras.items()}
        self.world = World(sizes, backend, time_step_s)
        self.kinematics = Kinematics(self.world.model)
        self.joint_names = self.world.joint_names
        self._steps = 0
        self._gripper = TrajectoryController((contract.grippers[0].joint,), np.array([FINGER_OPEN_M]))
        self._disturbance: Disturbance | None = None
        self._drivers = ArmDrivers(contract, self.kinematics, settings)
        self.problem = ""
        """Why the driver dropped the last trajectory; empty since the newest one came."""
        self.scene = self.reset(0)

    @property
    def time(self) -> float:
        """Simulated time [s] since the robot was made."""
        return self._steps * self.world.time_step_s

    @property
    def backend(self) -> str:
        """The renderer in use: egl, osmesa or raycast."""
        return self.world.backend

    @property
    def gripper_command(self) -> float:
        """Commanded position of each finger [m], clipped to 0 (closed) and 0.04 (open)."""
        return float(np.clip(self._gripper.sample(self.time)[0][0], 0.0, FINGER_OPEN_M))

    def reset(self, seed: int, objects: Sequence[str] = ()) -> Scene:
        """Put a new scene on the table, drop trajectory and pushes, open the gripper. Time goes on.

        Raises:
            SimulationError: see `sample_scene`; the old scene then stays.
        """
        return self.reset_scene(sample_scene(seed, objects))

    def reset_scene(self, scene: Scene) -> Scene:
        """As `reset`, with a scene at hand."""
        self.world.reset(scene)
        self.scene = scene
        self._gripper.hold(np.array([scene.finger]))
        self._disturbance = None
        self._drivers.hold(np.array(scene.joints))
        return scene

    def accept_trajectory(
        self,
        names: Sequence[str],
        start: float,
        times: ArrayLike,
        positions: Rows,
        velocities: Rows | None = None,
        accelerations: Rows | None = None,
        *,
        group: int = 0,
    ) -> None:
        """Follow a trajectory from now on; see `TrajectoryController.accept_trajectory`.

        `group` is the number of the driver in `contract.command_groups`.

        Raises:
            TrajectoryError: it was refused; the one before goes on.
        """
        driver, places = self._driver("joint_trajectory", group=group), self._drivers.places(group)
        measured = self.joint_positions()[places], self.joint_velocities()[places]
        driver.accept_trajectory(
            names, start, times, positions, velocities, accelerations, now=self.time, measured=measured
        )
        self.problem = ""

    def accept_forward(self, values: ArrayLike, *, group: int = 0) -> None:
        """Take positions or velocities, as the contract says, in the order of the group's joints.

        `group` is the number of the driver in `contract.command_groups`.

        Raises:
            SimulationError: the contract has another type of command.
            CommandError: another number of values, or one that is not finite.
        """
        driver = self._driver("forward_position", "forward_velocity", group=group)
        if isinstance(driver, ForwardPositionController):
            driver.accept_positions(values, now=self.time)
        else:
            driver.accept_velocities(values, now=self.time)

    def accept_pose(self, position: ArrayLike, quaternion: ArrayLike) -> None:
        """Take a tool pose; see `CartesianPoseController.accept_pose`.

        Raises:
            SimulationError: the contract has another type of command.
            CommandError: it was refused; the one before stays.
        """
        self._driver("cartesian_pose").accept_pose(position, quaternion, now=self.time)

    def accept_twist(self, twist: ArrayLike) -> None:
        """Take a twist of the tool point (6,); see `CartesianTwistController.accept_twist`.

        Raises:
            SimulationError: the contract has another type of command.
            CommandError: it was refused; the one before stays.
        """
        self._driver("cartesian_twist").accept_twist(twist, now=self.time)

    def accept_gripper(self, position_m: float) -> None:
        """Move each finger to `position_m` [m], 0 closed to 0.04 open; further values are clipped.

        Raises:
            SimulationError: the value is not finite.
        """
        if not np.isfinite(position_m):
            raise SimulationError(f"gripper position {position_m}: allowed are finite numbers [m]")
        self._gripper.hold(np.clip([float(position_m)], 0.0, FINGER_OPEN_M))

    def accept_gripper_trajectory(
        self, names: Sequence[str], start: float, times: ArrayLike, positions: Rows
    ) -> None:
        """Move the fingers along a trajectory of the contract's gripper joint.

        Raises:
            TrajectoryError: it was refused; the one before goes on.
        """
        self._gripper.accept_trajectory(names, start, times, positions, now=self.time)

    def set_disturbance(self, amplitude_m: float, seed: int) -> None:
        """Push the arm about at random while the gripper is open, until the next reset.

        Args:
            amplitude_m: Largest offset per axis [m], 0 (off) to 0.03.
            seed: Source of chance.

        Raises:
            SimulationError: an amplitude that is not allowed.
        """
        if not 0.0 <= amplitude_m <= MAX_AMPLITUDE_M:
            raise SimulationError(f"disturbance {amplitude_m} m: allowed is 0 to {MAX_AMPLITUDE_M} m")
        self._disturbance = Disturbance(amplitude_m, seed, self.time) if amplitude_m > 0 else None

    def advance(self, dt: float = 0.01) -> None:
        """Let time pass; the set-points follow the trajectory at every physics step.

        Args:
            dt: Time [s]; a positive multiple of the time step.

        Raises:
            SimulationError: another `dt`.
        """
        step = self.world.time_step_s
        steps = round(dt / step)
        if steps < 1 or abs(steps * step - dt) > 1e-6:
            raise SimulationError(f"dt = {dt} s: allowed are positive multiples of {step} s")
        disturbance, map_to_joints = self._disturbance, self._disturbance_map()
        for _ in range(steps):
            position, velocity = self._drivers.sample(self.time)
            gripper = self.gripper_command
            if disturbance is not None and map_to_joints is not None:
                offset, speed = disturbance.offset(self.time, gripper > _OPEN_M)
                position, velocity = position + map_to_joints @ offset, velocity + map_to_joints @ speed
            self.world.advance(position, velocity, gripper, step)
            self._steps += 1
            if map_to_joints is None:
                arm = self.joint_positions()[: len(ARM_JOINTS)]
                self.problem = self._drivers.check_tolerances(self.time, arm) or self.problem

    def desired(self) -> tuple[np.ndarray, np.ndarray]:
        """The driver's set-point now, without pushes: positions (7,) [rad], velocities (7,) [rad/s]."""
        return self._drivers.sample(self.time)

    def joint_positions(self) -> np.ndarray:
        """See `World.joint_positions`."""
        return self.world.joint_positions()

    def joint_velocities(self) -> np.ndarray:
        """See `World.joint_velocities`."""
        return self.world.joint_velocities()

    def tool_pose(self) -> np.ndarray:
        """See `World.tool_pose`."""
        return self.world.tool_pose()

    def tool_twist(self) -> np.ndarray:
        """Velocity of the tool point (6,) in the base frame: linear [m/s] before angular [rad/s]."""
        arm = slice(len(ARM_JOINTS))
        return self.kinematics.jacobian(self.joint_positions()[arm]) @ self.joint_velocities()[arm]

    def object_positions(self) -> dict[str, np.ndarray]:
        """See `World.object_positions`."""
        return self.world.object_positions()

    def lifted(self) -> str:
        """See `World.lifted`."""
        return self.world.lifted()

    def render(self, camera: str) -> np.ndarray:
        """See `World.render`."""
        return self.world.render(camera)

    def close(self) -> None:
        """Free the renderers."""
        self.world.close()

    def _driver(self, *types: str, group: int = 0) -> Any:
        if self.contract.command.type not in types:
            raise SimulationError(
                f"a command of type {' or '.join(types)}: contract '{self.contract.name}' allows "
                f"{self.contract.command.type} only"
            )
        return self._drivers[group]

    def _disturbance_map(self) -> np.ndarray | None:
        """Map (7, 3) from a tool offset [m] to joint offsets [rad] that keep the hand's orientation."""
        if self._disturbance is None:
            return None
        jacobian = self.kinematics.jacobian(self.joint_positions()[: len(ARM_JOINTS)])
        damped = jacobian @ jacobian.T + 1e-4 * np.eye(6)
        return (jacobian.T @ np.linalg.inv(damped))[:, :3]
