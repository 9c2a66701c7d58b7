"""What comes from drivers, with their habits, becomes what the human asks for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vla_adapter_ros.errors import DeviceError
from vla_adapter_ros.teleop.device_input import DeviceInput, require_fresh, without_dead_zone
from vla_adapter_ros.teleop.device_settings import parse_device, read_device
from vla_adapter_ros.teleop.jog_input import JogInput

SILENCE_S = 0.25


def joy(axes=None, buttons=None, num_axes=8, num_buttons=11):
    """Axes and buttons of an Xbox gamepad on joy_node, with those given by number."""
    values, down = [0.0] * num_axes, [0] * num_buttons
    for n, value in (axes or {}).items():
        values[n] = value
    for n in buttons or ():
        down[n] = 1
    return values, down


def test_the_dead_zone_is_taken_away_without_a_step():
    for value in np.linspace(-1, 1, 201):
        out = without_dead_zone(float(value), 0.1)
        assert abs(out) <= abs(value) + 1e-12
        assert out == 0.0 if abs(value) <= 0.1 else out * value > 0
    assert without_dead_zone(0.1 + 1e-9, 0.1) == pytest.approx(0.0, abs=1e-6)
    assert without_dead_zone(-1.0, 0.1) == -1.0


def test_axes_and_buttons_mean_what_the_settings_say():
    device = DeviceInput(read_device("xbox"), SILENCE_S)
    device.accept_joy(*joy({1: 1.0, 0: -1.0, 4: 0.05, 6: 1.0}, {5, 4}), 1.0)
    hand = device.state(1.0)
    np.testing.assert_allclose(hand.motion, [1, -1, 0, -1, 0, 0])
    assert hand.clutch and hand.slow and not hand.next_joints and hand.gripper_presses == 0
    device = DeviceInput(read_device("gamepad"), SILENCE_S)
    device.accept_joy(*joy({3: 1.0}, {11, 13, 10}, 6, 21), 1.0)
    np.testing.assert_allclose(device.state(1.0).motion, [0, 0, 1, -1, 1, 0])


def test_a_message_of_another_device_is_refused_and_nothing_is_asked_for():
    device = DeviceInput(read_device("xbox"), SILENCE_S)
    device.accept_joy(*joy({1: 1.0}, {5}), 1.0)
    with pytest.raises(
        DeviceError, match="joy: 6 axes and 21 buttons; Xbox gamepad on joy_node needs at least"
    ):
        device.accept_joy(*joy(num_axes=6, num_buttons=21), 1.01)
    assert device.state(1.01) is None and device.silent(1.01) == ["joy"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1e6])
def test_what_is_no_deflection_moves_nothing(bad):
    device = DeviceInput(read_device("xbox"), SILENCE_S)
    device.accept_joy(*joy({1: 1.0}, {5}), 1.0)
    with pytest.raises(DeviceError, match="allowed are deflections"):
        device.accept_joy(*joy({1: bad}, {5}), 1.02)
    assert device.state(1.02) is None
    device.accept_joy(*joy({1: 1.0}, {5}), 1.04)
    assert device.state(1.04).clutch


def test_a_silent_device_asks_for_nothing():
    device = DeviceInput(read_device("xbox"), SILENCE_S)
    assert device.state(0.0) is None
    device.accept_joy(*joy({}, {5}), 1.0)
    assert device.state(1.0 + SILENCE_S).clutch
    assert device.state(1.0 + SILENCE_S + 0.01) is None
    assert device.state(0.5) is None  # the clock was set back


def test_a_spacemouse_sends_its_buttons_only_once_one_was_pressed():
    device = DeviceInput(read_device("spacemouse"), SILENCE_S)
    device.accept_twist([0.5, 0, 0, 0, 0, -0.7], 1.0)
    assert device.state(1.0) is None  # its buttons are not known
    device.accept_joy([0.5, 0, 0, 0, 0, -0.7], [], 1.0)
    hand = device.state(1.0)
    assert not hand.clutch and hand.gripper_presses == 0
    np.testing.assert_allclose(hand.motion[1:5], 0)
    assert hand.motion[0] == pytest.approx(1.4 * 0.35 / 0.85) and hand.motion[5] == pytest.approx(
        -1.4 * 0.55 / 0.85
    )
    device.accept_joy([0.0] * 6, [1], 1.01)
    assert device.state(1.01).clutch and device.state(1.01).gripper_presses == 0
    device.accept_joy([0.0] * 6, [1, 1], 1.02)
    assert device.state(1.02).gripper_presses == 1
    with pytest.raises(DeviceError, match="spacenav/twist"):
        device.accept_twist([math.nan] * 6, 1.03)
    assert device.state(1.03) is None


def test_every_press_of_the_gripper_counts_also_between_two_looks():
    device = DeviceInput(read_device("xbox"), SILENCE_S)
    for n, down in enumerate([(), (0,), (0,), (), (0,), ()]):
        device.accept_joy(*joy({}, {5, *down}), 1.0 + 0.001 * n)
    hand = device.state(1.01)
    assert hand.gripper_presses == 2 and hand.gripper_held is None
    held = {"description": "d", "joy_topic": "joy", "clutch": 1, "gripper": {"button": 0, "press": "hold"}}
    device = DeviceInput(parse_device(held), SILENCE_S)
    for down in (1, 0):
        device.accept_joy([], [down, 1], 1.0)
        assert device.state(1.0).gripper_held == bool(down) and device.state(1.0).gripper_presses == 0


def test_a_trigger_counts_once_it_was_touched():
    settings = parse_device(
        {
            "description": "d",
            "joy_topic": "joy",
            "clutch": 0,
            "gripper": {"axis": 2, "released": 1, "pressed": -1},
        }
    )
    device = DeviceInput(settings, SILENCE_S)
    device.accept_joy([0, 0, 0.0], [1], 1.0)  # SDL says 0 before the first touch: that would be half closed
    assert device.state(1.0).gripper_closed is None
    for value, closed in ((1.0, 0.0), (0.0, 0.5), (-1.0, 1.0)):
        device.accept_joy([0, 0, value], [1], 1.0)
        assert device.state(1.0).gripper_closed == pytest.approx(closed)


def test_old_messages_are_refused():
    require_fresh("joy", 0.0, 100.0, SILENCE_S)  # no stamp
    require_fresh("joy", 99.9, 100.0, SILENCE_S)
    for stamp in (99.0, 101.0):
        with pytest.raises(DeviceError, match=r"joy: a message is .* s old"):
            require_fresh("joy", stamp, 100.0, SILENCE_S)


def test_jogging_needs_a_clutch_that_is_repeated_and_is_clipped_to_the_largest_speeds():
    jog = JogInput(0.2, 0.5, SILENCE_S)
    jog.accept_twist([0.1, -9, 0, 0, 0, 0.25], 1.0)
    assert not jog.state(1.0).clutch
    jog.accept_clutch(True, 1.0)
    np.testing.assert_allclose(jog.state(1.0).motion, [0.5, -1, 0, 0, 0, 0.5])
    jog.accept_clutch(True, 1.3)
    assert jog.state(1.3).clutch and not jog.state(1.3).motion.any()  # the twist is too old
    assert not jog.state(1.6).clutch
    jog.accept_clutch(True, 2.0)
    jog.accept_joints({"a": 0.3}, ("a", "b"), 2.0)
    jog.accept_gripper(0.25)
    assert jog.state(2.0).joint_velocities == {"a": 0.3} and jog.state(2.0).gripper_closed == 0.75
    jog.accept_clutch(False, 2.1)
    assert not jog.state(2.1).clutch
    jog.accept_clutch(True, 2.2)
    assert jog.state(2.2).gripper_closed is None  # a new press changes no gripper
    for call, said in (
        (lambda: jog.accept_twist([math.nan] * 6, 2.2), "finite velocities"),
        (lambda: jog.accept_joints({"c": 0.3}, ("a", "b"), 2.2), "'c': allowed are a, b"),
        (lambda: jog.accept_joints({"a": math.inf}, ("a", "b"), 2.2), "allowed is a finite number"),
        (lambda: jog.accept_gripper(1.5), "allowed is 0"),
    ):
        with pytest.raises(DeviceError, match=said):
            call()
    assert not jog.state(2.2).joint_velocities
