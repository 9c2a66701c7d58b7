"""Builds frames: what every stream said at one time.

The live policy, the recorder and bag replay use this one class, so that a
policy sees in deployment what it was trained on.

- t is the stamp of an image of the reference camera; of a camera that is
  faster than the contract's rate, only every n-th image counts.
- A frame is ready once every stream has delivered a sample stamped at or after
  t, or `settle_s` has passed since t.
- It holds, per stream, the newest sample stamped not later than t and no older
  than the stream's `max_age_s`; otherwise the frame says what is wrong.
- Nothing is ever filled in.

All times are passed in, in seconds of one clock (the ROS clock). The result
depends only on what was received when, not on how often `take` is called.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import FrameError
from vla_adapter_ros.recording.buffers import ImageBuffer, ValueBuffer
from vla_adapter_ros.recording.frame import Frame, image_problem, value_key
from vla_adapter_ros.recording.schedule import RateSchedule

FUTURE_TOLERANCE_S = 0.1  # a stamp this far after its receipt tells of clocks that disagree
JUMP_BACK_S = 0.5  # time that runs back this far was reset (a simulation, a bag that loops)
MAX_WAITING = 256  # frames kept for a caller that does not take them
NO_FRAME = "no frame yet"


class FrameBuilder:
    """Turns samples, in the order of their arrival, into frames. Safe to use from several threads.

    Args:
        contract: Streams, sizes, ages and rate.
        with_action: Whether frames need the command as well (a recorder does, a policy does not).
        period_s: Time between frames [s]; 1 / contract.rate_hz if None.
    """

    def __init__(self, contract: Contract, *, with_action: bool, period_s: float | None = None) -> None:
        self._contract = contract
        self._with_action = with_action
        self._period = 1.0 / contract.rate_hz if period_s is None else period_s
        if not self._period > 0:
            raise FrameError(f"period_s = {period_s!r}: allowed is more than 0")
        self._schedule = RateSchedule(self._period)
        self._pending: list[tuple[float, np.ndarray]] = []  # reference images without a frame yet
        self._images = {n: ImageBuffer() for n in contract.cameras if n != contract.reference_camera}
        self._values: dict[str, ValueBuffer] = {}
        for topic in dict.fromkeys(d.topic for d in contract.state):
            self._values[topic] = ValueBuffer(
                tuple(value_key(d.joint, d.field) for d in contract.state if d.topic == topic)
            )
        if with_action:
            keys = (value_key(name, contract.action.field) for name in contract.action_names)
            self._values[contract.action.topic] = ValueBuffer(tuple(keys))
        self._last_reference = -math.inf
        self._now = -math.inf
        self._ready: list[Frame] = []
        self._newest_problem = NO_FRAME
        self._last_good = -math.inf
        self._refused: dict[str, str] = {}
        self._lock = threading.RLock()
        self.rejected: dict[str, int] = {}
        """Stream -> samples refused since their stamps lay in the future."""
        self.clock_offset: dict[str, float] = {}
        """Stream -> stamp minus receive time of the newest refused sample [s]."""
        self.late_images = 0
        """Images of the reference camera that came after their turn."""
        self.lost_frames = 0
        """Frames that nobody took in time."""
        self.resets = 0
        """How often time ran backwards."""

    @property
    def streams(self) -> tuple[str, ...]:
        """All streams a frame needs: camera names, then topics."""
        return (*self._contract.camera_names, *self._values)

    def add_image(self, camera: str, stamp: float, received: float, image: np.ndarray) -> None:
        """Take in an image.

        Args:
            camera: Name in the contract.
            stamp: Header stamp [s].
            received: When it arrived [s].
            image: uint8 (H, W, 3) RGB, turned as the contract says; it must not be changed afterwards.

        Raises:
            FrameError: unknown camera.
        """
        if camera not in self._contract.cameras:
            raise FrameError(f"camera {camera!r}: allowed are {list(self._contract.cameras)}")
        with self._lock:
            self._advance(received)
            time = self._time_of(camera, self._contract.cameras[camera].time, stamp, received)
            if time is None:
                return
            if camera == self._contract.reference_camera:
                self._add_reference(time, image)
            else:
                buffer = self._images[camera]
                if time < buffer.newest - JUMP_BACK_S:
                    buffer.clear()
                buffer.add(time, image)
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
        if topic not in self._values:
            if not self._with_action and topic == self._contract.action.topic:
                return
            raise FrameError(f"topic {topic!r}: allowed are {list(self._values)}")
        if len(names) != len(values):
            raise FrameError(f"{topic}: {len(names)} names but {len(values)} values")
        known = self._contract.topics.get(topic)
        with self._lock:
            self._advance(received)
            time = self._time_of(topic, known.time if known else "header", stamp, received)
            if time is None:
                return
            buffer = self._values[topic]
            if time < buffer.newest - JUMP_BACK_S:
                buffer.clear()
            buffer.add(time, list(names), np.asarray(values, dtype=np.float64))
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
        """Take in a joint-state message: (N,) names, and (N,) or no values per field.

        Raises:
            FrameError: unknown topic, or a field with as many values as there are names it has not.
        """
        keys: list[str] = []
        values: list[float] = []
        for field, given in (("position", positions), ("velocity", velocities), ("effort", efforts)):
            if len(given) == 0:
                continue
            if len(given) != len(names):
                raise FrameError(f"{topic}: {len(names)} names but {len(given)} values of {field}")
            keys += [value_key(name, field) for name in names]
            values += [float(value) for value in given]
        self.add_values(topic, stamp, received, keys, values)

    def take(self, now: float) -> list[Frame]:
        """Give out the frames that became ready, in the order of their stamps, each once."""
        with self._lock:
            self._advance(now)
            ready, self._ready = self._ready, []
            return ready

    def newest_stamps(self) -> dict[str, float]:
        """Stream -> stamp of its newest complete sample [s]; -inf for a stream that never came."""
        with self._lock:
            newest = {n: self._images[n].newest if n in self._images else self._last_reference
                      for n in self._contract.cameras}  # fmt: skip
            newest.update((topic, buffer.newest) for topic, buffer in self._values.items())
            return newest

    def newest_ages(self, now: float) -> dict[str, float]:
        """Stream -> time since its newest complete sample [s]; inf for a stream that never came."""
        return {stream: now - stamp for stream, stamp in self.newest_stamps().items()}

    def complaints(self, now: float) -> list[str]:
        """Which streams are silent, one sentence each; empty if none is."""
        sentences = []
        with self._lock:
            for stream, age in self.newest_ages(now).items():
                if age > self.allowed_age(stream):
                    buffer = self._values.get(stream)
                    stamps = None if buffer is None else buffer.newest_of_each
                    sentences.append(self._silent(stream, age, buffer, stamps))
        return sentences

    def allowed_age(self, stream: str) -> float:
        """How old a stream's newest sample gets while frames are good [s]."""
        allowed = self._contract.max_age_s(stream) + self._contract.settle_s
        return allowed + self._period if stream in self._contract.cameras else allowed  # one image per period

    def obstacles(self, now: float) -> list[str]:
        """Why no good frame could be made now, the first cause first; empty if one can.

        Silent streams; where there are none, what is wrong with the newest frame, in the frame's own words.
        One bad frame among good ones is none.
        """
        with self._lock:
            self._advance(now)
            recent = now - self._last_good <= self.allowed_age(self._contract.reference_camera)
            problem = "" if recent else self._newest_problem
            return self.complaints(now) or ([problem] if problem else [])

    def refuse(self, stream: str, why: str) -> None:
        """Note why a stream's newest message gave no sample at all; empty: it did."""
        with self._lock:
            self._refused[stream] = why

    @property
    def newest_problem(self) -> str:
        """What is wrong with the newest frame; empty if it is good."""
        return self._newest_problem

    @property
    def last_good(self) -> float:
        """Stamp of the newest good frame [s]; -inf while there was none."""
        return self._last_good

    def clear(self) -> None:
        """Forget all samples and frames, as after a reset of the simulation."""
        with self._lock:
            self._schedule.clear()
            self._pending.clear()
            self._ready.clear()
            for buffer in (*self._images.values(), *self._values.values()):
                buffer.clear()
            self._last_reference = self._last_good = self._now = -math.inf
            self._newest_problem = NO_FRAME

    def _time_of(self, stream: str, source: str, stamp: float, received: float) -> float | None:
        """Time of a sample by the clock that the contract names; None if it is refused."""
        if source == "receive":
            return received
        if not stamp <= received + FUTURE_TOLERANCE_S:
            self.rejected[stream] = self.rejected.get(stream, 0) + 1
            self.clock_offset[stream] = stamp - received
            return None
        return stamp

    def _add_reference(self, time: float, image: np.ndarray) -> None:
        if time < self._last_reference - JUMP_BACK_S:
            self.resets += 1
            self.clear()
        if time <= self._schedule.last:
            self.late_images += 1
            return
        self._last_reference = max(self._last_reference, time)
        at = bisect.bisect_left(self._pending, time, key=lambda entry: entry[0])
        if at < len(self._pending) and self._pending[at][0] == time:
            return
        self._pending.insert(at, (time, image))

    def _advance(self, now: float) -> None:
        """Build every frame that is ready at `now`, before a sample that came later can change it."""
        if now < self._now - JUMP_BACK_S:
            self.resets += 1
            self.clear()
        self._now = max(self._now, now)
        while self._pending:
            t, image = self._pending[0]
            if self._schedule.is_due(t):
                if self._now < t + self._contract.settle_s and not self._complete(t):
                    return
                self._schedule.accept(t)
                self._ready.append(frame := self._build(t, image))
                self._newest_problem = frame.problem
                self._last_good = self._last_good if frame.problem else t
                if len(self._ready) > MAX_WAITING:
                    self._ready.pop(0)
                    self.lost_frames += 1
                self._prune(t)
            self._pending.pop(0)

    def _complete(self, t: float) -> bool:
        buffers = (*self._images.values(), *self._values.values())
        return all(buffer.newest >= t for buffer in buffers)

    def _prune(self, t: float) -> None:
        for buffer in self._images.values():
            buffer.prune(t)
        for topic, buffer in self._values.items():
            buffer.prune(t - self._contract.max_age_s(topic))

    def _build(self, t: float, reference: np.ndarray) -> Frame:
        contract = self._contract
        problems: list[str] = []
        ages: dict[str, float] = {}
        images: dict[str, np.ndarray] = {}
        for name, camera in contract.cameras.items():
            found = (t, reference) if name == contract.reference_camera else self._images[name].at(t)
            ages[name] = t - found[0] if found else math.inf
            if found is None or ages[name] > camera.max_age_s:
                problems.append(self._silent(name, ages[name]))
                continue
            wrong = image_problem(name, found[1], camera.height, camera.width)
            if wrong:
                problems.append(wrong)
            else:
                images[name] = found[1]
        known: dict[str, np.ndarray] = {}
        for topic, buffer in self._values.items():
            values, stamps = buffer.at(t)
            ages[topic] = t - float(stamps.min())
            bad = [
                k
                for k, v, s in zip(buffer.keys, values, stamps, strict=True)
                if not np.isfinite(v) and s > -math.inf
            ]
            if ages[topic] > self._contract.max_age_s(topic):
                problems.append(self._silent(topic, ages[topic], buffer, stamps))
            if bad:
                problems.append(f"{topic}: {', '.join(bad)} not finite")
            known[topic] = np.where(t - stamps <= self._contract.max_age_s(topic), values, np.nan)
        state = self._state(known)
        action = known[contract.action.topic] if self._with_action else None
        if action is not None and not np.isfinite(action).all():
            action = None
        used = [age for age in ages.values() if math.isfinite(age)]
        return Frame(t, images, state, action, ages, t - max(used), "; ".join(problems))

    def _state(self, known: dict[str, np.ndarray]) -> np.ndarray:
        """Arrange the topics' values in the contract's order: float64 (S,)."""
        index = {(topic, key): i for topic, b in self._values.items() for i, key in enumerate(b.keys)}
        return np.array(
            [known[d.topic][index[d.topic, value_key(d.joint, d.field)]] for d in self._contract.state]
        )

    def _silent(
        self, stream: str, age: float, buffer: ValueBuffer | None = None, stamps: np.ndarray | None = None
    ) -> str:
        what = f"camera {stream}" if stream in self._contract.cameras else stream
        limit = self._contract.max_age_s(stream)
        if buffer is not None and stamps is not None and stamps.max() > -math.inf:
            lacking = [k for k, s in zip(buffer.keys, stamps, strict=True) if s < stamps.max()]
            what += f" ({', '.join(lacking)})" if lacking else ""
        hint = ""
        if self.rejected.get(stream):
            hint = (
                f"; {self.rejected[stream]} refused, "
                f"stamped {self.clock_offset[stream]:.3f} s after their receipt: check the clocks"
            )
        if refused := self._refused.get(stream):
            hint += f"; refused: {refused}"
        if not math.isfinite(age):
            return f"{what}: no sample{hint}"
        return f"{what}: newest sample is {age:.3f} s old, allowed are {limit:.3f} s{hint}"
