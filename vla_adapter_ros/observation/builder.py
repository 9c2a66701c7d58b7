"""Builds frames: what every stream said at one time.

The live policy, the recorder and bag replay use this one class, so that a
policy sees in deployment what it was trained on.

- t is the stamp of an image of the reference camera; of a camera that is
  faster than the contract's rate, only every n-th image counts.
- A frame is ready once every camera and every value has a sample stamped at or after t (and no image
  of a camera seems to be missing just before), or `settle_s` has passed since t and since the receipt of
  its image: what comes from a slow network, or from a machine whose clock is behind, is waited for too.
- It holds, per camera and per value, the newest sample stamped not later than t
  and no older than its stream's `max_age_s`; otherwise it says what is wrong.
- Cameras only: the image nearest to t, if it is stamped within `sync_tolerance_s` of it, is the image
  of t, and nothing more is waited for from that camera.
- Values are found by name: a message may carry any part of a topic's values, and
  several publishers may share the topic. Only what the contract uses is looked at.
- Nothing is ever filled in.

All times are passed in, in seconds of one clock (the ROS clock). The result
depends only on what was received when, not on how often `take_frames` is called.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.camera import Camera
from vla_adapter_ros.errors import FrameError
from vla_adapter_ros.observation.depth_images import decode_depth
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.histories import Histories
from vla_adapter_ros.observation.images import RawDecoder, decode_image
from vla_adapter_ros.observation.lateness import ClockCheck
from vla_adapter_ros.observation.messages import add_values, stamp_of
from vla_adapter_ros.observation.reference_queue import REPEATED, ReferenceQueue
from vla_adapter_ros.observation.stream_issues import StreamIssues

JUMP_BACK_S = 0.5  # time that runs back this far was reset (a simulation, a bag that loops)
MAX_WAITING = 256  # frames kept for a caller that does not take them
NO_FRAME = "no frame yet"


def _unknown(stream: str, heard: bool) -> str:
    return ""


class ObservationBuilder:
    """Turns samples, in the order of their arrival, into frames. Safe to use from several threads.

    Args:
        contract: Streams, sizes, ages and rate.
        with_action: Whether frames need the command as well (a recorder does, a policy does not).
        period_s: Time between frames [s]; 1 / contract.rate_hz if None.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        with_action: bool,
        period_s: float | None = None,
    ) -> None:
        self._contract = contract
        period = 1.0 / contract.rate_hz if period_s is None else period_s
        if not period > 0:
            raise FrameError(f"period_s = {period_s!r}: allowed is more than 0")
        self._references = ReferenceQueue(period)
        self.losses: Counter[str] = Counter()
        """What was refused or lost so far, in words -> how often; see `losses_since`."""
        self._clocks = ClockCheck(contract, self.losses)
        self._histories = Histories(contract, self._clocks, with_action=with_action)
        self._issues = StreamIssues(contract, self._histories, self._clocks, period)
        self._now = -math.inf
        self._finished: list[Frame] = []
        self.newest_problem = NO_FRAME
        """What is wrong with the newest frame; empty if it is good."""
        self.last_good = -math.inf
        """Stamp of the newest good frame [s]; -inf while there was none."""
        self._lock = threading.RLock()

    @property
    def streams(self) -> tuple[str, ...]:
        """All streams a frame needs: camera names, then topics."""
        return (*self.cameras, *self._histories.values)

    @property
    def cameras(self) -> Mapping[str, Camera]:
        """Cameras that a frame needs: with the action, those of depth as well."""
        return self._histories.cameras

    def add_message(
        self, stream: str, message: Any, received: float, decode_raw: RawDecoder | None = None
    ) -> None:
        """Take in a message as it was sent, live or logged in a bag.

        Args:
            stream: Camera, or topic in the contract.
            message: Of ROS, or of a bag reader.
            received: When it arrived [s].
            decode_raw: Decodes raw color images; see `decode_image`.

        Raises:
            FrameError: unknown topic, or names and values that do not go together.
            ImageError: an image that cannot be decoded.
        """
        if stream not in self.cameras:
            add_values(self, self._contract, stream, message, received)
            return
        camera = self.cameras[stream]
        if stream in self._contract.depth_cameras:
            image = decode_depth(message, camera.rotation, camera.size, camera.fit)
        else:
            image = decode_image(
                message, camera.rotation, camera.size, camera.encoding, decode_raw, camera.fit
            )
        self.add_image(stream, stamp_of(message), received, image)

    def add_image(self, camera: str, stamp: float, received: float, image: np.ndarray) -> None:
        """Take in an image.

        Args:
            camera: Name in the contract.
            stamp: Header stamp [s].
            received: When it arrived [s].
            image: uint8 (H, W, 3) RGB, or uint16 (H, W) [mm] of a depth camera, turned as the contract says;
                it must not be changed afterwards.

        Raises:
            FrameError: unknown camera.
        """
        if camera not in self.cameras:
            raise FrameError(f"camera {camera!r}: allowed are {list(self.cameras)}")
        with self._take_in(received):
            time = self._histories.time_of(camera, stamp, received, ("",))
            if time is None:
                return
            if camera == self._contract.reference_camera:
                deadline = max(time, received) + self._contract.settle_s
                lost = self._references.add_image(time, deadline, image)
            else:
                lost = "" if self._histories.images[camera].add_image(time, image) else REPEATED
            if lost:
                self.losses[f"image of {self._contract.stream_title(camera)} {lost}"] += 1

    def add_values(
        self, topic: str, stamp: float, received: float, names: Sequence[str], values: Sequence[float]
    ) -> None:
        """Take in a message without images. Values are found by name; further ones are ignored.

        Args:
            topic: Topic in the contract, or the action's topic.
            stamp: Header stamp [s].
            received: When it arrived [s].
            names: (N,) on a joint-state topic the joints (see `add_joint_state` for other fields than
                position), on a pose topic position.x ... orientation.w, on the action's topic its dimensions.
            values: (N,), in the contract's units.

        Raises:
            FrameError: unknown topic, or as many names as values there are not.
        """
        if len(names) != len(values):
            raise FrameError(f"{topic}: {len(names)} names but {len(values)} values")
        if self._histories.needs(topic):
            with self._take_in(received):
                self._histories.add_values(topic, stamp, received, names, values)

    def add_trajectory(
        self,
        topic: str,
        stamp: float,
        received: float,
        names: Sequence[str],
        points: Sequence[tuple[float, Sequence[float]]],
    ) -> None:
        """Take in a trajectory, which takes the place of what an earlier one planned for its time and later.

        Args:
            topic, stamp, received, names: As for `add_values`.
            points: Time after the stamp [s], and values (N,), of each point.

        Raises:
            FrameError: unknown topic.
        """
        if self._histories.needs(topic):
            with self._take_in(received):
                self._histories.add_trajectory(topic, stamp, received, names, points)

    def add_joint_state(
        self,
        topic: str,
        stamp: float,
        received: float,
        names: Sequence[str],
        positions: Sequence[float] = (),
        velocities: Sequence[float] = (),
        efforts: Sequence[float] = (),
    ) -> None:
        """Take in a joint-state message: (N,) names, and (N,) values of each field that the contract uses.

        Further fields and joints are not looked at. A field without any values says nothing.

        Raises:
            FrameError: unknown topic, or a field of wanted joints with another number of values than names.
        """
        fields = {"position": positions, "velocity": velocities, "effort": efforts}
        keys, values = self._histories.used(topic, names, fields)
        self.add_values(topic, stamp, received, keys, values)

    def take_frames(self, now: float) -> list[Frame]:
        """Give out the frames that are finished at `now` [s], in the order of their stamps, each once."""
        with self._lock:
            self._advance(now)
            finished, self._finished = self._finished, []
            return finished

    def newest_ages(self, now: float) -> dict[str, float]:
        """Stream -> time since its newest sample, or that of its oldest value [s]; inf if none came."""
        with self._lock:
            ages = self._histories.newest_ages(now, self._references.newest)
        return {stream: max(its.values()) for stream, its in ages.items()}

    def newest_stamps(self) -> dict[str, float]:
        """Stream -> stamp of its newest sample, or of its oldest value [s]; -inf if none came."""
        return {stream: -age for stream, age in self.newest_ages(0.0).items()}

    def issues(self, now: float, why: Callable[[str, bool], str] = _unknown) -> list[str]:
        """What keeps good frames from coming, in the order in which it began; empty if nothing does.

        One sentence per stream, or per group of its values that fell silent together.

        Args:
            now: Time [s].
            why: Given a stream and whether it was ever heard, the end of its sentences.
        """
        with self._lock:
            return self._issues.find(now, self._references.newest, why)

    def refused(self, stream: str, now: float) -> str:
        """What was refused of a stream lately since its stamps are wrong, in words; empty if nothing was."""
        with self._lock:
            return self._issues.refused(stream, now)

    def allowed_age(self, stream: str) -> float:
        """How old a stream's newest sample may become while all frames are good [s]."""
        return self._issues.allowed_age(stream)

    def obstacles(self, now: float, why: Callable[[str, bool], str] = _unknown) -> list[str]:
        """Why no good frame could be made now, the first cause first; empty if one can.

        Silent streams (for `why` see `issues`); where there are none, what is wrong with the newest
        frame, in the frame's own words. A bad frame between good ones is none.
        """
        with self._lock:
            self._advance(now)
            recent = now - self.last_good <= self.allowed_age(self._contract.reference_camera)
            problem = "" if recent else self.newest_problem
            return self.issues(now, why) or ([problem] if problem else [])

    def clear(self) -> None:
        """Forget all samples and frames, as after a reset of the simulation."""
        with self._lock:
            self._references.clear()
            self._finished.clear()
            self._histories.clear()
            self._clocks.clear()
            self.last_good = self._now = -math.inf
            self.newest_problem = NO_FRAME

    @contextmanager
    def _take_in(self, received: float) -> Iterator[None]:
        """Build the frames that a sample came too late for, then, with it, those that waited for it."""
        with self._lock:
            self._advance(received)
            yield
            self._advance(received)

    def _advance(self, now: float) -> None:
        """Build every frame that can be built at `now`, before a sample that came later can change it."""
        if now < self._now - JUMP_BACK_S:
            self.losses["the clock ran backwards: all samples from before were forgotten"] += 1
            self.clear()
        self._now = max(self._now, now)
        while (found := self._references.next_image(self._now, self._histories.complete)) is not None:
            t, image = found
            frame = self._histories.frame(t, image)
            self._finished.append(frame)
            self.newest_problem = frame.problem
            self.last_good = self.last_good if frame.problem else t
            if len(self._finished) > MAX_WAITING:
                self._finished.pop(0)
                self.losses["frame that nobody took in time"] += 1
            self._histories.prune(t)
