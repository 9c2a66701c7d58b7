"""What the axes and buttons of a human's device mean, as checked settings; those that ship: config/teleop."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.contract.resources import config_folder
from vla_adapter_ros.contract.schema import TOOL_COLUMNS
from vla_adapter_ros.errors import DeviceError
from vla_adapter_ros.paths import expand, locate
from vla_adapter_ros.settings import CHECKED, Flag, Number, Text, Whole, describe_errors, join_errors
from vla_adapter_ros.untrusted import read_yaml, short

Index = Annotated[Whole, Field(ge=0, le=255)]
Scale = Annotated[Number, Field(ge=-10.0, le=10.0)]
TWIST_AXES = 6


class Press(Choice):
    """What the button of a gripper does."""

    TOGGLE = "toggle"
    HOLD = "hold"


@dataclass(frozen=True, config=CHECKED)
class Axis:
    """One direction of motion: an axis of the device, or two of its buttons."""

    axis: Index | None = None
    """Number of the axis; of a twist 0 to 2 are linear x to z, 3 to 5 angular x to z."""
    buttons: tuple[Index, ...] = ()
    """Instead: the button for the negative and the one for the positive direction."""
    scale: Scale = 1.0
    """Factor; a negative one turns the direction round. The product is clipped to -1 and 1."""


@dataclass(frozen=True, config=CHECKED)
class GripperControl:
    """How the gripper is opened and closed: by a button, or bit by bit by an axis."""

    button: Index | None = None
    """The button."""
    press: Press = Press.TOGGLE
    """toggle: each press closes or opens; hold: closed while it is held."""
    axis: Index | None = None
    """Instead: an axis of the joy message, such as a trigger."""
    released: Number = 1.0
    """Value of the axis that means open."""
    pressed: Number = -1.0
    """Value of the axis that means closed."""


@dataclass(frozen=True, config=CHECKED)
class TwistTopic:
    """Where the motion comes from, if not from the axes of the joy message."""

    topic: Text
    """`geometry_msgs/Twist`, or `TwistStamped`; at full deflection about 1 in each direction."""
    stamped: Flag = False
    """Whether it is a TwistStamped."""


@dataclass(frozen=True, config=CHECKED)
class DeviceSettings:
    """A human's device."""

    description: Text
    """What it is, and which driver publishes it."""
    joy_topic: Text
    """Topic of its buttons and axes, `sensor_msgs/Joy`; empty: no device, only the topics for jogging."""
    motion: dict[Text, Axis] = field(default_factory=dict)
    """x, y, z, rx, ry, rz -> what moves it. In joint motion they are the first six joints in order."""
    clutch: Index | None = None
    """The button that must be held: without it nothing moves."""
    slow: Index | None = None
    """Held, motion is slower by the parameter slow_factor; without an entry there is none."""
    next_joints: Index | None = None
    """Held, joint motion drives the next six joints; without an entry there is none."""
    gripper: GripperControl | None = None
    """The gripper; without an entry it stays as it is."""
    twist: TwistTopic | None = None
    """Where the motion comes from, if not from the joy message."""
    dead_zone: Annotated[Number, Field(ge=0.0, le=0.9)] = 0.1
    """How far from its center an axis counts as not moved; beyond, it begins at 0."""
    buttons_appear_when_pressed: Flag = False
    """The driver sends only buttons up to the highest that was ever pressed: others count as released."""

    @property
    def num_axes(self) -> int:
        """Axes that a joy message must have at least."""
        used = [] if self.twist else [a.axis for a in self.motion.values()]
        used += [self.gripper.axis] if self.gripper else []
        return max((n + 1 for n in used if n is not None), default=0)

    @property
    def num_buttons(self) -> int:
        """Buttons that a joy message must have at least."""
        used = [self.clutch, self.slow, self.next_joints, self.gripper.button if self.gripper else None]
        used += [n for axis in self.motion.values() for n in axis.buttons]
        return max((n + 1 for n in used if n is not None), default=0)


_SETTINGS = TypeAdapter(DeviceSettings)


def devices_folder() -> Path:
    """Folder of the device settings that ship with the package."""
    return config_folder() / "teleop"


def shipped_devices() -> list[str]:
    """Names of the device settings that ship with the package."""
    return sorted(path.stem for path in devices_folder().glob("*.yaml"))


def read_device(name_or_path: str | Path) -> DeviceSettings:
    """Read the settings of a device from a YAML file, or by the name of one that ships with the package.

    Raises:
        DeviceError: no such file, bad YAML, or values that are not allowed: all of them, a line each.
    """
    path = locate(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = devices_folder() / f"{expand(name_or_path)}.yaml"
    try:
        if not path.is_file():
            raise DeviceError(f"no device settings at {path}; shipped: {', '.join(shipped_devices())}")
        data = read_yaml(path)
    except (OSError, ValueError) as error:
        raise DeviceError(f"device settings {short(str(path))} cannot be read: {error}") from None
    try:
        return parse_device(data)
    except DeviceError as error:
        raise DeviceError(f"{path}: {error}") from None


def parse_device(data: Any) -> DeviceSettings:
    """Device settings from plain data.

    Raises:
        DeviceError: names every key that is wrong, its value and what is allowed.
    """
    try:
        settings = _SETTINGS.validate_python(data)
    except ValidationError as error:
        raise DeviceError(join_errors(describe_errors(error, DeviceSettings, "device"))) from None
    if errors := _broken_rules(settings):
        raise DeviceError(join_errors(errors))
    return settings


def _broken_rules(settings: DeviceSettings) -> list[str]:
    errors = []
    for name, axis in settings.motion.items():
        where = f"device.motion.{name}"
        if name not in TOOL_COLUMNS:
            errors.append(f"{where}: allowed are {', '.join(TOOL_COLUMNS)}")
        if (axis.axis is None) == (not axis.buttons) or len(axis.buttons) not in (0, 2):
            errors.append(f"{where}: allowed is either an axis, or two buttons: negative, positive")
        if axis.scale == 0:
            errors.append(f"{where}.scale = 0: allowed is a factor that moves something, such as 1 or -1")
        if settings.twist and axis.axis is not None and axis.axis >= TWIST_AXES:
            errors.append(f"{where}.axis = {axis.axis}: allowed with a twist is 0 to {TWIST_AXES - 1}")
    gripper = settings.gripper
    if gripper and (gripper.axis is None) == (gripper.button is None):
        errors.append("device.gripper: allowed is either a button or an axis")
    if gripper and gripper.released == gripper.pressed:
        errors.append(f"device.gripper.pressed = {gripper.pressed:g}: allowed is another value than released")
    if settings.joy_topic and settings.clutch is None:
        errors.append("device.clutch = none: allowed is the button that must be held for motion")
    used = [settings.clutch, settings.slow, settings.next_joints, gripper.button if gripper else None]
    used += [n for axis in settings.motion.values() for n in axis.buttons]
    if twice := sorted({n for n in used if n is not None and used.count(n) > 1}):
        errors.append(f"device: buttons {twice} have two meanings: allowed is one each")
    return errors
