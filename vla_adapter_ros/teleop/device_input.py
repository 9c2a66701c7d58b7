"""Messages of a human's device as what the human asks for; what is silent or damaged asks for nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract.schema import TOOL_COLUMNS
from vla_adapter_ros.errors import DeviceError
from vla_adapter_ros.teleop.device_settings import Axis, DeviceSettings, Press
from vla_adapter_ros.teleop.hand import HandState

_LARGEST = 10.0  # an axis that says more is damaged
_RELEASED_WITHIN = 0.1  # of an axis that opens and closes the gripper, as a fraction


class DeviceInput:
    """Keeps the newest message of each topic of a device.

    Args:
        settings: What its axes and buttons mean.
        silence_s: A topic that is silent for longer asks for nothing [s].
    """

    def __init__(self, settings: DeviceSettings, silence_s: float) -> None:
        self._settings, self._silence_s = settings, silence_s
        self._axes: list[float] = []
        self._buttons: list[int] = []
        self._twist: list[float] = []
        self._presses = 0  # of the gripper's button: a short one may lie between two looks
        self._heard: dict[str, float] = {}  # topic -> time of its newest good message
        self._gripper_known = False  # a trigger says 0 until it is first touched

    @property
    def topics(self) -> list[str]:
        """Topics that must speak for the device to be heard."""
        twist = self._settings.twist
        return [name for name in (self._settings.joy_topic, twist.topic if twist else "") if name]

    def accept_joy(self, axes: Sequence[float], buttons: Sequence[int], now: float) -> None:
        """Take in a joy message, received at `now` [s]. After one that is refused nothing is asked for.

        Raises:
            DeviceError: fewer axes or buttons than the settings use, or values that are no deflections.
        """
        settings, topic = self._settings, self._settings.joy_topic
        self._heard.pop(topic, None)
        enough_buttons = settings.buttons_appear_when_pressed or len(buttons) >= settings.num_buttons
        if len(axes) < settings.num_axes or not enough_buttons:
            raise DeviceError(
                f"{topic}: {len(axes)} axes and {len(buttons)} buttons; {settings.description} needs at "
                f"least {settings.num_axes} and {settings.num_buttons}: choose the parameter `device` that "
                "fits, or write settings of your own"
            )
        _require_deflections(axes, topic)
        before = self._gripper_down()
        self._axes, self._buttons = [float(value) for value in axes], list(buttons)
        self._presses += self._gripper_down() and not before
        self._gripper_known = self._gripper_known or self._trigger_released()
        self._heard[topic] = now

    def accept_twist(self, values: Sequence[float], now: float) -> None:
        """Take in a twist, linear before angular (6,), received at `now` [s].

        Raises:
            DeviceError: values that are no deflections.
        """
        assert self._settings.twist is not None
        topic = self._settings.twist.topic
        self._heard.pop(topic, None)
        _require_deflections(values, topic)
        self._twist = [float(value) for value in values]
        self._heard[topic] = now

    def silent(self, now: float) -> list[str]:
        """Topics from which nothing good has come lately."""
        return [t for t in self.topics if not 0 <= now - self._heard.get(t, -math.inf) <= self._silence_s]

    def state(self, now: float) -> HandState | None:
        """What the human asks for at `now` [s]; None: nobody knows, as a topic is silent or damaged."""
        settings = self._settings
        if not self.topics or self.silent(now):
            return None
        holds = settings.gripper is not None and settings.gripper.press is Press.HOLD
        motion = [self._deflection(settings.motion.get(name)) for name in TOOL_COLUMNS]
        return HandState(
            motion=np.array(motion),
            clutch=self._down(settings.clutch),
            slow=self._down(settings.slow),
            next_joints=self._down(settings.next_joints),
            gripper_presses=0 if holds else self._presses,
            gripper_held=self._gripper_down() if holds else None,
            gripper_closed=self._closed(),
        )

    def _down(self, button: int | None) -> bool:
        return button is not None and button < len(self._buttons) and self._buttons[button] != 0

    def _gripper_down(self) -> bool:
        gripper = self._settings.gripper
        return gripper is not None and self._down(gripper.button)

    def _deflection(self, axis: Axis | None) -> float:
        """From -1 to 1, without the dead zone."""
        if axis is None:
            return 0.0
        if axis.axis is None:
            negative, positive = axis.buttons
            value = float(self._down(positive)) - float(self._down(negative))
        else:
            source = self._twist if self._settings.twist is not None else self._axes
            value = without_dead_zone(source[axis.axis], self._settings.dead_zone)
        return min(max(value * axis.scale, -1.0), 1.0)

    def _closed(self) -> float | None:
        """How far a gripper with an axis shall be closed, 0 to 1; None before that axis was ever released."""
        gripper = self._settings.gripper
        if gripper is None or gripper.axis is None or not self._gripper_known:
            return None
        return min(max(self._fraction(), 0.0), 1.0)

    def _trigger_released(self) -> bool:
        gripper = self._settings.gripper
        return gripper is not None and gripper.axis is not None and self._fraction() < _RELEASED_WITHIN

    def _fraction(self) -> float:
        gripper = self._settings.gripper
        assert gripper is not None and gripper.axis is not None
        return (self._axes[gripper.axis] - gripper.released) / (gripper.pressed - gripper.released)


def require_fresh(topic: str, stamp: float, now: float, silence_s: float) -> None:
    """Refuse a message that was long under way: its button may have been released meanwhile.

    Args:
        topic: Of the message.
        stamp: When it was sent [s]; 0: it does not say.
        now: When it came [s].
        silence_s: How old it may be [s].

    Raises:
        DeviceError: it is older, or from the future by so much.
    """
    if stamp and abs(now - stamp) > silence_s:
        raise DeviceError(
            f"{topic}: a message is {now - stamp:.2f} s old, allowed are {silence_s:g}: is the network slow, "
            "or are the clocks of two computers not in step?"
        )


def without_dead_zone(value: float, dead_zone: float) -> float:
    """A deflection that begins at 0 at the edge of the dead zone, and is what it was at full deflection."""
    beyond = max(abs(value) - dead_zone, 0.0) / (1.0 - dead_zone)
    return math.copysign(beyond, value)


def _require_deflections(values: Sequence[float], topic: str) -> None:
    if not all(abs(value) <= _LARGEST for value in values):  # false for NaN, too
        raise DeviceError(
            f"{topic}: axes {[round(float(v), 3) for v in values]}: allowed are deflections, about -1 to 1"
        )
