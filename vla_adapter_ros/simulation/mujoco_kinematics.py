"""Forward and inverse kinematics of the simulated arm on MuJoCo's Jacobian."""

from __future__ import annotations

import mujoco
import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.robot_models import FR3, ArmModel

# Hand pointing straight down, fingers closing along the base's y axis (columns: hand axes).
DOWN = np.diag([1.0, -1.0, -1.0])


class Kinematics:
    """Poses and Jacobians of the tool point. Holds its own data, so it never disturbs a running world.

    Args:
        model: A model from `build_model`.
        arm: The arm, one of the model's.
    """

    def __init__(self, model: mujoco.MjModel, arm: ArmModel = FR3.arms[0]) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._arm = arm
        joints = [model.joint(name) for name in arm.joints]
        self._position_index = np.array([joint.qposadr[0] for joint in joints])
        self._velocity_index = np.array([joint.dofadr[0] for joint in joints])
        self._site = model.site(arm.tool).id
        self.low, self.high = np.array([model.jnt_range[joint.id] for joint in joints]).T

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tool pose of joint positions (J,) [rad]: position (3,) [m] and rotation (3, 3), base frame."""
        self._place(joints)
        return self._data.site_xpos[self._site].copy(), self._data.site_xmat[self._site].reshape(3, 3).copy()

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """Tool Jacobian (6, J), linear rows [m/rad] above angular rows, base frame."""
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
        """Joint positions (J,) [rad] that bring the tool to a pose, by damped least squares.

        A redundant joint is held at 0, so that every pose has one posture and demonstrations
        are a function of the tool pose.

        Args:
            position: Tool position (3,) [m], base frame.
            rotation: Tool rotation (3, 3); the default points the hand straight down.
            start: Joint positions to start from; default: the arm's `ready`.
            iterations: Upper bound of the steps taken.

        Raises:
            SimulationError: not finite, or no posture within 1 mm was found.
        """
        position = np.asarray(position, dtype=float)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise SimulationError(f"tool position {position} must be 3 finite numbers [m]")
        joints = np.array(self._arm.ready if start is None else start, dtype=float)
        free = [i for i in range(len(joints)) if i != self._arm.redundant]
        if self._arm.redundant is not None:
            joints[self._arm.redundant] = 0.0
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
                "allowed is the arm's workspace in front of its base"
            )
        return joints

    def _place(self, joints: np.ndarray) -> None:
        self._data.qpos[self._position_index] = joints
        mujoco.mj_kinematics(self._model, self._data)


def rotation_error(wanted: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Small-angle rotation vector (3,) from `here` to `wanted`, base frame."""
    return 0.5 * np.sum([np.cross(here[:, i], wanted[:, i]) for i in range(3)], axis=0)
