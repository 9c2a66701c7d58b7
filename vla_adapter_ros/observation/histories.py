"""What all streams of a robot said lately, and the frame that this makes at one time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import FrameError
from vla_adapter_ros.observation.buffers import ImageBuffer, ValueBuffer
from vla_adapter_ros.observation.frame import (
    FLOAT32_MAX,
    JOINT,
    Frame,
    fits_float32,
    image_problem,
    value_key,
)
from vla_adapter_ros.observation.lateness import ClockCheck, late_values, oldest_first


class Histories:
    """A history per camera and per value that a frame needs.

    Args:
        contract: Streams, sizes and ages.
        clocks: Knows what was refused, for sentences about what is missing.
        with_action: Whether frames need what a recorder needs: depth, and what is commanded.
    """

    def __init__(self, contract: Contract, clocks: ClockCheck, *, with_action: bool) -> None:
        self._contract, self._clocks, self._with_action = contract, clocks, with_action
        self.cameras = contract.recorded_cameras if with_action else contract.cameras
        """Cameras of which a frame needs images: those of depth are recorded, and no input of a policy."""
        self.images = {
            name: ImageBuffer(camera.sync_tolerance_s)
            for name, camera in self.cameras.items()
            if name != contract.reference_camera
        }
        """Camera -> images; the reference camera has none, its images make the frames."""
        wanted = [(d.topic, d.field, d.joint) for d in contract.state]
        if self._with_action:
            wanted += [(topic, field, name) for topic, field, name in self._commands()]
        self._state_factors = np.array(contract.state_factors)
        self._action_factors = np.array(contract.action_factors)
        self._joints: dict[str, dict[str, set[str]]] = {}  # topic -> field -> joints
        keys: dict[str, list[str]] = {}
        for topic, field, joint in wanted:
            self._joints.setdefault(topic, {}).setdefault(field, set()).add(joint)
            keys.setdefault(topic, []).append(value_key(joint, field))
        self.values = {topic: ValueBuffer(tuple(dict.fromkeys(its))) for topic, its in keys.items()}
        """Topic -> values."""
        self._buffers: list[ImageBuffer | ValueBuffer] = [*self.images.values(), *self.values.values()]

    def _commands(self) -> list[tuple[str, str, str]]:
        """Topic, field and name of every action value that is commanded, in order."""
        action = self._contract.action
        return [
            (
                d.topic or action.topic,
                "position" if d.topic not in ("", action.topic) else action.field,
                d.name,
            )
            for d in (action.dimensions[place] for place in self._contract.commanded_places)
        ]

    def used(
        self, topic: str, names: Sequence[str], fields: Mapping[str, Sequence[float]]
    ) -> tuple[list[str], list[float]]:
        """Keys and values of what the contract uses of a joint-state message.

        Raises:
            FrameError: a field of wanted joints with another number of values than names.
        """
        keys: list[str] = []
        values: list[float] = []
        for field, joints in self._joints.get(topic, {}).items():
            given = fields.get(field, ())
            if len(given) == 0 or joints.isdisjoint(names):
                continue
            if len(given) != len(names):
                raise FrameError(f"{topic}: {len(names)} names but {len(given)} values of {field}")
            for name, value in zip(names, given, strict=True):
                if name in joints:
                    keys.append(value_key(name, field))
                    values.append(value)
        return keys, values

    def needs(self, topic: str) -> bool:
        """Whether frames need the values of a topic: a policy's do not need commands.

        Raises:
            FrameError: unknown topic.
        """
        if topic in self.values:
            return True
        if not self._with_action and topic in self._contract.command_topics:
            return False
        raise FrameError(f"topic {topic!r}: allowed are {list(self.values)}")

    def time_of(self, stream: str, stamp: float, received: float, keys: Sequence[str]) -> float | None:
        """Time of a sample by the clock that the contract names [s]; None if it is refused.

        Args:
            stream: Camera or topic.
            stamp, received: When the sample was stamped, and when it came [s].
            keys: Values in it; for an image, "".
        """
        if self._contract.time_source(stream) == "receive":
            return received
        return stamp if self._clocks.check_stamp(stream, keys, stamp, received) else None

    def add_values(
        self, topic: str, stamp: float, received: float, names: Sequence[str], values: Sequence[float]
    ) -> None:
        """Keep the wanted ones among the values of a message, see `ObservationBuilder.add_values`."""
        self.add_trajectory(topic, stamp, received, names, [(0.0, values)], replace=False)

    def add_trajectory(
        self,
        topic: str,
        stamp: float,
        received: float,
        names: Sequence[str],
        points: Sequence[tuple[float, Sequence[float]]],
        *,
        replace: bool = True,
    ) -> None:
        """Keep the wanted ones among the values of a trajectory, see `ObservationBuilder.add_trajectory`.

        Args:
            topic, stamp, received, names, points: As there.
            replace: Whether it takes the place of what was planned for its time and later.
        """
        buffer = self.values[topic]
        keys = buffer.wanted(names)
        time = self.time_of(topic, stamp, received, keys) if keys else None
        if time is None:
            return
        if replace:
            buffer.cut(time, names)
        for offset, values in points:
            buffer.add_values(time + offset, names, values, heard=time)

    def complete(self, t: float) -> bool:
        """Whether every camera has its image for `t` [s], and every value a sample of `t` or later."""
        images, values = self.images.values(), self.values.values()
        return all(buffer.covers(t) for buffer in images) and all(buffer.newest >= t for buffer in values)

    def prune(self, t: float) -> None:
        """Drop what no frame after `t` [s] can use."""
        for buffer in self._buffers:
            buffer.prune(t)

    def clear(self) -> None:
        """Forget everything."""
        for buffer in self._buffers:
            buffer.clear()

    def frame(self, t: float, reference: np.ndarray) -> Frame:
        """The frame of `t` [s], with the image of the reference camera stamped then."""
        contract = self._contract
        late: list[tuple[float, str]] = []
        wrong: list[str] = []
        ages: dict[str, float] = {}
        images: dict[str, np.ndarray] = {}
        for name, camera in self.cameras.items():
            depth = name in contract.depth_cameras
            found = (t, reference) if name == contract.reference_camera else self.images[name].at(t)
            ages[name] = t - found[0] if found else math.inf
            if found is None or ages[name] > camera.max_age_s:
                late += [
                    (age, text + self._just_missed(name, t))
                    for age, text in self.late(name, {"": ages[name]}, t, camera.max_age_s)
                ]
            elif problem := image_problem(name, found[1], camera.height, camera.width, depth=depth):
                wrong.append(problem)
            else:
                images[name] = found[1]
        known: dict[tuple[str, str], float] = {}
        for topic, buffer in self.values.items():
            values, stamps = buffer.at(t)
            its = dict(zip(buffer.keys, (t - stamps).tolist(), strict=True))
            ages[topic], allowed = max(its.values()), self._contract.max_age_s(topic)
            late += self.late(topic, its, t, allowed)
            fresh = {(topic, k): v for k, v in zip(buffer.keys, values, strict=True) if its[k] <= allowed}
            if bad := [key for (_, key), value in fresh.items() if not math.isfinite(value)]:
                wrong.append(f"{topic}: {', '.join(bad)} not finite")
            if large := [key for (_, key), value in fresh.items() if FLOAT32_MAX < abs(value) < math.inf]:
                wrong.append(f"{topic}: {', '.join(large)} too large, allowed is up to {FLOAT32_MAX:.2g}")
            known |= fresh
        names = [(d.topic, value_key(d.joint, d.field)) for d in contract.state]
        state = np.array([known.get(name, math.nan) for name in names], dtype=np.float64)
        state *= self._state_factors
        used = [age for age in ages.values() if math.isfinite(age)]
        problem = JOINT.join(oldest_first(late) + wrong)
        periods = {name: buffer.period for name, buffer in self.images.items()}
        return Frame(t, images, state, self._action(known), ages, t - max(used), problem, periods)

    def _just_missed(self, camera: str, t: float) -> str:
        """That a camera's images come soon after those of the reference camera, as the end of a sentence."""
        buffer = self.images[camera]
        after = buffer.following(t) - t
        if not after < buffer.period / 2 < math.inf:
            return ""
        swap = f"make {camera} the reference camera, or " if camera in self._contract.cameras else ""
        return (
            f" (stamped {after:.3f} s after {self._contract.reference_camera}: {swap}raise its "
            f"sync_tolerance_s, {buffer.tolerance:g})"
        )

    def _action(self, known: dict[tuple[str, str], float]) -> np.ndarray | None:
        """The command among the known values, float64 (A,); None if it is not asked for or not whole.

        Values that come from the next state are NaN.
        """
        if not self._with_action:
            return None
        names = [(topic, value_key(name, field)) for topic, field, name in self._commands()]
        commanded = np.array([known.get(name, math.nan) for name in names], dtype=np.float64)
        row = np.full(len(self._contract.action_names), math.nan)
        row[self._contract.commanded_places] = commanded
        row *= self._action_factors
        return row if fits_float32(commanded) else None

    def newest_ages(self, now: float, reference: float) -> dict[str, dict[str, float]]:
        """Stream -> value -> time since its newest sample [s]; the value of a camera is "".

        Args:
            now: Time [s].
            reference: Stamp of the newest image of the reference camera [s].
        """
        newest = {
            name: {"": self.images[name].newest if name in self.images else reference}
            for name in self.cameras
        }
        newest |= {topic: buffer.newest_stamps() for topic, buffer in self.values.items()}
        return {stream: {k: now - s for k, s in stamps.items()} for stream, stamps in newest.items()}

    def late(
        self, stream: str, ages: dict[str, float], t: float, threshold: float
    ) -> list[tuple[float, str]]:
        """Sentences about what of a stream is older than `threshold` at `t`, with the ages."""
        what = f"camera {stream}" if stream in self.cameras else stream
        return late_values(
            stream,
            what,
            ages,
            t,
            threshold=threshold,
            allowed=self._contract.max_age_s(stream),
            clocks=self._clocks,
        )
