"""Asks policy and controller for their halves of a failure capsule, and joins them where both lie here."""

from __future__ import annotations

from pathlib import Path

from std_srvs.srv import Trigger

from vla_adapter_ros.capsule.contents import Capsule
from vla_adapter_ros.capsule.merge import join_halves, write_capsule
from vla_adapter_ros.nodes.addressee import find_services
from vla_adapter_ros.nodes.ros_client import RosClient

SAVED_WITHIN_S = 120.0  # a minute of video in PNG takes a slow disk a while


def save_capsules(
    client: RosClient, patience_s: float, *, with_images: bool = True
) -> tuple[list[Path], list[str]]:
    """Save what policy and controller did in the last 20 s.

    Args:
        client: In the namespace of the robot.
        patience_s: Longest wait for the first of them [s].
        with_images: Whether pictures stay in it.

    Returns:
        Files that were written, and what the others said.

    Raises:
        NoAnswerError: nobody is there, or did not answer.
    """
    answers = [
        client.service(Trigger, name).call(Trigger.Request(), SAVED_WITHIN_S)
        for name in find_services(client, "save_capsule", patience_s)
    ]
    refusals = [answer.message for answer in answers if not answer.success]
    paths = [Path(answer.message) for answer in answers if answer.success]
    if all(path.is_file() for path in paths):  # else they lie on another computer
        if len(paths) == 2:
            paths = [join_halves(*paths)]
        if not with_images:
            for path in paths:
                write_capsule([Capsule(path)], path, with_images=False)
    return paths, refusals
