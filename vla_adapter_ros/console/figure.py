"""The robot as a figure of bones from its URDF, and the way that its tool would go. Needs pinocchio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.errors import KinematicsError

SHORTEST = 1e-3  # of a bone [m]


class RobotFigure:
    """Places the links of a robot for drawing.

    Args:
        urdf_text: The URDF.
        tool_link: Link of the tool.

    Raises:
        KinematicsError: no pinocchio, no such link, or the URDF cannot be read.
    """

    def __init__(self, urdf_text: str, tool_link: str) -> None:
        try:
            import pinocchio
        except ImportError:
            raise KinematicsError("the figure of the robot needs pinocchio: pip install pin") from None
        self._pin: Any = pinocchio
        try:
            self._model = pinocchio.buildModelFromXML(urdf_text)
        except (ValueError, RuntimeError) as error:
            raise KinematicsError(f"the URDF cannot be drawn: {' '.join(str(error).split())[:200]}") from None
        self._data = self._model.createData()
        bodies = [n for n, f in enumerate(self._model.frames) if f.type == pinocchio.FrameType.BODY]
        self._parents = {n: self._parent(n) for n in bodies}
        named = {self._model.frames[n].name: n for n in bodies}
        if tool_link not in named:
            raise KinematicsError(f"tool_link = {tool_link!r}: the URDF has no such link")
        self._tool = named[tool_link]

    def bones(self, positions: Mapping[str, float]) -> list[list[float]]:
        """Bones as x, y, z of both ends in the root frame [m]; joints that are not named stand at 0."""
        self._place(positions)
        ends = []
        for frame, parent in self._parents.items():
            if parent < 0:
                continue
            start, end = self._at(parent), self._at(frame)
            if np.linalg.norm(end - start) > SHORTEST:
                ends.append([round(float(v), 3) for v in (*start, *end)])
        return ends

    def tool_path(
        self, joints: Sequence[str], rows: np.ndarray, others: Mapping[str, float]
    ) -> list[list[float]]:
        """Where the tool would be in each row (H, 3) [m].

        Args:
            joints: Name of each column.
            rows: Positions (H, J) [rad or m].
            others: Positions of further joints.
        """
        path = []
        for row in rows:
            self._place({**others, **dict(zip(joints, map(float, row), strict=True))})
            path.append([round(float(v), 3) for v in self._at(self._tool)])
        return path

    def _place(self, positions: Mapping[str, float]) -> None:
        configuration = self._pin.neutral(self._model)
        for name, value in positions.items():
            if not self._model.existJointName(name):
                continue
            joint = self._model.joints[self._model.getJointId(name)]
            if joint.nq == 1:
                configuration[joint.idx_q] = value
            elif joint.nq == 2:  # a joint without limits is a point on a circle
                configuration[joint.idx_q : joint.idx_q + 2] = np.cos(value), np.sin(value)
        self._pin.framesForwardKinematics(self._model, self._data, configuration)

    def _at(self, frame: int) -> np.ndarray:
        place: np.ndarray = self._data.oMf[frame].translation
        return place

    def _parent(self, frame: int) -> int:
        """The body that a body hangs on; -1 for the first."""
        frames = self._model.frames
        above = frames[frame].parentFrame
        while above > 0 and frames[above].type != self._pin.FrameType.BODY:
            above = frames[above].parentFrame
        return int(above) if above > 0 and above != frame else -1
