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
depends only on what was received when, not on how often `take` is called.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.schema import Camera
from vla_adapter_ros.errors import FrameError
from vla_adapter_ros.observation.decimator import FrameDecimator
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.histories import Histories
from vla_adapter_ros.observation.lateness import ClockCheck, oldest_first

JUMP_BACK_S = 0.5  # time that runs back this far was reset (a simulation, a bag that loops)
MAX_WAITING = 256  # frames kept for a caller that does not take them
NO_FRAME = "no frame yet"
REPEATED = "repeats the stamp of one before"


def _unknown(stream: str, heard: bool) -> str:
    return ""


class ObservationBuilder:
    """Turns samples, in the order of their arrival, into frames. Safe to use from several threads.

    Args:
        contract: Streams, sizes, ages and rate.
        with_action: Whether frames need the command as well (a recorder does, a policy does not).
        with_commands: False: all that a recorder needs but the command, which nobody sent.
        period_s: Time between frames [s]; 1 / contract.rate_hz if None.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        with_action: bool,
        period_s: float | None = None,
        with_commands: bool = True,
    ) -> None:
        self._contract = contract
        self._with_action = with_action and with_commands
        self._period = 1.0 / contract.rate_hz if period_s is None else period_s
        if not self._period > 0:
            raise FrameError(f"period_s = {period_s!r}: allowed is more than 0")
        self._schedule = FrameDecimator(self._period)
        # Reference images without a frame yet: stamp, when their frame is due at the latest, image.
        self._pending: list[tuple[float, float, np.ndarray]] = []
        self.losses: Counter[str] = Counter()
        """What was refused or lost so far, in words -> how often; see `losses_since`."""
        self._clocks = ClockCheck(contract, self.losses)
        self._histories = Histories(
            contract, self._clocks, with_action=with_action, with_commands=with_commands
        )
        self._last_reference = -math.inf
        self._now = -math.inf
        self._ready: list[Frame] = []
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
        with self._lock:
            self._advance(received)
            time = self._time_of(camera, stamp, received, ("",))
            if time is None:
                return
            if camera == self._contract.reference_camera:
                self._add_reference(time, received, image)
            else:
                self._add_image(camera, time, image)
            self._advance(received)

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
        if topic not in self._histories.values:
            if not self._with_action and topic in self._contract.command_topics:
                return
            raise FrameError(f"topic {topic!r}: allowed are {list(self._histories.values)}")
        if len(names) != len(values):
            raise FrameError(f"{topic}: {len(names)} names but {len(values)} values")
        with self._lock:
            self._advance(received)
            buffer = self._histories.values[topic]
            keys = buffer.wanted(names)
            if not keys:
                return
            time = self._time_of(topic, stamp, received, keys)
            if time is None:
                return
            buffer.add(time, names, values)
            self._advance(received)

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
        if topic not in self._histories.values:
            if not self._with_action and topic in self._contract.command_topics:
                return
            raise FrameError(f"topic {topic!r}: allowed are {list(self._histories.values)}")
        with self._lock:
            self._advance(received)
            buffer = self._histories.values[topic]
            keys = buffer.wanted(names)
            time = self._time_of(topic, stamp, received, keys) if keys else None
            if time is None:
                return
            buffer.cut(time, names)
            for offset, values in points:
                buffer.add(time + offset, names, values, heard=time)
            self._advance(received)

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

    def take(self, now: float) -> list[Frame]:
        """Give out the frames that became ready, in the order of their stamps, each once."""
        with self._lock:
            self._advance(now)
            ready, self._ready = self._ready, []
            return ready

    def newest_ages(self, now: float) -> dict[str, float]:
        """Stream -> time since its newest sample, or that of its oldest value [s]; inf if none came."""
        with self._lock:
            ages = self._histories.newest_ages(now, self._last_reference)
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
        found: list[tuple[float, str]] = []
        with self._lock:
            if other := self._clocks.two_clocks(now):
                return [other]
            for stream, ages in self._histories.newest_ages(now, self._last_reference).items():
                late = self._histories.late(stream, ages, now, self.allowed_age(stream))
                refused = bool(self.refused(stream, now))
                found += [(age, text + why(stream, refused or math.isfinite(age))) for age, text in late]
        return oldest_first(found)

    def refused(self, stream: str, now: float) -> str:
        """What was refused of a stream lately since its stamps are wrong, in words; empty if nothing was."""
        with self._lock:
            values = self._histories.values
            keys = values[stream].keys if stream in values else ("",)
            return self._clocks.refused(stream, keys, now)

    def allowed_age(self, stream: str) -> float:
        """How old a stream's newest sample may become while all frames are good [s]."""
        allowed = self._contract.max_age_s(stream) + self._contract.settle_s
        if stream in self.cameras:
            allowed += self._period  # images are looked at once per period
        return allowed

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
            self._schedule.clear()
            self._pending.clear()
            self._ready.clear()
            self._histories.clear()
            self._clocks.clear()
            self._last_reference = self.last_good = self._now = -math.inf
            self.newest_problem = NO_FRAME

    def _time_of(self, stream: str, stamp: float, received: float, keys: Sequence[str]) -> float | None:
        """Time of a sample by the clock that the contract names; None if it is refused."""
        if self._contract.time_source(stream) == "receive":
            return received
        return stamp if self._clocks.accept(stream, keys, stamp, received) else None

    def _add_image(self, camera: str, time: float, image: np.ndarray) -> None:
        if not self._histories.images[camera].add(time, image):
            self._lose_image(camera, REPEATED)

    def _add_reference(self, time: float, received: float, image: np.ndarray) -> None:
        if time <= self._schedule.last:
            camera = self._contract.reference_camera
            self._lose_image(camera, REPEATED if time == self._schedule.last else "came after its turn")
            return
        self._last_reference = max(self._last_reference, time)
        at = bisect.bisect_left(self._pending, time, key=lambda entry: entry[0])
        if at < len(self._pending) and self._pending[at][0] == time:
            self._lose_image(self._contract.reference_camera, REPEATED)
            return
        self._pending.insert(at, (time, max(time, received) + self._contract.settle_s, image))

    def _lose_image(self, camera: str, why: str) -> None:
        self.losses[f"image of {self._contract.stream_title(camera)} {why}"] += 1

    def _advance(self, now: float) -> None:
        """Build every frame that is ready at `now`, before a sample that came later can change it."""
        if now < self._now - JUMP_BACK_S:
            self.losses["the clock ran backwards: all samples from before were forgotten"] += 1
            self.clear()
        self._now = max(self._now, now)
        while self._pending:
            t, latest, image = self._pending[0]
            if self._schedule.is_due(t):
                if self._now < latest and not self._histories.complete(t):
                    return
                self._schedule.accept(t)
                self._ready.append(frame := self._histories.frame(t, image))
                self.newest_problem = frame.problem
                self.last_good = self.last_good if frame.problem else t
                if len(self._ready) > MAX_WAITING:
                    self._ready.pop(0)
                    self.losses["frame that nobody took in time"] += 1
                self._histories.prune(t)
            self._pending.pop(0)
