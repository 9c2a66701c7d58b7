"""The simulated robot as its driver sees it: arm and gripper commands in, joints and images out.

Everything that a ROS node of the simulator needs, but no ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vla_adapter_ros.choices import Table
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.disturbance import MAX_AMPLITUDE_M, MAX_SLIPS_PER_S, Disturbance
from vla_adapter_ros.simulation.drivers import ArmDrivers, DriverSettings
from vla_adapter_ros.simulation.forward_controllers import ForwardPositionController
from vla_adapter_ros.simulation.mjcf import TIME_STEP_S
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics
from vla_adapter_ros.simulation.robot_models import RobotModel, robot_model
from vla_adapter_ros.simulation.scene import Scene, sample_scene
from vla_adapter_ros.simulation.tabletop_scene import sample_tabletop
from vla_adapter_ros.simulation.trajectory_controller import Rows, TrajectoryController
from vla_adapter_ros.simulation.world import World

_OPEN = 0.875  # a gripper that is told to open farther than this counts as open: only then come pushes
_GRASPS_M = 0.03  # across and above: so near an object, shut fingers would hold it


class SimulatedRobot:
    """World, the drivers of arms and grippers. Time starts at 0 and never runs back.

    Starts with the scene of seed 0. Methods are not thread-safe.

    Args:
        contract: Says by its joints which robot it is. Names and sizes of cameras, grippers and the type of
            driver are taken from it. A gripper that is one of its arm joints is moved by the arm's driver.
        backend: Renderer: auto, egl, osmesa or raycast.
        time_step_s: Length of a physics step [s].
        settings: Of the arm's driver.
        table: What the table is laid with.

    Raises:
        SimulationError: no robot with the contract's joints can be simulated, or see `World`.
    """

    def __init__(
        self,
        contract: Contract,
        backend: str = "auto",
        time_step_s: float = TIME_STEP_S,
        settings: DriverSettings = DriverSettings(),  # noqa: B008 - frozen
        table: Table = Table.CUBES,
    ) -> None:
        self.contract = contract
        self.table = table
        """What stands on the table."""
        self.model: RobotModel = robot_model(contract.arm_joints, contract.name)
        own = {gripper.name: n for n, gripper in enumerate(self.model.grippers)}
        # Grippers that the arm's own driver moves, and those with a command of their own.
        driven = tuple(name for name in own if name in contract.arm_joints)
        self._driven_grippers = [own[name] for name in driven]
        self._gripper_numbers = []
        for gripper in contract.grippers:
            joint = contract.joint_in_messages(gripper.joint)
            if joint not in own or joint in driven:
                raise SimulationError(
                    f"contract '{contract.name}' has the gripper joint {joint}; allowed for the simulated "
                    f"{self.model.name} are {', '.join(name for name in own if name not in driven) or 'none'}"
                )
            self._gripper_numbers.append(own[joint])
        if missing := sorted(set(own) - set(driven) - {*map(list(own).__getitem__, self._gripper_numbers)}):
            raise SimulationError(
                f"contract '{contract.name}' does not drive {', '.join(missing)}: the simulated "
                f"{self.model.name} needs an entry under grippers for each gripper"
            )
        sizes = {name: camera.size for name, camera in contract.cameras.items()}
        self.world = World(sizes, backend, time_step_s, self.model, table)
        self.arm_kinematics = tuple(Kinematics(self.world.model, arm) for arm in self.model.arms)
        self.joint_names = self.world.joint_names
        self._steps = 0
        self._gripper_drivers = [
            TrajectoryController((gripper.name,), np.array([gripper.open_position]))
            for gripper in self.model.grippers
        ]
        self._disturbance: Disturbance | None = None
        self._drivers = ArmDrivers(contract, (*self.model.joints, *driven), self.kinematics, settings)
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
    def kinematics(self) -> Kinematics:
        """Kinematics of the first arm."""
        return self.arm_kinematics[0]

    def gripper_command(self, gripper: int = 0) -> float:
        """Commanded position of a gripper's joint [m or rad], clipped to its stroke.

        `gripper` is its number in `contract.grippers`.
        """
        return float(self._gripper_commands()[self._gripper_numbers[gripper]])

    def reset(self, seed: int, objects: Sequence[str] = ()) -> Scene:
        """Put a new scene on the table, drop trajectories and pushes, open the grippers. Time goes on.

        Args:
            seed: See `sample_scene`, and `sample_tabletop` for a table with more than cubes.
            objects: Colors of the cubes; empty: chosen by the seed.

        Raises:
            SimulationError: see there, or objects for a table with more than cubes; the old scene then stays.
        """
        if self.table is Table.CUBES:
            return self.reset_scene(sample_scene(seed, objects, self.model))
        if objects:
            raise SimulationError(f"objects {list(objects)}: on this table allowed is none, the seed chooses")
        return self.reset_scene(sample_tabletop(seed, self.model))

    def reset_scene(self, scene: Scene) -> Scene:
        """As `reset`, with a scene at hand."""
        self.world.reset(scene)
        self.scene = scene
        for driver in self._gripper_drivers:
            driver.hold(np.array([scene.finger]))
        self._disturbance = None
        self._drivers.hold(np.array([*scene.joints, *(scene.finger for _ in self._driven_grippers)]))
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
        measured = self._driven_positions()[places], self._driven_velocities()[places]
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
        driver = self._driver("forward_position", "joint_state", "forward_velocity", group=group)
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

    def accept_gripper(self, position: float, gripper: int = 0) -> None:
        """Move a gripper's joint to `position` [m or rad]; what is beyond its stroke is clipped.

        `gripper` is its number in `contract.grippers`.

        Raises:
            SimulationError: the value is not finite.
        """
        if not np.isfinite(position):
            raise SimulationError(f"gripper position {position}: allowed are finite numbers [m or rad]")
        number = self._gripper_numbers[gripper]
        self._gripper_drivers[number].hold(np.array([self.model.grippers[number].clip(float(position))]))

    def accept_gripper_trajectory(
        self,
        names: Sequence[str],
        start: float,
        times: ArrayLike,
        positions: Rows,
        gripper: int = 0,
    ) -> None:
        """Move a gripper's joint along a trajectory; `gripper` is its number in `contract.grippers`.

        Raises:
            TrajectoryError: it was refused; the one before goes on.
        """
        driver = self._gripper_drivers[self._gripper_numbers[gripper]]
        driver.accept_trajectory(names, start, times, positions, now=self.time)

    def set_disturbance(self, amplitude_m: float, seed: int, slips_per_s: float = 0.0) -> None:
        """Push the arms about and shut the grippers at random while all are told to be open, until a reset.

        Args:
            amplitude_m: Largest offset per axis [m], 0 (off) to 0.03.
            seed: Source of chance.
            slips_per_s: How often the grippers shut for a moment [1/s], 0 to 2.

        Raises:
            SimulationError: an amplitude or a rate that is not allowed.
        """
        if not 0.0 <= amplitude_m <= MAX_AMPLITUDE_M:
            raise SimulationError(f"disturbance {amplitude_m} m: allowed is 0 to {MAX_AMPLITUDE_M} m")
        if not 0.0 <= slips_per_s <= MAX_SLIPS_PER_S:
            raise SimulationError(f"{slips_per_s} slips per second: allowed is 0 to {MAX_SLIPS_PER_S}")
        wanted = amplitude_m > 0 or slips_per_s > 0
        self._disturbance = Disturbance(amplitude_m, seed, self.time, slips_per_s) if wanted else None

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
        arm = slice(len(self.model.joints))
        for _ in range(steps):
            position, velocity = (part[arm] for part in self._drivers.sample(self.time))
            grippers = self._gripper_commands()
            if disturbance is not None and map_to_joints is not None:
                openings = [g.opening(p) for g, p in zip(self.model.grippers, grippers, strict=True)]
                opened = min(openings) > _OPEN
                offset, speed = disturbance.offset(self.time, opened)
                if disturbance.slips_per_s and disturbance.slips(
                    self.time, opened and not self._around_object()
                ):
                    grippers = np.array([g.clip(g.closed_position) for g in self.model.grippers])
                position, velocity = position + map_to_joints @ offset, velocity + map_to_joints @ speed
            self.world.advance(position, velocity, grippers, step)
            self._steps += 1
            if map_to_joints is None:
                measured = self._driven_positions()
                self.problem = self._drivers.check_tolerances(self.time, measured) or self.problem

    def desired(self) -> tuple[np.ndarray, np.ndarray]:
        """The drivers' set-point now, without pushes: positions (J,) [rad], velocities (J,) [rad/s]."""
        arm = slice(len(self.model.joints))
        position, velocity = self._drivers.sample(self.time)
        return position[arm], velocity[arm]

    def arm_positions(self) -> np.ndarray:
        """Measured positions of all arm joints (J,) [rad], without the grippers."""
        return self.joint_positions()[: len(self.model.joints)]

    def joint_positions(self) -> np.ndarray:
        """See `World.joint_positions`."""
        return self.world.joint_positions()

    def joint_velocities(self) -> np.ndarray:
        """See `World.joint_velocities`."""
        return self.world.joint_velocities()

    def tool_pose(self, arm: int = 0) -> np.ndarray:
        """See `World.tool_pose`."""
        return self.world.tool_pose(arm)

    def tool_twist(self) -> np.ndarray:
        """Twist of the first arm's tool point (6,), base frame: linear [m/s] before angular [rad/s]."""
        arm = slice(len(self.model.arms[0].joints))
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

    def _driven_positions(self) -> np.ndarray:
        """Measured positions of what the arm's drivers move."""
        return np.append(self.arm_positions(), self.world.gripper_positions()[self._driven_grippers])

    def _driven_velocities(self) -> np.ndarray:
        arm = self.joint_velocities()[: len(self.model.joints)]
        return np.append(arm, self.world.gripper_velocities()[self._driven_grippers])

    def _gripper_commands(self) -> np.ndarray:
        """Commanded position of every gripper of the robot (G,), clipped to its stroke."""
        commands = np.array([driver.sample(self.time)[0][0] for driver in self._gripper_drivers])
        commands[self._driven_grippers] = self._drivers.sample(self.time)[0][len(self.model.joints) :]
        return np.array([g.clip(float(c)) for g, c in zip(self.model.grippers, commands, strict=True)])

    def _around_object(self) -> bool:
        """Whether a hand is so near an object that its fingers would grasp it."""
        tools = [self.tool_pose(arm)[:3] for arm in range(len(self.model.arms))]
        away = np.array([tool - place for tool in tools for place in self.object_positions().values()])
        if not len(away):
            return False
        near = (np.linalg.norm(away[:, :2], axis=1) < _GRASPS_M) & (np.abs(away[:, 2]) < _GRASPS_M)
        return bool(near.any())

    def _disturbance_map(self) -> np.ndarray | None:
        """Map (J, 3) from a tool offset [m] to joint offsets [rad] that keep the hands' orientation."""
        if self._disturbance is None:
            return None
        maps, first = [], 0
        for arm, kinematics in zip(self.model.arms, self.arm_kinematics, strict=True):
            jacobian = kinematics.jacobian(self.arm_positions()[first : first + len(arm.joints)])
            damped = jacobian @ jacobian.T + 1e-4 * np.eye(6)
            maps.append((jacobian.T @ np.linalg.inv(damped))[:, :3])
            first += len(arm.joints)
        return np.vstack(maps)
