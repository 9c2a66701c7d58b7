"""Checks of a contract's cameras against the images that came."""

from __future__ import annotations

from vla_adapter_ros.commissioning.results import Results
from vla_adapter_ros.commissioning.streams import check_rate, check_stamps, is_heard
from vla_adapter_ros.commissioning.survey import COMPRESSED_IMAGE, IMAGE, GraphSurvey, TopicSurvey
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.camera import Camera
from vla_adapter_ros.contract.encodings import DEPTH, depth_codec, meaning_of, says_grey
from vla_adapter_ros.contract.enums import Fit, Transport
from vla_adapter_ros.errors import ImageError


def check_cameras(contract: Contract, survey: GraphSurvey, results: Results) -> None:
    """Topic, type, rate, size, encoding and stamps of every camera."""
    images = survey.published(IMAGE, COMPRESSED_IMAGE)
    for name, camera in contract.recorded_cameras.items():
        depth = name in contract.depth_cameras
        where = f"{'depth_cameras' if depth else 'cameras'}.{name}"
        kind = IMAGE if camera.transport is Transport.RAW else COMPRESSED_IMAGE
        topic = is_heard(survey, results, where, camera.topic, kind, images)
        if topic is None:
            continue
        _size(where, camera, topic, results)
        _encoding(where, camera, topic, depth, results)
        reference = name == contract.reference_camera
        why = f"the contract's rate_hz is {contract.rate_hz:g}"
        check_rate(results, where, topic, contract.rate_hz, reference, why)
        check_stamps(results, where, topic, camera.time, camera.max_age_s, contract.settle_s)


def _size(where: str, camera: Camera, topic: TopicSurvey, results: Results) -> None:
    if topic.size is None:
        return
    width, height = topic.size if camera.rotation % 180 == 0 else topic.size[::-1]
    if (width, height) == camera.size:
        results.note_pass(where, f"{width}x{height}")
    elif camera.fit is not Fit.EXACT:
        results.note_pass(
            where, f"{width}x{height}, fitted to {camera.width}x{camera.height} by {camera.fit}"
        )
    else:
        turned = f" after rotation {camera.rotation}" if camera.rotation else ""
        results.note_failure(
            where, f"{width}x{height} comes{turned}, the contract says {camera.width}x{camera.height}",
            f"Write width: {width}, height: {height}, or set the driver; a data set that exists needs fit",
        )  # fmt: skip


def _encoding(where: str, camera: Camera, topic: TopicSurvey, depth: bool, results: Results) -> None:
    said = topic.encoding
    if not said:
        return
    try:
        if depth:
            if camera.transport is Transport.COMPRESSED:
                depth_codec(said)
            elif said not in DEPTH:
                raise ImageError(f"image encoding '{said}' is no depth: allowed are {', '.join(DEPTH)}")
        elif camera.transport is Transport.COMPRESSED:
            says_grey(said)
        else:
            meaning_of(said, camera.encoding)
    except ImageError as error:
        first, _, rest = str(error).partition(": ")
        results.note_failure(where, first, (rest or "Choose another topic").capitalize())
    else:
        results.note_pass(where, f"{camera.transport}, {said}")
