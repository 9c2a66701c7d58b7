"""What the console shows of what the nodes say."""

from __future__ import annotations

from vla_adapter_ros.console.views import Recorder, RobotView, Stream
from vla_adapter_ros.nodes.graph_status import INSTRUCTION, GraphStatus, why_nothing_moves
from vla_adapter_ros.nodes.status_words import latency_text, leader_text, node_text, policy_text

KINDS = ("simulator", "controller", "policy", "recorder")


def robot_view(name: str, status: GraphStatus) -> RobotView:
    """What the pages show of a graph.

    Args:
        name: What the contract calls the robot.
        status: What its nodes say.
    """
    controller, policy = status.controller, status.reports.get("policy")
    return RobotView(
        name=name,
        namespace=status.namespace,
        state=controller.state if controller is not None else "",
        leader=leader_text(controller.control_source if controller is not None else "none"),
        why=why_nothing_moves(status),
        instruction=policy.values.get(INSTRUCTION, "") if policy is not None and policy.heard else "",
        mode=controller.mode if controller is not None else "",
        speed=controller.speed if controller is not None else 1.0,
        facts=_facts(status),
        streams=tuple(Stream(stream, rate, age) for stream, (rate, age) in status.streams.items()),
        nodes={
            kind: node_text(status, kind) for kind in KINDS if kind != "simulator" or kind in status.names
        },
        recorder=_recorder(status),
        checkpoint=(policy_text(policy) if policy is not None else ""),
    )


def _facts(status: GraphStatus) -> dict[str, str]:
    controller, policy = status.controller, status.reports.get("policy")
    facts: dict[str, str] = {}
    if policy is not None and policy.heard:
        facts["Policy"] = policy_text(policy) or "no checkpoint"
    if controller is not None:
        facts["Latency"] = latency_text(status)
        facts["Starvation"] = f"{controller.starved_ticks} ticks since start"
        if controller.mode != "drive":
            facts["Mode"] = f"{controller.mode}: nothing is sent to the arm"
        if controller.foreign_publisher:
            facts["Another publisher"] = controller.foreign_publisher
    return facts


def _recorder(status: GraphStatus) -> Recorder:
    heard = status.recorder
    if heard is None:
        return Recorder()
    return Recorder(
        state=heard.state,
        reason=heard.reason,
        instruction=heard.instruction,
        episode=heard.episode,
        episodes=heard.episodes,
        saving=heard.saving,
        frames=heard.frames,
        dropped=heard.dropped,
        rate_hz=heard.rate_hz,
        minutes_left=heard.minutes_left,
        verdict=tuple(heard.verdict),
        newest=heard.newest_episode,
        interventions=heard.interventions,
        outcome=heard.outcome,
        outcome_reason=heard.outcome_reason,
        reasons=tuple(heard.outcome_reasons),
    )
