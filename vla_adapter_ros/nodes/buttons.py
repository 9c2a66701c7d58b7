"""Buttons of a joystick or foot pedal as commands of the recorder. No rclpy here."""

from __future__ import annotations

from collections.abc import Sequence

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.recorder.commands import COMMANDS


class ButtonMap:
    """Turns the states of buttons into commands; a button counts when it goes down.

    Args:
        text: Pairs such as "toggle=0 discard=1 rerecord=3"; the numbers are those of sensor_msgs/Joy.

    Raises:
        ParameterError: an unknown command, a number that is none, or a button with two commands.
    """

    def __init__(self, text: str) -> None:
        self._commands: dict[int, str] = {}
        self._down: set[int] = set()
        for pair in text.replace(",", " ").split():
            command, _, number = pair.partition("=")
            if command not in COMMANDS or not number.isdigit() or int(number) in self._commands:
                raise ParameterError(
                    f"joy_buttons = {text!r}: allowed are pairs command=button, each button once, "
                    f"of the commands {', '.join(COMMANDS)}"
                )
            self._commands[int(number)] = command

    def __bool__(self) -> bool:
        return bool(self._commands)

    def pressed(self, buttons: Sequence[int]) -> list[str]:
        """Commands of the buttons that went down since the last call; `buttons` holds 1 where one is down."""
        down = {n for n, value in enumerate(buttons) if value and n in self._commands}
        new, self._down = down - self._down, down
        return [self._commands[n] for n in sorted(new)]
