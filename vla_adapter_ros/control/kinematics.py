"""Forward and inverse kinematics of an arm from its URDF.

Pinocchio does the arithmetic of the tree; it is loaded when the first arm is
built, so that joint-space robots need not have it. The inverse is ours: damped
least squares with a descent guarantee, inside joint limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.control.damped_step import (
    METERS_PER_RAD,
    POSITION_TOLERANCE_M,
    SINGULAR_BELOW,
    converged,
    damped_step,
    norm,
)
from vla_adapter_ros.control.rotation import Pose
from vla_adapter_ros.errors import KinematicsError

MAX_ITERATIONS = 60
_NUDGE_RAD = 0.02  # off a singular posture, in which the step to the target has no first order
_BRANCH_RAD = 0.1  # from a singular posture to the branch behind it
_SPAN_RAD = 1e-4  # of the differences that give its curvature


@dataclass(frozen=True)
class IkResult:
    """The posture nearest to a wanted pose.

    Attributes:
        joints: float64 (J,), within the limits given.
        position_error: Distance of the tool from the wanted position [m].
        rotation_error: Angle to the wanted rotation [rad].
        iterations: Steps tried.
    """

    joints: np.ndarray
    position_error: float
    rotation_error: float
    iterations: int


class ArmKinematics:
    """Poses, Jacobians and postures of one tool link, in the frame of a base link.

    Every other joint of the URDF stays at its zero. Angles beyond a turn are
    fine for continuous joints. Not thread-safe.

    Args:
        urdf_text: The URDF itself, not its path.
        joints: The arm's joints (J,), in the order of every array here.
        base_link, tool_link: Names of links.

    Raises:
        KinematicsError: pinocchio is not installed, the text is no URDF, a
            name is not in it, or a joint does not move the tool against the base.
    """

    def __init__(self, urdf_text: str, joints: tuple[str, ...], base_link: str, tool_link: str) -> None:
        self._pin = pin = _pinocchio()
        self.urdf_text, self.base_link, self.tool_link = urdf_text, base_link, tool_link
        self.joints = tuple(joints)
        self._model = _reduced(pin, urdf_text, self.joints)
        self._data = self._model.createData()
        self._neutral = pin.neutral(self._model)
        ids = [self._model.getJointId(joint) for joint in self.joints]
        self._columns = np.array([self._model.joints[i].idx_v for i in ids])
        base, self._tool = (_frame(pin, self._model, link) for link in (base_link, tool_link))
        self._check_chain(ids, base, base_link, tool_link)
        pin.forwardKinematics(self._model, self._data, self._neutral)
        self._into_base = pin.updateFramePlacement(self._model, self._data, base).inverse()
        self._turn_into_base = np.kron(np.eye(2), self._into_base.rotation)  # of linear and angular rows
        position = [self._model.joints[i].idx_q for i in ids]
        low, high = self._model.lowerPositionLimit[position], self._model.upperPositionLimit[position]
        # A continuous joint has two numbers (cosine and sine) there, whose limits say nothing.
        free = (low >= high) | np.array([self._model.joints[i].nq != 1 for i in ids])
        self.low = np.where(free, -np.inf, low)
        """Lowest positions of the URDF, float64 (J,) [rad or m]; -inf where it gives none."""
        self.high = np.where(free, np.inf, high)
        """Highest positions of the URDF, float64 (J,); inf where it gives none."""
        velocity = self._model.velocityLimit[self._columns]
        self.velocity = np.where(velocity > 0, velocity, np.inf)
        """Largest velocities of the URDF, float64 (J,) [rad/s or m/s]; inf where it gives none."""

    def pose(self, joints: np.ndarray) -> Pose:
        """Pose of the tool link in the base link's frame for joint positions (J,)."""
        self._pin.forwardKinematics(self._model, self._data, self._configuration(joints))
        pose = self._into_base * self._pin.updateFramePlacement(self._model, self._data, self._tool)
        return Pose(np.array(pose.translation), np.array(pose.rotation))

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """Jacobian (6, J) of the tool point: linear rows [m/rad] above angular ones, base link's axes."""
        self._pin.computeJointJacobians(self._model, self._data, self._configuration(joints))
        return self._tool_jacobian()

    def solve_ik(self, target: Pose, start: np.ndarray, low: np.ndarray, high: np.ndarray) -> IkResult:
        """Posture that brings the tool to a pose, or as near to it as can be got from `start`.

        Every step leads nearer and is at most
        `MAX_STEP_RAD` long, so the result stays in the branch (elbow up or down) it
        starts in. Only at a singular posture, where branches meet, is there a
        choice: of two that come equally near, the one whose joints are farther
        from the URDF's limits. Where turning and moving cannot both be had,
        1 rad counts as `METERS_PER_RAD`. A pose out of reach is no error: look
        at the result's.

        Args:
            target: Wanted pose of the tool link in the base link's frame.
            start: Where to begin, float64 (J,).
            low, high: Limits, float64 (J,) each, low <= high; the result never leaves them.

        Source:
            Damped least squares (Wampler 1986, Nakamura and Hanafusa 1986), the
            damping per direction as its singular value falls below
            `SINGULAR_BELOW`; raised further, as Levenberg and Marquardt do,
            where a step would not lead nearer. Joints that a step takes to a
            limit are dropped from it, and the others make up for them.
        """
        joints = np.clip(np.asarray(start, dtype=np.float64), low, high)
        goal = self._pin.SE3(target.rotation, target.position)
        result, error, tried = self._descend(goal, joints, low, high)
        beyond = self._other_branch(joints)
        stretched = (
            not converged(error) and self._other_branch(result) is not None
        )  # at the end of every branch
        if beyond is not None and not stretched:
            other, after, more = self._descend(goal, np.clip(beyond, low, high), low, high)
            tried += more
            equal = norm(after) < norm(error) + 10 * POSITION_TOLERANCE_M
            if equal and self._eccentricity(other) < self._eccentricity(result):
                result, error = other, after
        return IkResult(result, norm(error[:3]), norm(error[3:]) / METERS_PER_RAD, tried)

    def dexterity(self, joints: np.ndarray) -> float:
        """How far a posture (J,) is from a singular one, where the tool loses a direction [m/rad].

        The smallest singular value of the Jacobian, whose rows for turning count `METERS_PER_RAD`.
        """
        return float(np.linalg.svd(_weighted(self.jacobian(joints)), compute_uv=False)[-1])

    def follow(
        self, target: Pose, start: np.ndarray, low: np.ndarray, high: np.ndarray, steps: int
    ) -> np.ndarray:
        """Posture (J,) after at most `steps` steps from `start` towards a pose near by.

        Without the choice of another branch that `solve_ik` has: for a pose that moves on bit by bit.

        Args:
            target, start, low, high: See `solve_ik`.
            steps: What is left over then is left to the next call.
        """
        joints = np.clip(np.asarray(start, dtype=np.float64), low, high)
        goal = self._pin.SE3(target.rotation, target.position)
        return self._descend(goal, joints, low, high, steps)[0]

    def _descend(
        self,
        goal: Any,
        joints: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        steps: int = MAX_ITERATIONS,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Joints (J,) where no step leads nearer, the error (6,) that is left, and the steps tried."""
        error, jacobian = self._look(goal, joints)
        extra = 0.0
        tried = 0
        while tried < steps and not converged(error):
            tried += 1
            step = damped_step(jacobian, error, joints, low, high, extra)
            trial = np.clip(joints + step, low, high)
            after, there = self._look(goal, trial)
            gain = norm(error) - norm(after)
            if gain > 0:
                joints, error, jacobian = trial, after, there
                extra = 0.0 if extra < 1e-6 else extra / 10
            if gain > min(POSITION_TOLERANCE_M, 0.01 * norm(error)) or converged(error):
                continue
            if gain <= 0 and np.abs(step).max() > 1e-5:
                extra = max(extra * 10, 1e-5)
                continue
            side = self._sidestep(goal, joints, error, jacobian, low, high)
            if side is None:
                break
            joints = side
            error, jacobian = self._look(goal, joints)
        return joints, error, tried

    def _other_branch(self, joints: np.ndarray) -> np.ndarray | None:
        """A posture (J,) behind a singular one near `joints`, towards the middle; None if none is near."""
        _, values, directions = np.linalg.svd(_weighted(self.jacobian(joints)), full_matrices=False)
        if values[-1] >= SINGULAR_BELOW:
            return None
        away = _BRANCH_RAD * directions[-1]
        sides = (joints + away, joints - away)
        return min(sides, key=self._eccentricity)

    def _eccentricity(self, joints: np.ndarray) -> float:
        """How far joints are from the middle of their ranges, squared and added; unlimited ones count 0."""
        limited = np.isfinite(self.low) & np.isfinite(self.high)
        middle, span = (self.low + self.high)[limited] / 2, (self.high - self.low)[limited]
        return float(np.sum(((joints[limited] - middle) / span) ** 2))

    def _sidestep(
        self,
        goal: Any,
        joints: np.ndarray,
        error: np.ndarray,
        jacobian: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> np.ndarray | None:
        """A posture a little off that is nearer to the goal, if there is one.

        From a stretched arm no joint leads inwards at first order, but bending
        either way does: the direction in which the distance curves down most.
        """
        free = np.flatnonzero((joints > low) & (joints < high))
        if not len(free):
            return None
        beside = [self._look(goal, joints + _SPAN_RAD * unit) for unit in np.eye(len(joints))[free]]
        slopes = np.array([-there.T @ after for after, there in beside]) + jacobian.T @ error
        curvature = slopes[:, free] / _SPAN_RAD  # of half the squared error
        values, directions = np.linalg.eigh((curvature + curvature.T) / 2)
        if values[0] > -1e-6:
            return None
        nudge = np.zeros_like(joints)
        nudge[free] = _NUDGE_RAD * directions[:, 0]
        for trial in (np.clip(joints + nudge, low, high), np.clip(joints - nudge, low, high)):
            if norm(self._look(goal, trial)[0]) < norm(error) * (1 - 1e-9):
                return trial
        return None

    def _look(self, goal: Any, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Displacement from the tool to the goal, and the Jacobian (6, J); angular rows of both weighted.

        The displacement (6,) [m] is linear first, then the rotation vector.
        """
        self._pin.computeJointJacobians(self._model, self._data, self._configuration(joints))
        jacobian = _weighted(self._tool_jacobian())
        here = self._into_base * self._data.oMf[self._tool]
        turn = self._pin.log3(goal.rotation @ here.rotation.T)
        return np.concatenate([goal.translation - here.translation, METERS_PER_RAD * turn]), jacobian

    def _tool_jacobian(self) -> np.ndarray:
        pin = self._pin
        pin.updateFramePlacement(self._model, self._data, self._tool)
        full = pin.getFrameJacobian(self._model, self._data, self._tool, pin.LOCAL_WORLD_ALIGNED)
        return self._turn_into_base @ full[:, self._columns]

    def _configuration(self, joints: np.ndarray) -> np.ndarray:
        angles = np.zeros(self._model.nv)
        angles[self._columns] = joints
        return self._pin.integrate(self._model, self._neutral, angles)

    def _check_chain(self, ids: list[int], base: int, base_link: str, tool_link: str) -> None:
        moves_base, moves_tool = (
            set(self._model.supports[_parent(self._model.frames[frame])]) for frame in (base, self._tool)
        )
        for joint, number in zip(self.joints, ids, strict=True):
            if self._model.joints[number].nv != 1:
                raise KinematicsError(f"joint '{joint}' has several axes: allowed are joints with one")
            if number in moves_base or number not in moves_tool:
                raise KinematicsError(
                    f"joint '{joint}' does not move '{tool_link}' against '{base_link}': "
                    "allowed are the joints between both"
                )


def _pinocchio() -> Any:
    try:
        import pinocchio
    except ImportError as error:
        raise KinematicsError(
            "kinematics need pinocchio: pip install pin, or ros-DISTRO-pinocchio of a ROS installation"
        ) from error
    return pinocchio


def _reduced(pin: Any, urdf_text: str, joints: tuple[str, ...]) -> Any:
    """Model in which only `joints` move."""
    try:
        model = pin.buildModelFromXML(urdf_text)
    except Exception as error:  # of several kinds, as the parser's version has it
        raise KinematicsError(f"no readable URDF: '{urdf_text[:60]}...': {error}") from error
    names = [name for name in model.names if name != "universe"]
    missing = [joint for joint in joints if joint not in names]
    if missing or len(set(joints)) != len(joints) or not joints:
        raise KinematicsError(f"joints {missing or list(joints)}: allowed is each of {names} at most once")
    locked = [model.getJointId(name) for name in names if name not in joints]
    return pin.buildReducedModel(model, locked, pin.neutral(model))


def _frame(pin: Any, model: Any, link: str) -> int:
    for number, frame in enumerate(model.frames):
        if frame.type == pin.FrameType.BODY and frame.name == link:
            return number
    links = [frame.name for frame in model.frames if frame.type == pin.FrameType.BODY]
    raise KinematicsError(f"link '{link}' is not in the URDF: allowed are {links}")


def _parent(frame: Any) -> int:
    return frame.parentJoint if hasattr(frame, "parentJoint") else frame.parent  # before pinocchio 3


def _weighted(jacobian: np.ndarray) -> np.ndarray:
    jacobian[3:] *= METERS_PER_RAD
    return jacobian
