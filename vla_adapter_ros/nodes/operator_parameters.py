"""The parameters of the nodes that a human sits at: teleoperation and console. No rclpy here."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from vla_adapter_ros.choices import JogSpace
from vla_adapter_ros.contract.enums import Frame
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.settings import CHECKED, Flag, Number, Text, Whole


@dataclass(frozen=True, config=CHECKED)
class TeleopParameters(CommonParameters):
    """Parameters of the teleoperation node."""

    device: Text = Field(
        "gamepad",
        description=(
            "What the human holds: gamepad, xbox, playstation, spacemouse, a YAML file; or jog: only the "
            "topics for jogging."
        ),
    )
    group: Whole = Field(
        0,
        ge=0,
        le=99,
        description=(
            "Arm that is driven: 0: all joints; from 1 on an entry of teleop.groups, or else of "
            "command.groups of the contract."
        ),
    )
    space: JogSpace = Field(
        JogSpace.AUTO,
        description="What moves: the tool, or joints one by one; auto: the tool where a URDF is known.",
    )
    frame: Frame = Field(Frame.BASE, description="Along whose axes the tool moves and turns.")
    linear_speed: Number = Field(0.15, ge=0.001, le=1.0, description="Largest speed of the tool [m/s].")
    angular_speed: Number = Field(
        0.6, ge=0.01, le=3.0, description="Largest speed at which the tool turns [rad/s]."
    )
    joint_speed: Number = Field(
        0.3,
        ge=0.01,
        le=1.0,
        description="Largest velocity of a joint, as a fraction of its limit in the contract.",
    )
    slow_factor: Number = Field(
        0.25, ge=0.01, le=1.0, description="Factor of all speeds while the slow button is held."
    )
    ramp_s: Number = Field(
        0.2, ge=0.0, le=2.0, description="Time from rest to the largest speed, and back [s]."
    )
    silence_s: Number = Field(
        0.25,
        ge=0.05,
        le=2.0,
        description="A device that is silent for longer, or whose messages are older, moves nothing [s].",
    )
    rate_hz: Number = Field(50.0, ge=20.0, le=200.0, description="Commands per second [Hz].")
    urdf: Text = Field(
        "",
        description=(
            "The arm's URDF: absolute path, or package:NAME/PATH; empty: that of the contract, else the "
            "topic robot_description."
        ),
    )
    base_link: Text = Field(
        "", description="Frame of the motion; empty: that of the contract, else the URDF's root."
    )
    tool_link: Text = Field(
        "",
        description="The tool; empty: that of the contract, else the link at the arm's end called so.",
    )


@dataclass(frozen=True, config=CHECKED)
class ConsoleParameters(CommonParameters):
    """Parameters of the console node."""

    host: Text = Field(
        "127.0.0.1",
        description=(
            "Address that the pages are served on. 127.0.0.1: this computer alone, and no token is needed; "
            "an address that others can reach, or 0.0.0.0: a token is."
        ),
    )
    port: Whole = Field(8088, ge=0, le=65535, description="TCP port of the pages; 0: any free one.")
    token_file: Text = Field(
        "",
        description=(
            "File that keeps the hash of the token; set it to ask for a token on this computer, too. Default "
            "(empty): ~/.config/vla_adapter_ros/console_token where one is needed."
        ),
    )
    new_token: Flag = Field(
        False, description="Make a new token at start; the old one is worth nothing then."
    )
    tls_certificate: Text = Field("", description="File of the certificate (PEM) for TLS; empty: no TLS.")
    tls_key: Text = Field("", description="File of the certificate's key (PEM); empty: no TLS.")
    dataset: Text = Field(
        "", description="Data set whose episodes are shown, that of the recorder; empty: none is shown."
    )
    runs: Text = Field("", description="Folder in which fine-tunings are looked for; empty: none is shown.")
    camera_rate_hz: Number = Field(
        15.0, ge=1.0, le=60.0, description="Most pictures per second of each camera [Hz]."
    )
    foxglove: Flag = Field(
        False,
        description=(
            "Also serve the robot's topics to Foxglove, read only and to this computer alone; needs the "
            "package foxglove-sdk."
        ),
    )
    foxglove_port: Whole = Field(8765, ge=0, le=65535, description="TCP port of that; 0: any free one.")
