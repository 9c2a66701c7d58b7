"""When a stream has been silent for so long that an instruction must end. No rclpy here; times are passed in.

A short gap ends nothing: without good frames there are no chunks, the arm comes to rest, and goes on when
the stream is back. After a longer one nobody expects the arm to move any more, so it must not.
"""

from __future__ import annotations

import math

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.observation.builder import ObservationBuilder

FRAMES = "good frames"
CONTROLLER = "the controller"
LONGEST_LOOK_S = 0.2
"""Between two looks at most this much counts as silence: a process that got no processor heard nothing, but
nobody was silent."""


def patience(
    contract: Contract, builder: ObservationBuilder, controller_s: float = math.inf
) -> dict[str, float]:
    """How long each stream of a frame, good frames as a whole and the controller may be silent [s].

    Args:
        contract: Ages, and `safety.resume_within_s`.
        builder: Knows the streams.
        controller_s: The same for the controller's status.
    """
    resume = contract.safety.resume_within_s
    limits = {s: max(contract.max_age_s(s) + resume, builder.allowed_age(s)) for s in builder.streams}
    frames = max(builder.allowed_age(s) for s in builder.streams) + resume
    return limits | {FRAMES: frames, CONTROLLER: controller_s}


class SilenceWatch:
    """Counts for how long each stream has brought nothing new, in the time during which somebody looked.

    Args:
        limits: Stream -> how long it may be silent [s].
    """

    def __init__(self, limits: dict[str, float]) -> None:
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        """Count anew, as after a new instruction."""
        self._looked: float | None = None
        self._newest: dict[str, float] = {}
        self._silent = dict.fromkeys(self._limits, 0.0)

    def find_silent(self, now: float, newest: dict[str, float]) -> str:
        """Look at the streams.

        Args:
            now: Time [s].
            newest: Stream -> stamp of its newest sample [s], -inf while there is none.

        Returns:
            The stream that has exceeded its limit the most, empty if none has.
        """
        passed = 0.0 if self._looked is None else min(max(now - self._looked, 0.0), LONGEST_LOOK_S)
        self._looked = now
        for stream, stamp in newest.items():
            fresh = stamp != self._newest.get(stream)
            self._silent[stream] = 0.0 if fresh else self._silent[stream] + passed
            self._newest[stream] = stamp
        beyond = {stream: self._silent[stream] - limit for stream, limit in self._limits.items()}
        worst = max(beyond, key=beyond.__getitem__)
        return worst if beyond[worst] > 1e-9 else ""

    def reason(self, stream: str, contract: Contract, builder: ObservationBuilder, now: float) -> str:
        """Why the instruction ends, in words.

        Args:
            stream: What `find_silent` returned.
            contract: Names the streams.
            builder: Knows what is wrong with the newest frame, and what was refused of the stream.
            now: Time [s].
        """
        after = f"for more than {self._limits[stream]:.3g} s: give a new instruction"
        if stream == FRAMES:
            return f"no good frame {after} ({builder.newest_problem})"
        if stream == CONTROLLER:
            return f"{stream} was silent {after}"
        refused = builder.refused(stream, now)
        return f"{contract.stream_title(stream)} was silent {after}" + (f" ({refused})" if refused else "")
