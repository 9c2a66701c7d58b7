"""The one line that bring-up prints when all of its nodes are active."""

from __future__ import annotations

import os
from collections.abc import Collection

from vla_adapter_ros.nodes.graph import LOOPBACK, RANGE
from vla_adapter_ros.nodes.graph_status import ACTIVE, GraphStatus
from vla_adapter_ros.nodes.status_words import policy_text


def ready_line(status: GraphStatus, kinds: Collection[str], contract: str) -> str:
    """What runs, in a line; empty while one of the nodes is not active.

    Args:
        status: What the nodes say.
        kinds: Of the nodes that were started.
        contract: Of the robot, as it was named.
    """
    reports = [status.reports.get(kind) for kind in kinds]
    if not all(report is not None and report.lifecycle == ACTIVE for report in reports):
        return ""
    policy = status.reports.get("policy")
    parts = [f"contract {contract}", f"discovery range {discovery_range()}"]
    if policy is not None and "policy" in kinds:
        parts.insert(0, policy_text(policy) or "no checkpoint")
    return f"ready: {', '.join(parts)}"


def discovery_range() -> str:
    """How far nodes look for each other, in ROS's word and in plain ones."""
    word = os.environ.get(RANGE) or "SUBNET"
    return f"{word} (this computer alone)" if word == LOOPBACK else word
