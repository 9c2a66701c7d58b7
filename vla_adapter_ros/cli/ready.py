"""The one line that bring-up prints when all of its nodes are active."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vla_adapter_ros.nodes.graph import LOOPBACK, RANGE
from vla_adapter_ros.nodes.graph_status import ACTIVE, PROCESS, GraphStatus
from vla_adapter_ros.nodes.status_words import policy_text


def ready_line(status: GraphStatus, started: Mapping[str, int], contract: str) -> str:
    """What runs, in a line; empty while one of the nodes that were started is not active.

    Args:
        status: What the nodes say.
        started: Kind of each node that was started -> its process; those of others do not count.
        contract: Of the robot, as it was named.
    """
    for kind, process in started.items():
        report = status.reports.get(kind)
        if report is None or report.lifecycle != ACTIVE or report.values.get(PROCESS) != str(process):
            return ""
    policy = status.reports.get("policy")
    parts = [f"contract {contract}", f"discovery range {discovery_range()}"]
    if policy is not None and "policy" in started:
        parts.insert(0, policy_text(policy) or "no checkpoint")
    return f"ready: {', '.join(parts)}"


def discovery_range() -> str:
    """How far nodes look for each other, in ROS's word and in plain ones."""
    word = os.environ.get(RANGE) or "SUBNET"
    return f"{word} (this computer alone)" if word == LOOPBACK else word
