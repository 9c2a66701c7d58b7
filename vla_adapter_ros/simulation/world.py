"""The simulated world: a robot, things on a table and cameras, in MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from vla_adapter_ros.choices import Table
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.mjcf import TABLE_RGB, TIME_STEP_S, build_model
from vla_adapter_ros.simulation.render import RayCastRenderer, Renderer, choose_backend, make_renderer
from vla_adapter_ros.simulation.robot_models import FR3, RobotModel
from vla_adapter_ros.simulation.scene import Scene
from vla_adapter_ros.simulation.thing_bodies import body_name
from vla_adapter_ros.simulation.things import ROOM, Thing

HOLD_DISTANCE_M = 0.06  # of a lifted cube's center from a tool point, at most


class World:
    """Physics, measurements and images. Time passes only in `advance`.

    Args:
        cameras: Image size (width, height) per camera, by names of the robot's cameras.
        backend: Renderer, see `render.choose_backend`.
        time_step_s: Length of a physics step [s].
        robot: The robot at the table.
        table: What it may be laid with.

    Raises:
        SimulationError: unknown camera, size or backend, or the arm's meshes are not installed.
    """

    def __init__(
        self,
        cameras: Mapping[str, tuple[int, int]],
        backend: str = "auto",
        time_step_s: float = TIME_STEP_S,
        robot: RobotModel = FR3,
        table: Table = Table.CUBES,
    ) -> None:
        unknown = [name for name in cameras if name not in robot.camera_names]
        if unknown:
            raise SimulationError(f"unknown cameras {unknown}: allowed are {', '.join(robot.camera_names)}")
        self.robot, self._table = robot, table
        self.model = build_model(robot, table)
        self.model.opt.timestep = self.time_step_s = time_step_s
        self.data = mujoco.MjData(self.model)
        fingers = [pair for g in robot.grippers for pair in zip(g.joints, g.names, strict=False)]
        self.joint_names = (*robot.joints, *(name for _, name in fingers))
        self.backend = choose_backend(backend) if cameras else "raycast"
        self._sizes = dict(cameras)
        self._renderers: dict[tuple[int, int], Renderer] = {}
        for size in self._sizes.values():
            if size not in self._renderers:
                self._renderers[size] = make_renderer(self.model, *size, backend)
        if self._renderers:
            self.backend = next(iter(self._renderers.values())).backend
        joints = [self.model.joint(name) for name in (*robot.joints, *(joint for joint, _ in fingers))]
        self._positions = np.array([joint.qposadr[0] for joint in joints])
        self._velocities = np.array([joint.dofadr[0] for joint in joints])
        self._grippers = [self.joint_names.index(gripper.name) for gripper in robot.grippers]
        self._finger_places = [
            self.model.joint(joint).qposadr[0] for gripper in robot.grippers for joint in gripper.joints
        ]
        arm = [self._actuator_of(name) for name in robot.joints]
        self._arm = np.array(arm)
        self._hands = np.array([self.model.actuator(gripper.actuator).id for gripper in robot.grippers])
        self._input_scale = np.array([gripper.input_scale for gripper in robot.grippers])
        self._sites = [self.model.site(a.tool).id for a in robot.arms]
        # Damping over stiffness of the position servos: how far the input must lead the
        # set-point per rad/s, so that the damping does not make the arm lag behind.
        damping = -self.model.actuator_biasprm[arm, 2]
        passive = self.model.dof_damping[self._velocities[: len(arm)]]
        damping = np.where(damping > 0, damping, passive)  # small servos are damped by their gears alone
        self._lead_s = damping / self.model.actuator_gainprm[arm, 0]
        self._things: dict[str, tuple[Thing, str]] = {}  # name -> it, and its body
        self._homes = self.model.body_pos.copy()
        self._camera_places = self.model.cam_pos.copy(), self.model.cam_quat.copy()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order given."""
        return tuple(self._sizes)

    def reset(self, scene: Scene) -> None:
        """Put a scene on the table: things, arm posture and colors; everything stands still.

        Raises:
            SimulationError: the scene has more of a shape than the table has room for.
        """
        mujoco.mj_resetData(self.model, self.data)
        self._things = {}
        for shape, room in ROOM[self._table].items():
            wanted = [thing for thing in scene.things if thing.shape is shape]
            for i in range(room):
                self._place(body_name(shape, i), wanted[i] if i < len(wanted) else None)
        if len(self._things) < len(scene.things):
            raise SimulationError(
                f"scene {scene.seed} of {', '.join(scene.names)}: the table has no room for all of that"
            )
        self._things = {name: self._things[name] for name in scene.names}
        table = self.model.geom("table").id
        self.model.geom_rgba[table, :3] = np.clip(np.multiply(TABLE_RGB, scene.table_shade), 0.0, 1.0)
        self.data.qpos[self._positions[: len(scene.joints)]] = scene.joints
        self.data.qpos[self._finger_places] = scene.finger
        self.data.ctrl[self._arm] = scene.joints
        self.data.ctrl[self._hands] = scene.finger * self._input_scale
        mujoco.mj_forward(self.model, self.data)

    def advance(
        self,
        arm_position: np.ndarray,
        arm_velocity: np.ndarray,
        gripper_position: float | np.ndarray,
        dt: float,
    ) -> None:
        """Let time pass with constant set-points.

        Args:
            arm_position: Joint set-points of all arms (J,) [rad].
            arm_velocity: Speed of the set-points (J,) [rad/s], fed forward.
            gripper_position: Set-point of each gripper's joint (G,), or one for all [m or rad]; clipped to
                the stroke.
            dt: Time to pass [s]; a multiple of the time step.

        Raises:
            SimulationError: `dt` is no positive multiple of the time step.
        """
        steps = round(dt / self.time_step_s)
        if steps < 1 or abs(steps * self.time_step_s - dt) > 1e-6:
            raise SimulationError(f"dt = {dt} s: allowed are positive multiples of {self.time_step_s} s")
        wanted = np.broadcast_to(gripper_position, len(self._hands))
        clipped = [gripper.clip(float(w)) for gripper, w in zip(self.robot.grippers, wanted, strict=True)]
        self.data.ctrl[self._arm] = arm_position + self._lead_s * arm_velocity
        self.data.ctrl[self._hands] = clipped * self._input_scale
        mujoco.mj_step(self.model, self.data, steps)

    def joint_positions(self) -> np.ndarray:
        """Measured positions in the order of `joint_names`: arm joints [rad], then grippers [m or rad]."""
        return self.data.qpos[self._positions]

    def joint_velocities(self) -> np.ndarray:
        """Measured velocities, same order [rad/s, m/s]."""
        return self.data.qvel[self._velocities]

    def gripper_positions(self) -> np.ndarray:
        """Measured position of each gripper's joint (G,) [m or rad]."""
        return self.joint_positions()[self._grippers]

    def gripper_velocities(self) -> np.ndarray:
        """Measured velocity of each gripper's joint (G,) [m/s or rad/s]."""
        return self.joint_velocities()[self._grippers]

    def tool_pose(self, arm: int = 0) -> np.ndarray:
        """Tool pose (7,) in the base frame: x, y, z [m], quaternion x, y, z, w with w >= 0.

        Args:
            arm: Number of the arm.
        """
        self._refresh()
        wxyz = np.zeros(4)
        mujoco.mju_mat2Quat(wxyz, self.data.site_xmat[self._sites[arm]])
        if wxyz[0] < 0:
            wxyz = -wxyz
        return np.concatenate([self.data.site_xpos[self._sites[arm]], wxyz[1:], wxyz[:1]])

    def object_positions(self) -> dict[str, np.ndarray]:
        """Center (3,) [m] of every thing by name, base frame."""
        positions = {}
        for name, (thing, body) in self._things.items():
            if thing.form.movable:
                start = self.model.joint(body).qposadr[0]
                positions[name] = self.data.qpos[start : start + 3].copy()
            else:
                positions[name] = np.array(thing.position)
        return positions

    def object_yaws(self) -> dict[str, float]:
        """Turn about z [rad] of every thing by name."""
        yaws = {}
        for name, (thing, body) in self._things.items():
            yaws[name] = thing.yaw
            if thing.form.movable:
                start = self.model.joint(body).qposadr[0] + 3
                w, x, y, z = self.data.qpos[start : start + 4]
                yaws[name] = float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
        return yaws

    def lifted(self) -> str:
        """Name of the thing that is held up (`TaskArea.lift_height`); empty if none."""
        self._refresh()
        tools = self.data.site_xpos[self._sites]
        for name, center in self.object_positions().items():
            high = center[2] >= self._rest_height(name) + self.robot.area.lift_height
            if high and np.linalg.norm(center - tools, axis=1).min() <= HOLD_DISTANCE_M:
                return name
        return ""

    def _rest_height(self, name: str) -> float:
        """Height of a thing's center on the table [m]."""
        if self._table is Table.CUBES:
            return self.robot.area.rest_height
        return self._things[name][0].form.half[2]

    def _place(self, body: str, thing: Thing | None) -> None:
        """Put a thing where a scene has it, as this body; None: out of sight."""
        number = self.model.body(body).id
        first = self.model.body_geomadr[number]
        geoms = slice(first, first + self.model.body_geomnum[number])
        self.model.geom_rgba[geoms, 3] = 0.0 if thing is None else 1.0
        if self._table is not Table.CUBES:
            self.model.body_gravcomp[number] = thing is None  # what is out of sight floats there
        if thing is None:
            self.model.body_pos[number] = self._homes[number]
            return
        self._things[thing.name] = thing, body
        self.model.geom_rgba[geoms, :3] = thing.rgb
        turn = [np.cos(thing.yaw / 2), 0.0, 0.0, np.sin(thing.yaw / 2)]
        if thing.form.movable:
            start = self.model.joint(body).qposadr[0]
            self.data.qpos[start : start + 7] = [*thing.position, *turn]
        else:
            self.model.body_pos[number], self.model.body_quat[number] = thing.position, turn

    def displace_camera(self, camera: str, shift: ArrayLike, turn: ArrayLike) -> None:
        """Put a camera elsewhere than the robot's model has it, until it is displaced again.

        Args:
            camera: Its name.
            shift: From where the model has it (3,) [m], in its own axes: right, up, back.
            turn: Rotation vector (3,) [rad], in the same axes.

        Raises:
            SimulationError: a camera that this world was not made with.
        """
        self._renderer(camera)
        index = self.model.camera(camera).id
        places, turns = self._camera_places
        axes, by, turned = np.zeros(9), np.zeros(4), np.zeros(4)
        mujoco.mju_quat2Mat(axes, turns[index])
        angle = float(np.linalg.norm(turn))
        mujoco.mju_axisAngle2Quat(by, np.asarray(turn, dtype=np.float64) / (angle or 1.0), angle)
        mujoco.mju_mulQuat(turned, turns[index], by)
        self.model.cam_pos[index] = places[index] + axes.reshape(3, 3) @ np.asarray(shift)
        self.model.cam_quat[index] = turned

    def render(self, camera: str) -> np.ndarray:
        """What a camera sees now: uint8 (H, W, 3), RGB.

        Raises:
            SimulationError: a camera that this world was not made with.
        """
        return self._renderer(camera).render(self.data, camera)

    def render_with_things(self, camera: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The camera's image, and for every thing the pixels that show it: bool (H, W) by name.

        Raises:
            SimulationError: an unknown camera, or a renderer other than `raycast`.
        """
        renderer = self._renderer(camera)
        if not isinstance(renderer, RayCastRenderer):
            raise SimulationError(f"renderer {renderer.backend!r}: their pixels need 'raycast'")
        image, geoms = renderer.render_with_geoms(self.data, camera)
        bodies = np.append(self.model.geom_bodyid, -1)[geoms]
        return image, {name: bodies == self.model.body(body).id for name, (_, body) in self._things.items()}

    def close(self) -> None:
        """Free the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self._sizes.clear()

    def _actuator_of(self, joint: str) -> int:
        """The actuator that moves a joint."""
        (index,) = np.flatnonzero(
            (self.model.actuator_trnid[:, 0] == self.model.joint(joint).id)
            & (self.model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT)
        )
        return int(index)

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
