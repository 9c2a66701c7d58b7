"""Joystick buttons as commands."""

from __future__ import annotations

import pytest

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes.buttons import ButtonMap


def test_a_button_counts_once_when_it_goes_down():
    buttons = ButtonMap("toggle=0, discard=2")
    assert bool(buttons) and not ButtonMap("")
    states = [[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1], []]
    assert [buttons.pressed(state) for state in states] == [[], ["toggle"], [], [], ["toggle", "discard"], []]


@pytest.mark.parametrize("text", ["dance=1", "toggle=x", "toggle", "toggle=1 discard=1", "toggle=-1"])
def test_other_texts_are_refused(text):
    with pytest.raises(ParameterError, match="joy_buttons"):
        ButtonMap(text)
