"""The whole state of a `MotionCore` as plain values, to be taken in motion and given to another core.

The core is deterministic: with the same state and the same calls it does the same. `freeze` is called by the
control thread and only copies containers; what is in them never changes once it is made (arrays, commitments,
chunks). A plan of ruckig is kept as the question that it answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from vla_adapter_ros.control.core import MotionCore
from vla_adapter_ros.control.homing import HomeMotion
from vla_adapter_ros.control.planner import Plan
from vla_adapter_ros.errors import CommandError

CoreState = dict[str, dict[str, Any]]
"""Part of the core -> name -> value; see `freeze`."""

# What a core has from its making, or from `set_kinematics`, and what another part says already.
_GIVEN = {
    "clock": {"period_s", "_period_ns"},
    "arm": {"_contract", "_limits"},
    "motion": {"limiter", "_period_s", "_lead", "_margin", "_stays_behind"},
    "limiter": {"_dt", "_limits", "_planned", "_box", "_planner"},
    "sources": {
        "_contract", "path_time", "timeline", "teleop", "takeover", "gripper_places", "_arm_places", "_scale"
    },
    "timeline": {"limits", "splice", "path_time", "_handover_s", "_crossfade_s", "_decay"},
    "teleop": {"_contract", "_period_s", "_fastest"},
    "takeover": {"_teleop", "_scale"},
    "arbiter": {
        "_contract", "_clock", "_arm", "_motion", "_sources", "_counters", "supervisor", "instructions",
        "deadman", "operator", "kinematics_known",
    },
    "deadman": {"_safety"},
    "operator": {"_timeout_s"},
    "execution": {
        "_contract", "_clock", "_arm", "_motion", "_sources", "_arbiter", "_intake", "_counters", "_switches",
        "kinematics",
    },
    "switch": {"_gripper"},
}  # fmt: skip


def freeze(core: MotionCore) -> CoreState:
    """The state of a core now; nobody may call the core meanwhile.

    Returns:
        Names and values of each part. Values are numbers, texts, None, arrays, tuples, lists, deques, dicts
        and objects that never change; `plain_state` of the capsule makes text of them.
    """
    return {
        part: {name: _copy(value) for name, value in vars(thing).items() if name not in _given(part)}
        for part, thing in _parts(core).items()
    }


def restore(core: MotionCore, state: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a core, new and with its kinematics, the state of another one.

    Args:
        core: Of the same contract and settings.
        state: From `freeze`.

    Raises:
        CommandError: it is the state of another version of the core, or of another robot.
    """
    parts = _parts(core)
    if parts.keys() != state.keys():
        raise CommandError(f"state of {sorted(state)}: allowed are {sorted(parts)}, as this version has them")
    for part, thing in parts.items():
        names = {name for name in vars(thing) if name not in _given(part)}
        if names != state[part].keys():
            raise CommandError(
                f"state of {part} has {sorted(state[part])}: allowed are {sorted(names)}, as this version has"
            )
    for part, thing in parts.items():
        for name, value in state[part].items():
            setattr(thing, name, _copy(value))
    homing = core._sources.homing
    if homing is not None:
        homing._path_time = core._sources.path_time


def home_motion(plan: Plan, fields: Mapping[str, Any]) -> HomeMotion:
    """A motion home with what `vars` said of it; `restore` gives it the path time of its core."""
    motion = HomeMotion(plan, fields["target"], fields["begin"], _NO_PATH_TIME)
    motion.version = fields["version"]
    return motion


_NO_PATH_TIME: Any = None


def _parts(core: MotionCore) -> dict[str, Any]:
    arbiter, sources, execution = core._arbiter, core._sources, core._execution
    return {
        "counters": core.counters,
        "clock": core._clock,
        "arm": core._arm,
        "motion": core._motion,
        "limiter": core._motion.limiter,
        "sources": sources,
        "timeline": sources.timeline,
        "path_time": sources.path_time,
        "teleop": sources.teleop,
        "takeover": sources.takeover,
        "arbiter": arbiter,
        "supervisor": arbiter.supervisor,
        "instructions": arbiter.instructions,
        "deadman": arbiter.deadman,
        "operator": arbiter.operator,
        "execution": execution,
        **{f"switch{place}": switch for place, switch in enumerate(execution._switches)},
    }


def _given(part: str) -> set[str]:
    return _GIVEN.get(part.rstrip("0123456789"), set())


def _copy(value: Any) -> Any:
    """The same with containers of its own; two levels, as the parts have them."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, deque):
        return deque(value, value.maxlen)
    if isinstance(value, list):
        return list(value)
    return value
