"""Forward and inverse kinematics of the simulated arm on MuJoCo's Jacobian."""

from __future__ import annotations

import mujoco
import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.mjcf import ARM_JOINTS, TOOL_SITE

# Posture with the hand pointing down and its x axis forward; start of every inverse solution.
READY = np.array([0.0, -0.6, 0.0, -2.4, 0.0, 1.8, 0.785398])
# Hand pointing straight down, fingers closing along the base's y axis (columns: hand axes).
DOWN = np.diag([1.0, -1.0, -1.0])
_REDUNDANT = 2  # fr3_joint3 stays at 0 in inverse solutions: one posture per tool pose


class Kinematics:
    """Poses and Jacobians of the tool point. Holds its own data, so it never disturbs a running world.

    Args:
        model: A model from `build_model`.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        joints = [model.joint(name) for name in ARM_JOINTS]
        self._position_index = np.array([joint.qposadr[0] for joint in joints])
        self._velocity_index = np.array([joint.dofadr[0] for joint in joints])
        self._site = model.site(TOOL_SITE).id
        self.low, self.high = np.array([model.jnt_range[joint.id] for joint in joints]).T

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tool pose of joint positions (7,) [rad]: position (3,) [m] and rotation (3, 3), base frame."""
        self._place(joints)
        return self._data.site_xpos[self._site].copy(), self._data.site_xmat[self._site].reshape(3, 3).copy()

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """Tool Jacobian (6, 7), linear rows [m/rad] above angular rows, base frame."""
        self._place(joints)
        mujoco.mj_comPos(self._model, self._data)
        linear = np.zeros((3, self._model.nv))
        angular = np.zeros((3, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, linear, angular, self._site)
        return np.vstack([linear, angular])[:, self._velocity_index]

    def inverse(
        self,
        position: np.ndarray,
        rotation: np.ndarray = DOWN,
        start: np.ndarray | None = None,
        iterations: int = 30,
    ) -> np.ndarray:
        """Joint positions (7,) [rad] that bring the tool to a pose, by damped least squares.

        fr3_joint3 is held at 0, so that every pose has one posture and demonstrations
        are a function of the tool pose.

        Args:
            position: Tool position (3,) [m], base frame.
            rotation: Tool rotation (3, 3); the default points the hand straight down.
            start: Joint positions to start from; default: `READY`.
            iterations: Upper bound of the steps taken.

        Raises:
            SimulationError: not finite, or no posture within 1 mm was found.
        """
        position = np.asarray(position, dtype=float)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise SimulationError(f"tool position {position} must be 3 finite numbers [m]")
        joints = (READY if start is None else np.asarray(start, dtype=float)).copy()
        joints[_REDUNDANT] = 0.0
        free = [i for i in range(len(joints)) if i != _REDUNDANT]
        error = np.inf
        for _ in range(iterations):
            here, frame = self.forward(joints)
            twist = np.concatenate([position - here, rotation_error(rotation, frame)])
            error = np.abs(twist).max()
            if error < 1e-6:
                break
            jacobian = self.jacobian(joints)[:, free]
            damped = jacobian.T @ jacobian + 1e-6 * np.eye(len(free))
            step = np.linalg.solve(damped, jacobian.T @ twist)
            joints[free] += step * min(1.0, 0.3 / max(np.abs(step).max(), 1e-12))
            joints = np.clip(joints, self.low, self.high)
        if error > 1e-3:
            raise SimulationError(
                f"the tool cannot reach {np.round(position, 3).tolist()} m with this orientation; "
                "allowed is the arm's workspace, about 0.3 to 0.7 m in front of the base"
            )
        return joints

    def _place(self, joints: np.ndarray) -> None:
        self._data.qpos[self._position_index] = joints
        mujoco.mj_kinematics(self._model, self._data)


def rotation_error(wanted: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Small-angle rotation vector (3,) from `here` to `wanted`, base frame."""
    return 0.5 * np.sum([np.cross(here[:, i], wanted[:, i]) for i in range(3)], axis=0)
