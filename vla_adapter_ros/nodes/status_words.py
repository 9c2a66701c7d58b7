"""What a node, a leader or a checkpoint is called where people read it. Pure: no rclpy here."""

from __future__ import annotations

import math
from pathlib import Path

from vla_adapter_ros.contract.resources import checkpoints_folder
from vla_adapter_ros.nodes.graph_status import (
    CHECKPOINT,
    CHUNK_MS,
    DEVICE,
    FULL_PACE,
    PACE,
    WEIGHTS,
    GraphStatus,
    NodeReport,
)


def policy_text(report: NodeReport) -> str:
    """Checkpoint, device, type of the weights and time per chunk; empty where no checkpoint is loaded."""
    values = report.values
    if not values.get(CHECKPOINT):
        return ""
    path = Path(values[CHECKPOINT])
    name = path.name if path.parent == checkpoints_folder() else str(path)
    took = f", {values[CHUNK_MS]} ms per chunk" if values.get(CHUNK_MS) else ""
    return f"checkpoint {name} {values[DEVICE]}, {values[WEIGHTS]}{took}"


def leader_text(source: str) -> str:
    """Who leads: `source` is the controller's `control_source`."""
    return {"none": "nobody leads", "human": "a human leads"}.get(source, f"the {source} leads")


def node_text(status: GraphStatus, kind: str) -> str:
    """How one node is, in a line.

    Args:
        status: What the nodes say.
        kind: Such as policy.
    """
    report = status.reports.get(kind)
    if report is None or not report.heard:
        return status.problem_of(kind) if kind in status.names else "does not run"
    parts = [report.lifecycle if report.text in ("ok", report.lifecycle) else report.text]
    values = report.values
    if kind == "policy":
        parts.append(policy_text(report) or "no checkpoint")
        parts += [f"instruction {values['instruction']!r}"] if values.get("instruction") else []
    if kind == "recorder" and status.recorder is not None:
        parts.append(f"{status.recorder.state}, {status.recorder.episodes} episodes")
    return "; ".join(parts)


def latency_text(status: GraphStatus) -> str:
    """From image to command, and what the policy does about it; empty where no controller is known."""
    controller, policy = status.controller, status.reports.get("policy")
    if controller is None:
        return ""
    p50, p99 = controller.latency_p50, controller.latency_p99
    if not (math.isfinite(p99) and p99 > 0.0):
        return "no chunk was executed yet"
    pace = policy.values.get(PACE, FULL_PACE) if policy is not None and policy.heard else FULL_PACE
    slower = "" if pace == FULL_PACE else f"; for it, rows are carried out at {pace} of their pace"
    return f"p50 {p50:.3f} s, p99 {p99:.3f} s{slower}"
