"""A contract as one HTML page: a picture of the robot, what it gives and takes, and what its check found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vla_adapter_ros.commissioning.results import Results, summary
from vla_adapter_ros.commissioning.urdf import Urdf
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.html import Picture, embedded, write_html


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        title: Its heading.
        columns: Headings of the columns.
        rows: Texts.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_contract_page(
    path: Path, contract: Contract, urdf: Urdf | None, results: Results, image: np.ndarray | None, remark: str
) -> None:
    """Write the page; it needs nothing from the net.

    Args:
        path: File to write.
        contract: What is shown.
        urdf: Of the robot, for its limits beside the contract's; None if it is not known.
        results: What a check found.
        image: Of the robot, uint8 (H, W, 3) RGB; None without a picture.
        remark: What is to be said of the picture, or why there is none.
    """
    write_html(
        path,
        "contract",
        contract=contract,
        about=_facts(contract),
        picture=None if image is None else _picture(contract, image),
        remark=remark,
        tables=[table for table in _tables(contract, urdf) if table.rows],
        results=results,
        summary=summary(results),
    )


def _picture(contract: Contract, image: np.ndarray) -> Picture:
    _, png = cv2.imencode(".png", image[..., ::-1])
    return embedded(f"{contract.name}, joints in the middle of their ranges", png.tobytes())


def _facts(contract: Contract) -> dict[str, str]:
    action = contract.action
    return {
        "Robot": contract.robot_type,
        "Rows per second": f"{contract.rate_hz:g}",
        "Reference camera": contract.reference_camera,
        "Action": f"{action.space}, {len(action.dimensions)} values",
        "Command": f"{contract.command.type}, reached after {contract.command.command_delay_s:g} s",
        "A human": _human(contract),
        "Tool": "not named" if contract.kinematics is None else contract.kinematics.tool_link,
    }


def _human(contract: Contract) -> str:
    teleop = contract.teleop
    guided = ["guides the arm by hand when it is recorded"] if contract.hand_guided else []
    leads = [f"{teleop.route}, takes over by {teleop.takeover}"] if contract.teleop_groups else []
    return "; ".join(guided + leads)


def _tables(contract: Contract, urdf: Urdf | None) -> Iterable[Table]:
    yield Table(
        "Cameras",
        ("name", "topic", "transport", "size", "rotation"),
        [
            (
                name,
                c.topic,
                str(c.transport),
                f"{c.width}x{c.height}",
                f"{c.rotation} degrees" if c.rotation else "",
            )
            for name, c in contract.recorded_cameras.items()
        ],
    )
    yield Table(
        "State",
        ("value", "topic", "field", "joint", "unit"),
        [(d.name, d.topic, d.field, d.joint, str(d.unit)) for d in contract.state],
    )
    hands = {gripper.dimension: gripper.joint for gripper in contract.grippers}
    joints = zip(contract.action.dimensions, contract.action_joints, strict=True)
    yield Table(
        "Action",
        ("value", "moves", "unit", "scale"),
        [
            (d.name, joint or hands.get(d.name, "the tool"), str(d.unit), f"{d.scale:g}")
            for d, joint in joints
        ],
    )
    yield Table(
        "Limits",
        ("joint", "position", "the URDF's", "velocity", "the URDF's", "acceleration"),
        [_limit_row(contract, joint, urdf) for joint in contract.limits],
    )
    yield Table(
        "Where commands go",
        ("topic", "type", "what it moves"),
        [
            *((g.topic, str(contract.command.type), ", ".join(g.joints)) for g in contract.command_groups),
            *((g.topic, str(g.type), g.joint) for g in contract.grippers),
        ],
    )
    yield Table(
        "Where a human's commands come from",
        ("topic", "values"),
        [(group.topic, ", ".join(group.dimensions)) for group in contract.teleop_groups],
    )


def _limit_row(contract: Contract, joint: str, urdf: Urdf | None) -> tuple[str, ...]:
    limit = contract.limits[joint]
    known = urdf.joints.get(contract.joint_in_messages(joint)) if urdf else None
    ranged = known is not None and math.isfinite(known.high - known.low)
    return (
        joint,
        f"{limit.position[0]:g} to {limit.position[1]:g}",
        f"{known.low:g} to {known.high:g}" if known is not None and ranged else "",
        f"{limit.velocity:g}",
        f"{known.velocity:g}" if known is not None and math.isfinite(known.velocity) else "",
        f"{limit.acceleration:g}",
    )
