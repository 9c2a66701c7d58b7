"""The state that a robot will have, from the one that it has and what its joints will do. No rclpy here."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.rotation import Pose, quaternion, quaternion_vector, rotation_matrix


class StateAhead:
    """Puts later joints into a state: their positions and velocities, and where the tool is then.

    Grippers, efforts, wrenches and twists stay as they were measured: see `Contract.foreseen_state`.

    Args:
        contract: The robot's.
    """

    def __init__(self, contract: Contract) -> None:
        named = zip(contract.state, contract.state_joints, strict=True)
        places = {(joint, d.field): n for n, (d, joint) in enumerate(named) if joint}
        self._positions = {joint: places.get((joint, "position")) for joint in contract.arm_joints}
        self._velocities = {joint: places.get((joint, "velocity")) for joint in contract.arm_joints}
        poses = {
            d.field: n
            for n, d in enumerate(contract.state)
            if d.field.startswith(("position.", "orientation."))
        }
        self._place = [poses.get(f"position.{axis}") for axis in "xyz"]
        self._turn = [poses.get(f"orientation.{axis}") for axis in "xyzw"]
        self._has_pose = bool(poses)
        self._grippers = [places.get((gripper.joint, "position")) for gripper in contract.grippers]

    def problem(self, kinematics: ArmKinematics | None) -> str:
        """Why no state ahead can be made; empty if one can."""
        if missing := [joint for joint, place in self._positions.items() if place is None]:
            return f"the state has no position of {', '.join(missing)}"
        if self._has_pose and kinematics is None:
            return "the state has the tool's pose, and the arm's kinematics are not known"
        turned = [place for place in self._turn if place is not None]
        if self._has_pose and (None in self._place or len(turned) not in (0, 4)):
            return "the state has a part of the tool's pose alone"
        return ""

    def measured(self, state: np.ndarray) -> tuple[np.ndarray, list[float | None]]:
        """Positions of the arm's joints, float64 (J,), and of each gripper's, None where it has none.

        Args:
            state: As it was measured (S,); there is no `problem`.
        """
        joints = np.array([state[place] for place in self._positions.values()], dtype=np.float64)
        return joints, [None if place is None else float(state[place]) for place in self._grippers]

    def move(
        self,
        state: np.ndarray,
        positions: np.ndarray,
        velocities: np.ndarray,
        kinematics: ArmKinematics | None = None,
    ) -> np.ndarray:
        """The state (S,) with the joints as they will be.

        Args:
            state: As it was measured, float32 or float64 (S,).
            positions: Of the arm's joints then, in the contract's order (J,) [rad or m].
            velocities: (J,) [rad/s or m/s].
            kinematics: Needed where the state has the tool's pose.
        """
        moved = state.copy()
        here, _ = self.measured(state)
        _put(moved, list(self._positions.values()), positions)
        _put(moved, list(self._velocities.values()), velocities)
        if self._has_pose and kinematics is not None:
            self._move_tool(moved, state, kinematics.pose(here), kinematics.pose(positions))
        return moved

    def _move_tool(self, moved: np.ndarray, state: np.ndarray, here: Pose, there: Pose) -> None:
        """Move the measured pose as the tool's link moves, whatever fixed distance lies between both."""
        turn = there.rotation @ here.rotation.T
        measured = np.array([state[place] for place in self._place], dtype=np.float64)
        _put(moved, self._place, there.position + turn @ (measured - here.position))
        if None not in self._turn:
            before = np.array([state[place] for place in self._turn], dtype=np.float64)
            after = quaternion(turn @ rotation_matrix(quaternion_vector(before)))
            _put(moved, self._turn, after * (1.0 if after @ before >= 0 else -1.0))


def _put(state: np.ndarray, places: list[int | None], values: np.ndarray) -> None:
    for place, value in zip(places, values, strict=True):
        if place is not None:
            state[place] = value
