"""What the pages may ask of a robot. The console node is one; a test may bring another."""

from __future__ import annotations

from typing import Protocol

from vla_adapter_ros.console.views import Answer, RobotView

COMMANDS = ("arm", "hold", "reset", "home")
"""Of the controller, beside stop."""


class Robot(Protocol):
    """One robot and its nodes. Every method but `stop` may take seconds: call them in a thread."""

    def view(self) -> RobotView:
        """How it is now; takes no time."""

    async def stop(self) -> Answer:
        """Stop the arm until a reset; the fastest way there is."""

    def command(self, name: str) -> Answer:
        """One of COMMANDS."""

    def instruct(self, text: str) -> Answer:
        """Give the policy an instruction; an empty one ends the one that it follows."""

    def set_speed(self, speed: float) -> Answer:
        """At which fraction of its own speed the policy's motion is carried out."""

    def start_episode(self, instruction: str) -> Answer:
        """Begin to record an episode."""

    def record(self, name: str) -> Answer:
        """Of the recorder: stop, save, discard or rerecord."""

    def label(self, outcome: str, reason: str) -> Answer:
        """Say how the newest episode ended: success or failure, and why; empty takes back what was said."""

    def save_capsule(self) -> Answer:
        """Keep what policy and controller did in the last 20 s in a file."""

    def put_checkpoint(self, folder: str) -> Answer:
        """Put another checkpoint on the robot; a failure brings the old one back."""

    def beat(self) -> None:
        """The operator's page is alive."""
