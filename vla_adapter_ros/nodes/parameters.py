"""The parameters of every node: one frozen dataclass each, with text and allowed range per field.

Pydantic checks every value. Descriptors, shipped files, launch arguments, options and pages all come from
these classes, see `parameter_rules`. No rclpy here, so that launch files and the command line can read them.
"""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from vla_adapter_ros.choices import (
    FASTEST,
    FULL_PACE_ROWS,
    SLOWEST,
    Choice,
    LinearKind,
    OnFail,
    RendererName,
    Table,
    WeightType,
)
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.nodes.operator_parameters import ConsoleParameters, TeleopParameters
from vla_adapter_ros.settings import CHECKED, Flag, Number, Text, Whole


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


NO_CHECKPOINT = "none"


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


@dataclass(frozen=True, config=CHECKED)
class CapsuleParameters(CommonParameters):
    """Parameters of nodes that keep their last seconds for a capsule."""

    capsule_folder: Text = Field(
        "", description="Where capsules are saved; empty: capsules in the folder ROS_HOME, or in ~/.ros."
    )
    capsule_quota_gb: Number = Field(
        2.0,
        ge=0.0,
        le=1000.0,
        description=(
            "What all capsules there may take [GB]: the oldest that faults have made go, those saved by hand "
            "stay."
        ),
    )
    capsule_on_fault: Flag = Field(
        True, description="Save a capsule after a fault, at most one per kind of fault and minute."
    )


@dataclass(frozen=True, config=CHECKED)
class PolicyParameters(CapsuleParameters):
    """Parameters of the policy node."""

    checkpoint: Text = Field(
        "",
        description=(
            "Checkpoint directory; default (empty): the one shipped for the simulated Franka. none: no "
            "policy; the streams are checked, and instructions refused."
        ),
    )
    device: Text = Field(
        "auto", description="torch device: auto (the GPU where there is one), cpu, cuda, cuda:0 ..."
    )
    dtype: WeightType = Field(
        WeightType.AUTO,
        description=(
            "Type of the weights; auto: bf16 on a GPU, and for large models on CPUs that have it, else fp32."
        ),
    )
    linear: LinearKind = Field(
        LinearKind.PACKED,
        description=(
            "How a CPU computes linear layers of large models. plain: with the weights as they are; packed: "
            "laid out for the processor, where that is measured to be faster; int8: in 8-bit numbers, faster "
            "and less exact."
        ),
    )
    compile: Flag = Field(
        False, description="Let torch.compile fuse kernels: minutes at the start, faster after."
    )
    threads: Whole = Field(1, ge=0, le=256, description="CPU threads of torch; 0 leaves torch's own choice.")
    execution_horizon: Whole = Field(
        4, ge=1, le=1000, description="Rows of a chunk executed before the next one takes over."
    )
    added_latency_s: Number = Field(
        0.0, ge=0.0, le=2.0, description="Publish chunks that much later [s], to try what latency costs."
    )
    full_pace_rows: Number = Field(
        FULL_PACE_ROWS,
        ge=0.0,
        le=100.0,
        description=(
            "Of a policy that was trained with delays: so many rows may pass between an image and its chunk; "
            "those of a later one are carried out slower. 0: never slower."
        ),
    )
    require_certificate: Flag = Field(
        False,
        description=(
            "Refuse a checkpoint whose certificate (`vla-adapter checkpoint certify`) is missing, or not of "
            "these files, this machine and this type of weights. False: such a one is a warning."
        ),
    )
    require_controller: Flag = Field(
        True,
        description=(
            "Accept instructions only while a controller of this package is ready for them, and drop them "
            "when it ends them. False: the chunks go to something else."
        ),
    )


@dataclass(frozen=True, config=CHECKED)
class ControllerParameters(CapsuleParameters):
    """Parameters of the controller node."""

    rate_hz: Number = Field(100.0, ge=50.0, le=500.0, description="Control rate [Hz].")
    publish_every: Whole = Field(4, ge=1, le=20, description="Ticks between two trajectories sent.")
    status_every: Whole = Field(5, ge=1, le=500, description="Ticks between two status messages.")
    armed: Flag = Field(False, description="Allow motion from the start. False: call ~/arm first.")
    mode: ControllerMode = Field(
        ControllerMode.DRIVE,
        description=(
            "drive: move the arm. dry_run: everything but commands. shadow: follow chunks virtually and "
            "compare them with the human's commands. row_pass_through: rows as they are on ~/row, for "
            "simulators only."
        ),
    )
    speed: Number = Field(
        FASTEST,
        ge=SLOWEST,
        le=FASTEST,
        description="Fraction of the policy's own speed at which its motion is carried out, from the start.",
    )
    splice: Splice = Field(
        Splice.REPLACE,
        description=(
            "How a new chunk joins the one before: a continuous hand-over, exponential weights over all "
            "chunks, or a weighted cross-fade."
        ),
    )
    realtime_priority: Whole = Field(
        0,
        ge=0,
        le=99,
        description="SCHED_FIFO priority of the control thread, where permitted; 0: ordinary scheduling.",
    )
    velocity_feedback: Number = Field(
        2.0,
        ge=0.0,
        le=10.0,
        description="Velocity and twist commands: velocity added per position error [1/s].",
    )
    gripper_max_effort: Number = Field(
        0.0, ge=0.0, description="Effort limit in GripperCommand goals [N]; 0 leaves it to the driver."
    )

    def require_speed(self) -> None:
        """Require full speed where no motion is carried out that could be slowed down.

        Raises:
            ParameterError: another speed in such a mode.
        """
        if self.speed != FASTEST and not self.mode.needs_arming:
            raise ParameterError(f"speed = {self.speed:g}: allowed in mode {self.mode} is {FASTEST:g}")

    def require_command_delay(self, contract: Contract) -> None:
        """Require that each trajectory reaches beyond the next one.

        Raises:
            ParameterError: the contract's `command_delay_s` is too short for `publish_every` and `rate_hz`.
        """
        shortest, delay = (self.publish_every + 1) / self.rate_hz, contract.command.command_delay_s
        if contract.command.type == "joint_trajectory" and delay < shortest - 1e-9:
            raise ParameterError(
                f"contract.command.command_delay_s = {delay:g}: with publish_every {self.publish_every} at "
                f"rate_hz {self.rate_hz:g} allowed is at least {shortest:.3g}"
            )


@dataclass(frozen=True, config=CHECKED)
class RecorderParameters(CommonParameters):
    """Parameters of the recorder node."""

    dataset: Text = Field(
        "", description="Directory of the LeRobot data set; made if missing, continued if it exists."
    )
    codec: Codec = Field(Codec.H264, description="Video codec.")
    crf: Whole = Field(23, ge=0, le=63, description="Video quality: constant rate factor, lower is better.")
    gop: Whole = Field(
        10,
        ge=1,
        le=1000,
        description="Images from one key image to the next: fewer read faster, more take less disk.",
    )
    preset: Text = Field(
        "", description="The encoder's own name or number for its effort; empty: veryfast, and 12 for av1."
    )
    on_fail: OnFail = Field(
        OnFail.ASK,
        description=(
            "An episode that fails its quality checks waits for ~/save_pending or ~/discard_episode, or is "
            "discarded, or saved all the same."
        ),
    )
    verdict: Text = Field(
        "", description="YAML file with thresholds of the quality checks; empty: the defaults."
    )
    silence_s: Number = Field(
        2.0, ge=0.1, le=60.0, description="An episode ends when no good frame has come for so long [s]."
    )
    min_disk_gb: Number = Field(
        1.0, ge=0.0, description="No episode starts, and a running one ends, with less free space [GB]."
    )
    raw_bag: Flag = Field(
        False,
        description=(
            "Also write the raw topics of each episode as a bag, in a folder beside the data set (its name "
            "with _bags)."
        ),
    )
    instruction: Text = Field(
        "",
        description=(
            "Task of an episode started by a button, until the topic instruction or a start gives one."
        ),
    )
    outcome_reasons: Text = Field(
        "dropped, missed, wrong object, collision, too slow",
        description="Reasons that are offered when an episode gets its outcome, separated by commas.",
    )
    joy_buttons: Text = Field(
        "",
        description=(
            "Buttons of the topic joy, such as 'toggle=0 discard=1 rerecord=3'; commands: start, stop, "
            "toggle, discard, rerecord, save."
        ),
    )


@dataclass(frozen=True, config=CHECKED)
class SimulatorParameters(CommonParameters):
    """Parameters of the simulator node."""

    renderer: RendererName = Field(
        RendererName.AUTO,
        description="Renderer of the camera images; auto: the first of the others that works here.",
    )
    table: Table = Field(
        Table.CUBES,
        description="What stands on the table; of the tabletop each scene says its own task.",
    )
    seed: Whole = Field(0, ge=0, description="Seed of the first scene.")
    camera_rate_hz: Number = Field(
        0.0, ge=0.0, le=100.0, description="Images per second; 0: the contract's rate."
    )
    real_time_factor: Number = Field(
        1.0, ge=0.01, le=100.0, description="Speed of time when not in lock step."
    )
    awaited: Text = Field(
        "controller,policy", description="Lock step: nodes that must acknowledge, separated by commas."
    )
    path_tolerance: Number = Field(
        0.0,
        ge=0.0,
        description="Trajectory driver: a joint farther from the path makes it hold [rad]; 0: any distance.",
    )
    goal_tolerance: Number = Field(
        0.0,
        ge=0.0,
        description="Trajectory driver: a joint farther from the goal makes it hold [rad]; 0: any distance.",
    )
    goal_time_s: Number = Field(
        0.0, ge=0.0, description="Trajectory driver: time after the last point to reach the goal [s]."
    )
    interpolate_from: TrajectoryStart = Field(
        TrajectoryStart.DESIRED, description="Trajectory driver: state from which a new trajectory starts."
    )
    command_timeout_s: Number = Field(
        0.1,
        ge=0.01,
        le=10.0,
        description="Velocity and twist drivers: age at which a command counts as 0 [s].",
    )
    response_delay_s: Number = Field(
        0.0, ge=0.0, le=0.5, description="Arm: so much later it follows the set-points of its driver [s]."
    )
    patience_s: Number = Field(
        10.0,
        ge=0.1,
        description="Lock step: wall time after which a silent node is no longer waited for [s].",
    )


KINDS: dict[str, type[CommonParameters]] = {
    "policy": PolicyParameters,
    "controller": ControllerParameters,
    "recorder": RecorderParameters,
    "simulator": SimulatorParameters,
    "teleop": TeleopParameters,
    "console": ConsoleParameters,
}
