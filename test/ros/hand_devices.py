"""Drivers of a gamepad and of a SpaceMouse, as far as their messages go: what they send, and how often.

Each `tick` is 10 ms. What the hand does is the same for both: motion along x, y, z, rx, ry, rz from -1 to 1,
and the names of the buttons that are held.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from geometry_msgs.msg import Twist
from sensor_msgs.msg import Joy

REPEAT_TICKS = 5  # joy_node repeats at 20 Hz, and sends every change at once
FULL_SPACEMOUSE = 350 / 512  # what a real one reaches, as spacenav_node scales it


GAMEPAD_AXES = {"y": 0, "x": 1, "rz": 3, "z": 4, "rx": 6, "ry": 7}
GAMEPAD_BUTTONS = {"gripper": 0, "slow": 4, "clutch": 5}
SPACEMOUSE_BUTTONS = {"clutch": 0, "gripper": 1}


class Gamepad:
    """An Xbox gamepad on joy_node."""

    def __init__(self, node: Any) -> None:
        self._publisher = node.create_publisher(Joy, "joy", 10)
        self._message = Joy(axes=[0.0] * 8, buttons=[0] * 11)  # the triggers say 0 until they are touched
        self._ticks = 0

    def tick(self, motion: Sequence[float], buttons: Collection[str] = ()) -> None:
        self._ticks += 1
        axes = [0.0] * 8
        for name, value in zip(("x", "y", "z", "rx", "ry", "rz"), motion, strict=True):
            axes[GAMEPAD_AXES[name]] = -value if name == "rx" else value
        down = [int(n in {GAMEPAD_BUTTONS[name] for name in buttons}) for n in range(11)]
        message = Joy(axes=axes, buttons=down)
        changed = message.axes != self._message.axes or message.buttons != self._message.buttons
        self._message = message
        if changed or self._ticks % REPEAT_TICKS == 0:
            self._publisher.publish(message)


class SpaceMouse:
    """A SpaceMouse on spacenav_node: buttons appear once they are pressed, and the twist is never quite 1."""

    def __init__(self, node: Any) -> None:
        self._twists = node.create_publisher(Twist, "spacenav/twist", 10)
        self._joys = node.create_publisher(Joy, "spacenav/joy", 10)
        self._buttons: list[int] = []

    def tick(self, motion: Sequence[float], buttons: Collection[str] = ()) -> None:
        down = {SPACEMOUSE_BUTTONS[name] for name in buttons}
        self._buttons += [0] * (max(down, default=-1) + 1 - len(self._buttons))
        self._buttons = [int(n in down) for n in range(len(self._buttons))]
        axes = [FULL_SPACEMOUSE * value for value in motion]
        twist = Twist()
        twist.linear.x, twist.linear.y, twist.linear.z = axes[:3]
        twist.angular.x, twist.angular.y, twist.angular.z = axes[3:]
        self._twists.publish(twist)
        self._joys.publish(Joy(axes=axes, buttons=list(self._buttons)))
