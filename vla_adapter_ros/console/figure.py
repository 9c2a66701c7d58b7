"""The robot as bones from its URDF, and the tool's path, in space and in images. Needs pinocchio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.contract.camera import Camera
from vla_adapter_ros.errors import KinematicsError

SHORTEST = 1e-3  # of a bone [m]
NEAREST = 0.02  # what is closer to a camera, or behind it, is not in its image [m]


class RobotFigure:
    """Places the links of a robot for drawing.

    Args:
        urdf_text: The URDF.
        tool_link: Link of the tool.
        base_link: Link whose frame everything is given in; empty: the first link.

    Raises:
        KinematicsError: no pinocchio, no such link, or the URDF cannot be read.
    """

    def __init__(self, urdf_text: str, tool_link: str, base_link: str = "") -> None:
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
        self._links = {self._model.frames[n].name: n for n in bodies}
        self._tool = self._link("tool_link", tool_link)
        self._base = self._link("base_link", base_link) if base_link else bodies[0]

    def bones(self, positions: Mapping[str, float]) -> list[list[float]]:
        """Bones as x, y, z of both ends in the base's frame [m]; joints that are not named stand at 0."""
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
            path.append([round(float(v), 4) for v in self._at(self._tool)])
        return path

    def in_image(
        self, points: Sequence[Sequence[float]], camera: Camera, positions: Mapping[str, float]
    ) -> list[list[float]]:
        """Where points are seen in the images of a calibrated camera, with the robot as it stands now.

        Args:
            points: In the base's frame (N, 3) [m].
            camera: With a pose.
            positions: Position of each joint [rad or m].

        Returns:
            Places from the upper left corner as fractions of width and height, up to the first point that
            is behind the camera; places outside 0 to 1 are outside the image.

        Raises:
            KinematicsError: the camera is fixed to a link that the URDF does not have.
        """
        pose = camera.pose
        if pose is None or not points:
            return []
        link = self._link("link", pose.link) if pose.link else self._base
        self._place(positions)
        base, carrier = self._data.oMf[self._base], self._data.oMf[link]
        turn = np.array(pose.orientation) / np.linalg.norm(pose.orientation)
        optical = carrier.act(self._pin.XYZQUATToSE3(np.concatenate([pose.position, turn])))
        center = pose.principal_point or (camera.width / 2, camera.height / 2)
        places: list[list[float]] = []
        for point in points:
            x, y, z = optical.actInv(base.act(np.asarray(point, float)))
            if z < NEAREST:
                break
            u = center[0] + pose.focal_length[0] * x / z
            v = center[1] + pose.focal_length[1] * y / z
            places.append([round(float(u) / camera.width, 4), round(float(v) / camera.height, 4)])
        return places

    def _link(self, key: str, name: str) -> int:
        if name not in self._links:
            raise KinematicsError(f"{key} = {name!r}: the URDF has no such link")
        return self._links[name]

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
        place: np.ndarray = self._data.oMf[self._base].actInv(self._data.oMf[frame].translation)
        return place

    def _parent(self, frame: int) -> int:
        """The body that a body hangs on; -1 for the first."""
        frames = self._model.frames
        above = frames[frame].parentFrame
        while above > 0 and frames[above].type != self._pin.FrameType.BODY:
            above = frames[above].parentFrame
        return int(above) if above > 0 and above != frame else -1
