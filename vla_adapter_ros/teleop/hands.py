"""Two ways to drive one arm, by a device and by jogging: who took the clutch first keeps it."""

from __future__ import annotations

from vla_adapter_ros.teleop.hand import HandState


class Hands:
    """Chooses whose wishes count."""

    def __init__(self) -> None:
        self._by_jog = False
        self._device_counts = False  # its clutch was seen released since it was silent last
        self.stuck = False
        """Whether the device's clutch is held, but was so when the device began to speak."""

    def choose(self, device: HandState | None, jog: HandState, leading: bool) -> HandState | None:
        """What the human asks for.

        Args:
            device: By the device; None: it is silent.
            jog: By jogging.
            leading: Whether somebody has the arm already.

        Returns:
            The state that counts; None: nobody knows.
        """
        held = device is not None and device.clutch
        self._device_counts = device is not None and (self._device_counts or not held)
        self.stuck = held and not self._device_counts
        if leading:
            return jog if self._by_jog else device
        self._by_jog = jog.clutch and not held
        if self._by_jog or device is None:
            return jog
        return None if self.stuck else device
