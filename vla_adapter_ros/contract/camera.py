"""Cameras of a robot contract: what their images are, and where a calibrated one stands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from vla_adapter_ros.contract.encodings import PIXELS
from vla_adapter_ros.contract.enums import Fit, TimeSource, Transport
from vla_adapter_ros.settings import CHECKED, Number, Positive, Text, Whole

Pixels = Annotated[Whole, Field(ge=8, le=16384)]
Turn = Literal[0, 90, 180, 270]
PixelEncoding = Annotated[Text, Field(json_schema_extra={"enum": ["", *PIXELS]})]


@dataclass(frozen=True, config=CHECKED)
class CameraPose:
    """Pose and projection of a calibrated camera: a pinhole without distortion."""

    position: Annotated[tuple[Number, ...], Field(min_length=3, max_length=3)]
    """Optical center x, y, z in the frame of `link` [m]."""
    orientation: Annotated[tuple[Number, ...], Field(min_length=4, max_length=4)]
    """Quaternion x, y, z, w of the optical frame (REP 103: x to the right, y down, z forward) in the frame
    of `link`."""
    focal_length: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=2)]
    """Horizontal and vertical, of images of the contract's width and height [px]."""
    principal_point: Annotated[tuple[Number, ...], Field(min_length=2, max_length=2)] | None = None
    """Where the optical axis meets the image, from its upper left corner [px]; no entry: its middle."""
    link: Text = ""
    """Link of the URDF that the camera is fixed to, such as the hand; without an entry the base."""


@dataclass(frozen=True, config=CHECKED)
class Camera:
    """One camera."""

    topic: Text
    """Topic of the images."""
    width: Pixels
    """Width after the rotation [px]."""
    height: Pixels
    """Height after the rotation [px]."""
    transport: Transport = Transport.RAW
    """raw: `sensor_msgs/Image`; compressed: `sensor_msgs/CompressedImage`."""
    rotation: Turn = 0
    """Turn right after decoding, counter-clockwise [degrees]."""
    max_age_s: Positive = 0.1
    """How old the image may be at t [s]."""
    time: TimeSource = TimeSource.HEADER
    """Which clock stamps the images: the message's header, or the time of receipt."""
    encoding: PixelEncoding = ""
    """What raw images are whose messages do not say it: 8UC3 may be rgb8 or bgr8. Messages that say
    something else are refused."""
    fit: Fit = Fit.EXACT
    """How an image of another size is fitted to width and height: cropped around its center, or padded
    with black; empty: it is refused."""
    sync_tolerance_s: Annotated[Number, Field(ge=0, le=0.5)] | None = None
    """An image stamped at most so far from that of the reference camera is of the same time [s]. Without
    an entry: the smaller of 5 ms and a quarter of the camera's measured period."""
    pose: CameraPose | None = None
    """Where the camera is and how it projects, as a calibration has found; the console then draws the tool's
    way into its images. Nothing else needs it."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height [px], after the turn."""
        return self.width, self.height
