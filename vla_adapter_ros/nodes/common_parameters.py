"""The parameters that every node has. No rclpy here."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from vla_adapter_ros.settings import CHECKED, Flag, Text


@dataclass(frozen=True, config=CHECKED)
class CommonParameters:
    """Parameters of every node."""

    contract: Text = Field(
        "franka_sim", description="Robot contract: path of a YAML file, or a shipped name."
    )
    autostart: Flag = Field(
        True, description="Configure and activate at start; false leaves both to a lifecycle manager."
    )
    lock_step: Flag = Field(
        False, description="Acknowledge simulated time to the simulator, which then waits."
    )
