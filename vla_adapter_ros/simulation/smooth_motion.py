"""Makes a script's wishes into a motion within velocity and acceleration, as a human's hand and arm would."""

from __future__ import annotations

import numpy as np

HAND_ACCELERATION = 1.2
"""How fast the wished velocity of the tool changes [m/s^2]."""
_FRACTION = 0.6  # of each limit of a joint: whoever follows late has room to catch up
_CATCH_UP_S = 0.1  # in which a joint makes up for what it lags
_BRAKES = 0.7  # fraction of the acceleration with which it comes to rest where it is wanted
_FIRST_S = 0.02  # taken for the time before the first command


class SmoothMotion:
    """Follows where a tool and its joints are wanted.

    The tool's lead, the displacement that is wanted within one lead time, changes no faster than a hand
    would. Each joint then follows with the velocity of what is wanted and makes up for what it lags, within
    its own limits.

    Args:
        lead_s: Lead time [s].
        joints: Where the joints are (J,) [rad].
        velocity, acceleration: Their limits (J,) [rad/s, rad/s^2].
    """

    def __init__(
        self, lead_s: float, joints: np.ndarray, velocity: np.ndarray, acceleration: np.ndarray
    ) -> None:
        self._lead_s, self._lead = lead_s, np.zeros(3)
        self.joints = np.array(joints, dtype=float)
        """What is commanded now (J,) [rad]."""
        self.wanted = self.joints.copy()
        """What would be commanded without limits (J,) [rad]."""
        self._velocity = np.zeros_like(self.joints)
        self._fastest, self._push = _FRACTION * velocity, _FRACTION * acceleration
        self._time: float | None = None
        self._passed = _FIRST_S

    def lead(self, time: float, wanted: np.ndarray) -> np.ndarray:
        """The lead (3,) [m] at `time` [s], which never goes back, where it should be `wanted`, (3,) [m]."""
        self._passed = _FIRST_S if self._time is None else max(time - self._time, 0.0)
        self._time = time
        change, most = wanted - self._lead, HAND_ACCELERATION * self._passed * self._lead_s
        size = float(np.linalg.norm(change))
        self._lead = self._lead + change * min(1.0, most / max(size, 1e-12))
        return self._lead

    def follow(self, wanted: np.ndarray) -> np.ndarray:
        """What is commanded (J,) [rad] at the time of the newest lead, where `wanted` (J,) is wished."""
        passed = self._passed
        if passed <= 0.0:
            return self.joints
        ahead, error = (wanted - self.wanted) / passed, self.wanted - self.joints
        brakes = np.sqrt(2.0 * _BRAKES * self._push * np.abs(error))
        catch_up = np.sign(error) * np.minimum(np.abs(error) / _CATCH_UP_S, brakes)
        change = self._push * passed
        velocity = np.clip(ahead + catch_up, self._velocity - change, self._velocity + change)
        self._velocity = np.clip(velocity, -self._fastest, self._fastest)
        self.wanted = np.array(wanted, dtype=float)
        self.joints = self.joints + self._velocity * passed
        return self.joints
