"""The simulated robot as its driver sees it: trajectories and gripper commands in, joints and images out.

Everything that a ROS node of the simulator needs, but no ROS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.disturbance import MAX_AMPLITUDE_M, Disturbance
from vla_adapter_ros.simulation.kinematics import Kinematics
from vla_adapter_ros.simulation.mjcf import ARM_JOINTS, FINGER_OPEN_M, TIME_STEP_S
from vla_adapter_ros.simulation.scene import Scene, sample_scene
from vla_adapter_ros.simulation.trajectory_controller import TrajectoryController
from vla_adapter_ros.simulation.world import World

_OPEN_M = 0.035  # a gripper command above this counts as open: only then come pushes


class SimulatedRobot:
    """World, arm trajectory controller and gripper. Time starts at 0 and never runs back.

    Starts with the scene of seed 0. Methods are not thread-safe.

    Args:
        contract: Camera names and sizes, and the arm joints, are taken from it.
        backend: Renderer: auto, egl, osmesa or raycast.
        time_step_s: Length of a physics step [s].

    Raises:
        SimulationError: the contract belongs to another arm, or see `World`.
    """

    def __init__(self, contract: Contract, backend: str = "auto", time_step_s: float = TIME_STEP_S) -> None:
        if set(contract.arm_joints) != set(ARM_JOINTS):
            raise SimulationError(
                f"contract '{contract.name}' has the arm joints {list(contract.arm_joints)}; "
                f"the simulated arm has {list(ARM_JOINTS)}"
            )
        self.contract = contract
        sizes = {name: (camera.width, camera.height) for name, camera in contract.cameras.items()}
        self.world = World(sizes, backend, time_step_s)
        self.kinematics = Kinematics(self.world.model)
        self.joint_names = self.world.joint_names
        self._steps = 0
        self._gripper = FINGER_OPEN_M
        self._disturbance: Disturbance | None = None
        self._controller = TrajectoryController(ARM_JOINTS, np.zeros(len(ARM_JOINTS)))
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
        """Commanded position of each finger [m]."""
        return self._gripper

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
        self._gripper = scene.finger
        self._disturbance = None
        self._controller.hold(np.array(scene.joints))
        return scene

    def accept_trajectory(
        self,
        names: Sequence[str],
        start: float,
        times: Sequence[float],
        positions: Sequence[Sequence[float]],
        velocities: Sequence[Sequence[float]] | None = None,
        accelerations: Sequence[Sequence[float]] | None = None,
    ) -> None:
        """Follow a trajectory from now on; see `TrajectoryController.accept`.

        Raises:
            TrajectoryError: it was refused; the one before goes on.
        """
        self._controller.accept(names, start, times, positions, velocities, accelerations, now=self.time)

    def accept_gripper(self, position_m: float) -> None:
        """Move each finger to `position_m` [m], 0 closed to 0.04 open; further values are clipped.

        Raises:
            SimulationError: the value is not finite.
        """
        if not np.isfinite(position_m):
            raise SimulationError(f"gripper position {position_m}: allowed are finite numbers [m]")
        self._gripper = min(max(float(position_m), 0.0), FINGER_OPEN_M)

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
        push = self._push()
        for _ in range(steps):
            position, velocity = self._controller.sample(self.time)
            if push is not None:
                offset, speed = self._disturbance.offset(self.time, self._gripper > _OPEN_M)
                position, velocity = position + push @ offset, velocity + push @ speed
            self.world.advance(position, velocity, self._gripper, step)
            self._steps += 1

    def desired(self) -> tuple[np.ndarray, np.ndarray]:
        """The trajectory's set-point now, without pushes: positions (7,) [rad], velocities (7,) [rad/s]."""
        return self._controller.sample(self.time)

    def joint_positions(self) -> np.ndarray:
        """See `World.joint_positions`."""
        return self.world.joint_positions()

    def joint_velocities(self) -> np.ndarray:
        """See `World.joint_velocities`."""
        return self.world.joint_velocities()

    def tool_pose(self) -> np.ndarray:
        """See `World.tool_pose`."""
        return self.world.tool_pose()

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

    def _push(self) -> np.ndarray | None:
        """Map (7, 3) from a tool offset [m] to joint offsets [rad] that keep the hand's orientation."""
        if self._disturbance is None:
            return None
        jacobian = self.kinematics.jacobian(self.joint_positions()[: len(ARM_JOINTS)])
        damped = jacobian @ jacobian.T + 1e-4 * np.eye(6)
        return (jacobian.T @ np.linalg.inv(damped))[:, :3]
