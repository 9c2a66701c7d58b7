"""The figure of the robot for the console, from the contract's URDF or from the topic robot_description."""

from __future__ import annotations

from collections.abc import Mapping

from vla_adapter_ros.commissioning.urdf import parse_urdf, tool_link
from vla_adapter_ros.console.curves import WantedRows
from vla_adapter_ros.console.figure import RobotFigure
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace
from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION, read_urdf
from vla_adapter_ros.errors import VlaAdapterError


class FigureSource:
    """Gives bones and the tool's path; nothing, where no URDF is known.

    Args:
        contract: Of the robot.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._figure: RobotFigure | None = None
        self.problem = ""
        """Why there is no figure, though there is a URDF; empty: there is one, or none is expected."""
        entry = contract.kinematics
        self.awaited = entry is None or entry.urdf == ROBOT_DESCRIPTION
        """Whether the URDF comes by topic, if at all."""
        if entry is not None and not self.awaited:
            try:
                self.take(read_urdf(entry.urdf))
            except VlaAdapterError as error:
                self.problem = f"no figure of the robot: {error}"

    def take(self, urdf: str) -> None:
        """A URDF has come."""
        joints = self._contract.arm_joints
        names = [self._contract.joint_in_messages(joint) for joint in joints]
        entry = self._contract.kinematics
        try:
            tool = entry.tool_link if entry is not None else tool_link(parse_urdf(urdf), names)
            base = entry.base_link if entry is not None else ""
            self._figure, self.problem = RobotFigure(urdf, tool, base), ""
        except VlaAdapterError as error:
            self._figure, self.problem = None, f"no figure of the robot: {error}"

    def content(self, measured: Mapping[str, float], wanted: WantedRows | None) -> dict[str, object] | None:
        """Bones now, and the tool's path in the newest chunk, in space and in calibrated cameras' images.

        Args:
            measured: Position of each joint as the contract calls it [rad or m].
            wanted: The newest chunk.

        Returns:
            As JSON has it; None without a figure.
        """
        figure, contract = self._figure, self._contract
        if figure is None or not measured:
            return None
        positions = {contract.joint_in_messages(joint): value for joint, value in measured.items()}
        path: list[list[float]] = []
        if wanted is not None and contract.action.space is ActionSpace.JOINT_POSITION:
            joints = [contract.joint_in_messages(joint) for joint in contract.arm_joints]
            scales = [contract.action.dimensions[n].scale for n in contract.arm_places]
            path = figure.tool_path(joints, wanted.rows[:, contract.arm_places] * scales, positions)
        return {
            "bones": figure.bones(positions),
            "path": path,
            "images": self._in_images(figure, path, positions),
        }

    def _in_images(
        self, figure: RobotFigure, path: list[list[float]], positions: Mapping[str, float]
    ) -> dict[str, object]:
        """Camera -> the path in its image, and how the image was fitted to the contract's size."""
        seen: dict[str, object] = {}
        for name, camera in self._contract.cameras.items():
            if camera.pose is None:
                continue
            try:
                places = figure.in_image(path, camera, positions)
            except VlaAdapterError as error:
                self.problem = f"no path in the images of camera {name!r}: {error}"
                continue
            seen[name] = {"path": places, "aspect": camera.width / camera.height, "fit": camera.fit.value}
        return seen
