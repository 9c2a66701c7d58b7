"""The simulated world: one arm, its hand, cubes on a table and two cameras, in MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.mjcf import (
    ARM_JOINTS,
    CAMERAS,
    FINGER_JOINTS,
    FINGER_OPEN_M,
    MAX_CUBES,
    TABLE_RGB,
    TIME_STEP_S,
    TOOL_SITE,
    build_model,
)
from vla_adapter_ros.simulation.render import RayCastRenderer, Renderer, choose_backend, make_renderer
from vla_adapter_ros.simulation.scene import REST_HEIGHT_M, Scene

LIFT_HEIGHT_M = 0.06  # above the height at rest: the task's success
HOLD_DISTANCE_M = 0.06  # of a lifted cube's center from the tool point, at most
_CTRL_OPEN = 255.0  # the hand actuator's input for open fingers


class World:
    """Physics, measurements and images. Time passes only in `advance`.

    Args:
        cameras: Image size (width, height) per camera; names out of `CAMERAS`.
        backend: Renderer, see `render.choose_backend`.
        time_step_s: Length of a physics step [s].

    Raises:
        SimulationError: unknown camera, size or backend, or the arm's meshes are not installed.
    """

    def __init__(
        self,
        cameras: Mapping[str, tuple[int, int]],
        backend: str = "auto",
        time_step_s: float = TIME_STEP_S,
    ) -> None:
        unknown = [name for name in cameras if name not in CAMERAS]
        if unknown:
            raise SimulationError(f"unknown cameras {unknown}: allowed are {', '.join(CAMERAS)}")
        self.model = build_model()
        self.model.opt.timestep = self.time_step_s = time_step_s
        self.data = mujoco.MjData(self.model)
        self.joint_names = ARM_JOINTS + FINGER_JOINTS
        self.backend = choose_backend(backend) if cameras else "raycast"
        self._sizes = dict(cameras)
        self._renderers: dict[tuple[int, int], Renderer] = {}
        for size in self._sizes.values():
            if size not in self._renderers:
                self._renderers[size] = make_renderer(self.model, *size, backend)
        if self._renderers:
            self.backend = next(iter(self._renderers.values())).backend
        joints = [self.model.joint(name) for name in (*ARM_JOINTS, "finger_joint1", "finger_joint2")]
        self._positions = np.array([joint.qposadr[0] for joint in joints])
        self._velocities = np.array([joint.dofadr[0] for joint in joints])
        arm = [self.model.actuator(name).id for name in ARM_JOINTS]
        self._arm = np.array(arm)
        self._hand = self.model.actuator("hand").id
        self._site = self.model.site(TOOL_SITE).id
        # Damping over stiffness of the position servos: how far the input must lead the
        # set-point per rad/s, so that the damping does not make the arm lag behind.
        self._lead_s = -self.model.actuator_biasprm[arm, 2] / self.model.actuator_gainprm[arm, 0]
        self._cubes: dict[str, int] = {}

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order given."""
        return tuple(self._sizes)

    def reset(self, scene: Scene) -> None:
        """Put a scene on the table: cubes, arm posture and colors; everything stands still."""
        mujoco.mj_resetData(self.model, self.data)
        self._cubes = {cube.color: i for i, cube in enumerate(scene.cubes)}
        for i in range(MAX_CUBES):
            geom = self.model.geom(f"cube{i}").id
            present = i < len(scene.cubes)
            self.model.geom_rgba[geom, 3] = 1.0 if present else 0.0  # the others lie out of sight
            if present:
                cube = scene.cubes[i]
                self.model.geom_rgba[geom, :3] = cube.rgb
                start = self.model.joint(f"cube{i}").qposadr[0]
                half = cube.yaw / 2
                self.data.qpos[start : start + 7] = [*cube.position, np.cos(half), 0.0, 0.0, np.sin(half)]
        table = self.model.geom("table").id
        self.model.geom_rgba[table, :3] = np.clip(np.multiply(TABLE_RGB, scene.table_shade), 0.0, 1.0)
        self.data.qpos[self._positions] = [*scene.joints, scene.finger, scene.finger]
        self.data.ctrl[self._arm] = scene.joints
        self.data.ctrl[self._hand] = scene.finger / FINGER_OPEN_M * _CTRL_OPEN
        mujoco.mj_forward(self.model, self.data)

    def advance(
        self, arm_position: np.ndarray, arm_velocity: np.ndarray, gripper_position: float, dt: float
    ) -> None:
        """Let time pass with constant set-points.

        Args:
            arm_position: Joint set-points (7,) [rad].
            arm_velocity: Speed of the set-points (7,) [rad/s], fed forward.
            gripper_position: Set-point of each finger [m], 0 closed to 0.04 open; clipped.
            dt: Time to pass [s]; a multiple of the time step.

        Raises:
            SimulationError: `dt` is no positive multiple of the time step.
        """
        steps = round(dt / self.time_step_s)
        if steps < 1 or abs(steps * self.time_step_s - dt) > 1e-6:
            raise SimulationError(f"dt = {dt} s: allowed are positive multiples of {self.time_step_s} s")
        opening = min(max(float(gripper_position) / FINGER_OPEN_M, 0.0), 1.0)
        self.data.ctrl[self._arm] = arm_position + self._lead_s * arm_velocity
        self.data.ctrl[self._hand] = opening * _CTRL_OPEN
        mujoco.mj_step(self.model, self.data, steps)

    def joint_positions(self) -> np.ndarray:
        """Measured positions (9,), in the order of `joint_names`: 7 arm joints [rad], 2 fingers [m]."""
        return self.data.qpos[self._positions]

    def joint_velocities(self) -> np.ndarray:
        """Measured velocities (9,), same order [rad/s, m/s]."""
        return self.data.qvel[self._velocities]

    def tool_pose(self) -> np.ndarray:
        """Tool pose (7,) in the base frame: x, y, z [m], quaternion x, y, z, w with w >= 0."""
        self._refresh()
        wxyz = np.zeros(4)
        mujoco.mju_mat2Quat(wxyz, self.data.site_xmat[self._site])
        if wxyz[0] < 0:
            wxyz = -wxyz
        return np.concatenate([self.data.site_xpos[self._site], wxyz[1:], wxyz[:1]])

    def object_positions(self) -> dict[str, np.ndarray]:
        """Center (3,) [m] of every cube by color, base frame."""
        positions = {}
        for color, i in self._cubes.items():
            start = self.model.joint(f"cube{i}").qposadr[0]
            positions[color] = self.data.qpos[start : start + 3].copy()
        return positions

    def lifted(self) -> str:
        """Color of the cube that is held at least `LIFT_HEIGHT_M` above its rest height; empty if none."""
        tool = self.tool_pose()[:3]
        for color, center in self.object_positions().items():
            high = center[2] >= REST_HEIGHT_M + LIFT_HEIGHT_M
            if high and np.linalg.norm(center - tool) <= HOLD_DISTANCE_M:
                return color
        return ""

    def render(self, camera: str) -> np.ndarray:
        """What a camera sees now: uint8 (H, W, 3), RGB.

        Raises:
            SimulationError: a camera that this world was not made with.
        """
        return self._renderer(camera).render(self.data, camera)

    def render_with_cubes(self, camera: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The camera's image, and for every cube the pixels that show it: bool (H, W) by color.

        Raises:
            SimulationError: an unknown camera, or a renderer other than `raycast`.
        """
        renderer = self._renderer(camera)
        if not isinstance(renderer, RayCastRenderer):
            raise SimulationError(f"renderer {renderer.backend!r}: cube pixels need 'raycast'")
        image, geoms = renderer.render_with_geoms(self.data, camera)
        return image, {c: geoms == self.model.geom(f"cube{i}").id for c, i in self._cubes.items()}

    def close(self) -> None:
        """Free the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self._sizes.clear()

    def _renderer(self, camera: str) -> Renderer:
        """The renderer of a camera, with all poses up to date."""
        if camera not in self._sizes:
            raise SimulationError(f"unknown camera {camera!r}: allowed are {', '.join(self._sizes)}")
        self._refresh()
        return self._renderers[self._sizes[camera]]

    def _refresh(self) -> None:
        """Bring poses up to date with the positions: a step ends with newer positions than poses."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
