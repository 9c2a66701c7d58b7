"""The controller's status message, from what the core counts."""

from __future__ import annotations

from vla_adapter_ros.control import MotionCore, Tick
from vla_adapter_ros.control.shadow import ShadowScore
from vla_adapter_ros.msg import ControllerStatus
from vla_adapter_ros.nodes.conversions import to_stamp


def status_message(
    core: MotionCore, tick: Tick, mode: str, source: str, score: ShadowScore | None
) -> ControllerStatus:
    """State, reason, counters and, in shadow mode, the score.

    Args:
        core: Asked for its counters.
        tick: The newest tick.
        mode: The node's mode.
        source: Who moves the arm: human, policy, home or none.
        score: Of shadow mode; None in other modes.
    """
    counters = core.counters
    p50, p99 = counters.latency_percentiles()
    session, instruction, sequence = core.newest_chunk
    message = ControllerStatus(
        state=tick.state,
        reason=tick.reason,
        first_cause=tick.reason,
        blocked_by=core.refusal,
        foreign_publisher=core.foreign_publisher,
        mode=mode,
        control_source=source,
        speed=core.speed,
        session_id=session,
        instruction_id=max(instruction, 0),
        ended_instruction_id=max(core.ended_instruction, 0),
        ended_by=core.ending.by if core.ended_instruction > 0 else "",
        sequence=max(sequence, 0),
        starved_ticks=counters.starved_ticks,
        missed_ticks=counters.missed_ticks,
        rejected_chunks=counters.rejected_chunks,
        transition_step=counters.transition_step,
        transition_velocity=counters.transition_velocity,
        latency_p50=p50,
        latency_p99=p99,
        position_limited=counters.position_limited,
        velocity_limited=counters.velocity_limited,
        acceleration_limited=counters.acceleration_limited,
        jerk_limited=counters.jerk_limited,
        workspace_limited=counters.workspace_limited,
        tracking_error=counters.tracking_error_max,
        checkpoint=core.checkpoint,
        operator_silent=core.operator_silent,
    )
    if score is not None:
        message.shadow_samples, message.shadow_names = score.samples, list(score.names)
        message.shadow_rms, message.shadow_max = score.rms.tolist(), score.largest.tolist()
    message.header.stamp = to_stamp(tick.time)
    return message


def diagnostic_values(message: ControllerStatus) -> dict[str, object]:
    """The status as values of /diagnostics."""
    values: dict[str, object] = {
        "state": message.state,
        "mode": message.mode,
        "source": message.control_source,
        "speed": message.speed,
        "starved ticks": message.starved_ticks,
        "missed ticks": message.missed_ticks,
        "rejected chunks": message.rejected_chunks,
        "jump at a chunk transition": (
            f"{message.transition_step:.4f} and {message.transition_velocity:.4f} per second"
        ),
        "latency p50, p99 [s]": f"{message.latency_p50:.3f}, {message.latency_p99:.3f}",
        "limited ticks": (
            f"position {message.position_limited}, velocity {message.velocity_limited}, "
            f"acceleration {message.acceleration_limited}, jerk {message.jerk_limited}, "
            f"workspace {message.workspace_limited}"
        ),
        "tracking error": f"{message.tracking_error:.4f}",
    }
    for name, rms, largest in zip(message.shadow_names, message.shadow_rms, message.shadow_max, strict=True):
        values[f"shadow {name}: rms, max"] = f"{rms:.4f}, {largest:.4f}"
    return values
