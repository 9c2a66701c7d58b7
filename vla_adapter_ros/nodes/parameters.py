"""The parameters of every node: one frozen dataclass each, with text and allowed range per field.

Declaration, checks and the shipped YAML files all come from these classes.
No rclpy here, so that launch files and the command line can read them.
"""
# ruff: noqa: RUF009 - `parameter` makes a new field for each class

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.choices import Choice, OnFail, RendererName, WeightType
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import ParameterError


class ControllerMode(Choice):
    """What the controller does with what it computes."""

    DRIVE = "drive"
    DRY_RUN = "dry_run"
    SHADOW = "shadow"
    ROW_PASS_THROUGH = "row_pass_through"

    @property
    def sends_commands(self) -> bool:
        """Whether the arm is commanded."""
        return self is ControllerMode.DRIVE

    @property
    def needs_arming(self) -> bool:
        """Whether chunks are followed only once the controller is armed."""
        return self in (ControllerMode.DRIVE, ControllerMode.DRY_RUN)


class Splice(Choice):
    """How a new chunk joins the one before."""

    REPLACE = "replace"
    ENSEMBLE = "ensemble"
    CROSSFADE = "crossfade"


class Codec(Choice):
    """Video codec of recordings."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


class TrajectoryStart(Choice):
    """State from which the simulated trajectory driver starts a new trajectory."""

    DESIRED = "desired"
    MEASURED = "measured"


def parameter(default: Any, text: str, **rule: Any) -> Any:
    """A field with its description and, in `rule`, min or max; the choices are those of its `Choice`."""
    return dataclasses.field(default=default, metadata={"text": text, **rule})


@dataclass(frozen=True)
class CommonParameters:
    """Parameters of every node."""

    contract: str = parameter("franka_sim", "Robot contract: path of a YAML file, or a shipped name.")
    autostart: bool = parameter(
        True, "Configure and activate at start; false leaves both to a lifecycle manager."
    )
    lock_step: bool = parameter(False, "Acknowledge simulated time to the simulator, which then waits.")


@dataclass(frozen=True)
class PolicyParameters(CommonParameters):
    """Parameters of the policy node."""

    checkpoint: str = parameter("", "Checkpoint directory; empty: the one shipped for the simulated Franka.")
    device: str = parameter("auto", "torch device: auto (the GPU where there is one), cpu, cuda, cuda:0 ...")
    dtype: WeightType = parameter(
        WeightType.AUTO,
        "Type of the weights; auto: bf16 on a GPU, and for large models on CPUs that have it, else fp32.",
    )
    compile: bool = parameter(False, "Let torch.compile fuse kernels: minutes at the start, faster after.")
    threads: int = parameter(1, "CPU threads of torch; 0 leaves torch's own choice.", min=0, max=256)
    execution_horizon: int = parameter(
        4, "Rows of a chunk executed before the next one takes over.", min=1, max=1000
    )
    require_controller: bool = parameter(
        True,
        "Accept instructions only while a controller of this package is ready for them, and drop them when "
        "it ends them. False: the chunks go to something else.",
    )


@dataclass(frozen=True)
class ControllerParameters(CommonParameters):
    """Parameters of the controller node."""

    rate_hz: float = parameter(100.0, "Control rate [Hz].", min=50.0, max=500.0)
    publish_every: int = parameter(4, "Ticks between two trajectories sent.", min=1, max=20)
    status_every: int = parameter(5, "Ticks between two status messages.", min=1, max=500)
    armed: bool = parameter(False, "Allow motion from the start. False: call ~/arm first.")
    mode: ControllerMode = parameter(
        ControllerMode.DRIVE,
        "drive: move the arm. dry_run: everything but commands. shadow: follow chunks virtually and compare "
        "them with the human's commands. row_pass_through: rows as they are on ~/row, for simulators only.",
    )
    splice: Splice = parameter(
        Splice.REPLACE,
        "How a new chunk joins the one before: a continuous hand-over, exponential weights over all "
        "chunks, or a weighted cross-fade.",
    )
    realtime_priority: int = parameter(
        0,
        "SCHED_FIFO priority of the control thread, where permitted; 0: ordinary scheduling.",
        min=0,
        max=99,
    )
    velocity_feedback: float = parameter(
        2.0, "Velocity and twist commands: velocity added per position error [1/s].", min=0.0, max=10.0
    )
    gripper_max_effort: float = parameter(
        0.0, "Effort limit in GripperCommand goals [N]; 0 leaves it to the driver.", min=0.0
    )

    def require_command_delay(self, contract: Contract) -> None:
        """Require that each trajectory reaches beyond the next one.

        Raises:
            ParameterError: the contract's `command_delay_s` is too short for `publish_every` and `rate_hz`.
        """
        shortest, lead = (self.publish_every + 1) / self.rate_hz, contract.command.command_delay_s
        if contract.command.type == "joint_trajectory" and lead < shortest - 1e-9:
            raise ParameterError(
                f"contract.command.command_delay_s = {lead:g}: with publish_every {self.publish_every} at "
                f"rate_hz {self.rate_hz:g} allowed is at least {shortest:.3g}"
            )


@dataclass(frozen=True)
class RecorderParameters(CommonParameters):
    """Parameters of the recorder node."""

    dataset: str = parameter(
        "", "Directory of the LeRobot data set; made if missing, continued if it exists."
    )
    codec: Codec = parameter(Codec.H264, "Video codec.")
    crf: int = parameter(23, "Video quality: constant rate factor, lower is better.", min=0, max=63)
    gop: int = parameter(
        10, "Images from one key image to the next: fewer read faster, more take less disk.", min=1, max=1000
    )
    preset: str = parameter(
        "", "The encoder's own name or number for its effort; empty: veryfast, and 12 for av1."
    )
    on_fail: OnFail = parameter(
        OnFail.ASK,
        "An episode that fails its quality checks waits for ~/save_pending or ~/discard_episode, or is "
        "discarded, or saved all the same.",
    )
    verdict: str = parameter("", "YAML file with thresholds of the quality checks; empty: the defaults.")
    silence_s: float = parameter(
        2.0, "An episode ends when no good frame has come for so long [s].", min=0.1, max=60.0
    )
    min_disk_gb: float = parameter(
        1.0, "No episode starts, and a running one ends, with less free space [GB].", min=0.0
    )
    instruction: str = parameter(
        "", "Task of an episode started by a button, until the topic instruction or a start gives one."
    )
    joy_buttons: str = parameter(
        "",
        "Buttons of the topic joy, such as 'toggle=0 discard=1 rerecord=3'; commands: start, stop, toggle, "
        "discard, rerecord, save.",
    )


@dataclass(frozen=True)
class SimulatorParameters(CommonParameters):
    """Parameters of the simulator node."""

    renderer: RendererName = parameter(
        RendererName.AUTO, "Renderer of the camera images; auto: the first of the others that works here."
    )
    seed: int = parameter(0, "Seed of the first scene.", min=0)
    camera_rate_hz: float = parameter(0.0, "Images per second; 0: the contract's rate.", min=0.0, max=100.0)
    real_time_factor: float = parameter(1.0, "Speed of time when not in lock step.", min=0.01, max=100.0)
    awaited: str = parameter(
        "controller,policy", "Lock step: nodes that must acknowledge, separated by commas."
    )
    path_tolerance: float = parameter(
        0.0, "Trajectory driver: a joint farther from the path makes it hold [rad]; 0: any distance.", min=0.0
    )
    goal_tolerance: float = parameter(
        0.0, "Trajectory driver: a joint farther from the goal makes it hold [rad]; 0: any distance.", min=0.0
    )
    goal_time_s: float = parameter(
        0.0, "Trajectory driver: time after the last point to reach the goal [s].", min=0.0
    )
    interpolate_from: TrajectoryStart = parameter(
        TrajectoryStart.DESIRED, "Trajectory driver: state from which a new trajectory starts."
    )
    command_timeout_s: float = parameter(
        0.1, "Velocity and twist drivers: age at which a command counts as 0 [s].", min=0.01, max=10.0
    )
    patience_s: float = parameter(
        10.0, "Lock step: wall time after which a silent node is no longer waited for [s].", min=0.1
    )


def allowed(field: dataclasses.Field) -> str:
    """What a parameter may be, in words, such as 'at least 0 and at most 99'; empty if everything is allowed.

    The only place that says it: in errors, descriptors, files and docs.
    """
    rule = field.metadata
    if names := choices(field):
        return "one of " + ", ".join(names)
    bounds = (("at least", "min"), ("at most", "max"))
    limits = " and ".join(f"{words} {rule[key]}" for words, key in bounds if key in rule)
    return limits or ("finite" if isinstance(field.default, float) else "")


def choices(field: dataclasses.Field) -> tuple[str, ...]:
    """All values that a parameter may have, as texts; empty if it is no `Choice`."""
    return tuple(type(field.default).words()) if isinstance(field.default, Choice) else ()


def ros_default(field: dataclasses.Field) -> Any:
    """The default of a parameter as ROS and YAML hold it."""
    return field.default.value if isinstance(field.default, Choice) else field.default


def _is_allowed(field: dataclasses.Field, value: Any) -> bool:
    rule = field.metadata
    if names := choices(field):
        return value in names
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return ("min" not in rule or value >= rule["min"]) and ("max" not in rule or value <= rule["max"])


def build(kind: type, values: dict[str, Any]) -> Any:
    """Check values and build the parameter object.

    Raises:
        ParameterError: names every parameter that is wrong, its value and what is allowed.
    """
    arguments, problems = {}, []
    for field in dataclasses.fields(kind):
        try:
            arguments[field.name] = _checked(field, values.get(field.name, field.default))
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise ParameterError("; ".join(problems))
    return kind(**arguments)


_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """The value of a parameter in its own type."""
    wanted = type(field.default)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    fits = isinstance(value, str) if issubclass(wanted, Choice) else type(value) is wanted
    if not fits or not _is_allowed(field, value):
        told = allowed(field)
        if not fits and not issubclass(wanted, Choice):
            told = ", ".join(filter(None, (_TYPES[wanted], told)))
        shown = value.value if isinstance(value, Choice) else value
        raise ParameterError(f"parameter {field.name} = {shown!r}: allowed is {told}")
    return wanted(value)


def parse(field: dataclasses.Field, text: str) -> Any:
    """The value of a parameter from what was typed.

    Raises:
        ParameterError: names the parameter, the text and what is allowed.
    """
    wanted, value = type(field.default), text
    if wanted is bool:
        value = {"true": True, "false": False}.get(text.lower(), text)
    elif wanted in (int, float):
        try:
            value = wanted(text)
        except ValueError:
            pass
    return _checked(field, value)


KINDS = {
    "policy": PolicyParameters,
    "controller": ControllerParameters,
    "recorder": RecorderParameters,
    "simulator": SimulatorParameters,
}


def _explained(field: dataclasses.Field) -> str:
    text, rule = field.metadata["text"], allowed(field)
    return f"{text} ({rule})" if rule else text


def parameter_file(kind: str) -> str:
    """Text of the complete parameter file of a node, as shipped in config/nodes.

    Its key fits the node under every name and namespace.
    """
    lines = ["/**:", "  ros__parameters:"]
    for field in dataclasses.fields(KINDS[kind]):
        lines.append(f"    # {_explained(field)}")
        lines.append(f"    {field.name}: {json.dumps(ros_default(field))}")
    return "\n".join(lines) + "\n"


def parameter_table(kind: str) -> str:
    """The parameters of a node as a Markdown table, as shown in the docs."""
    lines = ["| parameter | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(KINDS[kind]):
        lines.append(f"| `{field.name}` | `{json.dumps(ros_default(field))}` | {_explained(field)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from vla_adapter_ros.contract import config_folder

    for name in KINDS:
        (config_folder() / "nodes" / f"{name}.yaml").write_text(parameter_file(name), encoding="utf-8")
