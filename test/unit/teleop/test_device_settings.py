"""Settings of devices: those that ship are sound, and every wrong one is named."""

from __future__ import annotations

import pytest

from vla_adapter_ros.contract.schema import TOOL_COLUMNS
from vla_adapter_ros.errors import DeviceError
from vla_adapter_ros.teleop.device_settings import parse_device, read_device, shipped_devices

GOOD = {
    "description": "a stick",
    "joy_topic": "joy",
    "motion": {"x": {"axis": 1}, "y": {"buttons": [2, 3]}},
    "clutch": 5,
    "gripper": {"button": 0},
}


@pytest.mark.parametrize("name", ["gamepad", "playstation", "spacemouse", "xbox"])
def test_shipped_devices_move_the_tool_in_every_direction_with_a_clutch_and_a_gripper(name):
    settings = read_device(name)
    assert list(sorted(settings.motion)) == sorted(TOOL_COLUMNS)
    assert settings.clutch is not None and settings.gripper is not None
    assert settings.description and settings.dead_zone > 0


def test_every_shipped_device_can_be_read():
    assert shipped_devices() == ["gamepad", "jog", "playstation", "spacemouse", "xbox"]
    assert read_device("jog").joy_topic == ""


def test_the_needed_axes_and_buttons_follow_from_the_settings():
    settings = parse_device(GOOD)
    assert (settings.num_axes, settings.num_buttons) == (2, 6)
    by_twist = parse_device(GOOD | {"twist": {"topic": "t"}, "gripper": {"axis": 4}})
    assert by_twist.num_axes == 5  # only the gripper is read from the joy message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"motion": {"up": {"axis": 1}}}, "device.motion.up: allowed are x, y, z, rx, ry, rz"),
        ({"motion": {"x": {}}}, "device.motion.x: allowed is either an axis, or two buttons"),
        ({"motion": {"x": {"axis": 1, "buttons": [3, 4]}}}, "either an axis, or two buttons"),
        ({"motion": {"x": {"buttons": [3]}}}, "two buttons: negative, positive"),
        ({"motion": {"x": {"axis": 1, "scale": 0}}}, "device.motion.x.scale = 0"),
        ({"motion": {"x": {"axis": -1}}}, "device.motion.x.axis = -1: allowed is at least 0"),
        ({"motion": {"x": {"axis": 6}}, "twist": {"topic": "t"}}, "allowed with a twist is 0 to 5"),
        ({"clutch": None}, "device.clutch = none: allowed is the button that must be held"),
        ({"slow": 5}, "buttons [5] have two meanings"),
        ({"motion": {"x": {"buttons": [0, 1]}}}, "buttons [0] have two meanings"),
        ({"gripper": {}}, "device.gripper: allowed is either a button or an axis"),
        ({"gripper": {"axis": 2, "released": 1.0, "pressed": 1.0}}, "another value than released"),
        ({"gripper": {"button": 1, "press": "twice"}}, "device.gripper.press = 'twice'"),
        ({"dead_zone": 1.0}, "device.dead_zone = 1.0: allowed is at most 0.9"),
        ({"dead_zone": float("nan")}, "device.dead_zone = nan: allowed is a finite number"),
        ({"buttons": 3}, "device = ['buttons']: allowed is only these keys"),
    ],
)
def test_wrong_settings_are_named(change, said):
    with pytest.raises(DeviceError) as caught:
        parse_device(GOOD | change)
    assert said in str(caught.value)


def test_all_wrong_values_are_told_at_once_with_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("joy_topic: joy\ndead_zone: 2\nclutch: -1\n")
    with pytest.raises(DeviceError) as caught:
        read_device(path)
    told = str(caught.value)
    assert (
        str(path) in told and "the key 'description'" in told and "dead_zone = 2" in told and "clutch" in told
    )
    path.write_text("{")
    with pytest.raises(DeviceError, match="cannot be read"):
        read_device(path)
    with pytest.raises(DeviceError, match="shipped: gamepad, jog, playstation, spacemouse, xbox"):
        read_device("wheel")
