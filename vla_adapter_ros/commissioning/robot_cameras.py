"""Which of a graph's topics are cameras of the robot, what they are called, and which one gives the time."""

from __future__ import annotations

from collections.abc import Sequence

from vla_adapter_ros.commissioning.survey import COMPRESSED_IMAGE, IMAGE, GraphSurvey
from vla_adapter_ros.commissioning.wishes import Ask, Wishes, require_there
from vla_adapter_ros.contract.encodings import DEPTH
from vla_adapter_ros.dataset.joint_names import tokens
from vla_adapter_ros.dataset.tools.drafting.names import camera_name
from vla_adapter_ros.errors import ContractError

_SCENE_WORDS = ("third", "scene", "top", "high", "front", "external", "static", "overhead", "base")
_HAND_WORDS = ("wrist", "gripper", "hand", "eye", "tool", "arm", "left", "right")


def find_cameras(survey: GraphSurvey, wishes: Wishes, ask: Ask) -> tuple[dict[str, str], dict[str, str]]:
    """Color and depth cameras: name -> topic; of the color cameras the reference camera first.

    Raises:
        ContractError: a wish that is not in the graph, or no camera.
    """
    there = survey.published(IMAGE, COMPRESSED_IMAGE)
    require_there(wishes.cameras, there, "camera")
    chosen = [
        t for t in wishes.cameras or there if survey.topic(t).size and (wishes.cameras or _once(t, there))
    ]
    depth = [t for t in chosen if survey.topic(t).encoding.partition(";")[0] in DEPTH]
    color = [t for t in chosen if t not in depth]
    if not color:
        seen = ", ".join(there)
        raise ContractError(
            "no camera sends images: "
            + (f"published, but silent or of an unknown size: {seen}" if seen else "no topic has images")
        )
    if not wishes.cameras:
        slowest = min(survey.topic(topic).rate_hz for topic in color)
        color.sort(key=lambda t: (survey.topic(t).rate_hz > 1.2 * slowest, _from_afar(t)))
        first = ask("Which camera shows the whole scene (the reference camera)?", color, color[0])
        color = [first, *(t for t in color if t != first)]
    named: dict[str, str] = {}
    for topic in (*color, *depth):
        named[camera_name(topic, named)] = topic
    return (
        {name: topic for name, topic in named.items() if topic not in depth},
        {name: topic for name, topic in named.items() if topic in depth},
    )


def _once(topic: str, there: Sequence[str]) -> bool:
    """Whether it is not the same camera's topic in another form: compressed beside raw, rectified, depth."""
    stem = topic.removesuffix("/compressed").removesuffix("/compressedDepth")
    return topic == stem or stem not in there


def _from_afar(topic: str) -> int:
    """0 for a camera whose name says that it sees the scene, 2 for one on the arm."""
    words = tokens(topic)
    if any(word in words for word in _SCENE_WORDS):
        return 0
    return 2 if any(word in words for word in _HAND_WORDS) else 1


def left_out_cameras(survey: GraphSurvey, taken: set[str]) -> dict[str, str]:
    """Image topics that are not among those taken as cameras of the contract, and why."""
    there = survey.published(IMAGE, COMPRESSED_IMAGE)
    found = {}
    for topic in there:
        if topic not in taken:
            twin = "the same camera in another form" if not _once(topic, there) else "not chosen"
            silent = "published, but nothing arrived" if not survey.topic(topic).heard else "of unknown size"
            found[topic] = twin if survey.topic(topic).size else silent
    return found
