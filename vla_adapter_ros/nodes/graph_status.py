"""What a robot's nodes say of themselves, as one picture, and why nothing moves. Pure: no rclpy here.

A controller says its own first cause. Where that is only that no chunk came, or that no instruction was
given, the cause stands before it, in the policy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vla_adapter_ros.control.supervisor import (
    AT_HOME,
    DISARMED,
    ENDED,
    GATED,
    GOES_HOME,
    HOMING,
    HUMAN,
    NO_INSTRUCTION,
    NOT_ARMED,
    RUNNING,
    STARVED,
    STOPPED,
)

# Values of the policy on /diagnostics.
INSTRUCTION, INPUT_PROBLEM, NO_CHUNKS = "instruction", "input problem", "no chunks"
PACE, FULL_PACE = "pace", "1"
CHECKPOINT, DEVICE, WEIGHTS, CHUNK_MS = "checkpoint", "device", "weights", "chunk_ms"
CERTIFICATE = "certificate"
STREAM = "stream "
"""Beginning of the key of a stream's value: see `stream_value`."""
_STREAM_VALUE = re.compile(r"([\d.]+) Hz(?:, ([\d.]+) s old)?")
KIND, LIFECYCLE, PROCESS = "kind", "lifecycle", "process"
"""Values of every node: which of ours it is, whatever it is called, the state of its lifecycle, and the
number of its process."""
LET_GO = "let go, or, with a leader arm that rests, `vla-adapter instruct TEXT`"
CONFIGURING, ACTIVE, FAILED = "configuring", "active", "failed"
HEARD_WITHIN_S = 2.0
"""A node that has said nothing for so long hangs, or is gone."""


def stream_value(rate_hz: float, age_s: float) -> str:
    """Rate and age of a stream [Hz, s] as a value on /diagnostics."""
    return f"{rate_hz:.1f} Hz, {age_s:.3f} s old" if math.isfinite(age_s) else f"{rate_hz:.1f} Hz"


@dataclass(frozen=True)
class NodeReport:
    """What a node said last on /diagnostics.

    Attributes:
        name: Full name of the node.
        text: How it is; `ok` is good.
        values: As it published them.
        age_s: Time since it was heard [s].
    """

    name: str
    text: str
    values: Mapping[str, str]
    age_s: float

    @property
    def lifecycle(self) -> str:
        """State of its lifecycle; empty where it says none."""
        return self.values.get(LIFECYCLE, "")

    @property
    def heard(self) -> bool:
        """Whether it speaks now."""
        return self.age_s <= HEARD_WITHIN_S

    def streams(self) -> dict[str, tuple[float, float]]:
        """Stream -> rate [Hz] and age of its newest sample [s], inf if there is none."""
        found = {}
        for key, value in self.values.items():
            match = _STREAM_VALUE.fullmatch(value) if key.startswith(STREAM) else None
            if match:
                found[key.removeprefix(STREAM)] = float(match[1]), float(match[2] or math.inf)
        return found


@dataclass(frozen=True)
class GraphStatus:
    """What is known of one robot's nodes.

    Attributes:
        namespace: Of the robot.
        names: Kind -> full name, of each of our nodes that is in the graph.
        reports: Kind -> what the node said last, if it said anything.
        controller: Newest `ControllerStatus`; None: none was heard.
        controller_age_s: Time since it was heard [s].
        recorder: Newest `RecorderStatus`; None: none was heard.
        elsewhere: Other namespaces in which a controller is.
    """

    namespace: str
    names: Mapping[str, str] = field(default_factory=dict)
    reports: Mapping[str, NodeReport] = field(default_factory=dict)
    controller: Any = None
    controller_age_s: float = math.inf
    recorder: Any = None
    elsewhere: tuple[str, ...] = ()

    @property
    def streams(self) -> dict[str, tuple[float, float]]:
        """The streams as the policy hears them, else as the recorder does: see `NodeReport.streams`."""
        for kind in ("policy", "recorder"):
            if (report := self.reports.get(kind)) is not None and (streams := report.streams()):
                return streams
        return {}

    def problem_of(self, kind: str) -> str:
        """Why a node does nothing, as a sentence; empty if it is active."""
        name, report = self.names.get(kind, ""), self.reports.get(kind)
        if report is not None and report.heard:
            if report.lifecycle == ACTIVE:
                return ""
            if report.lifecycle == CONFIGURING:
                loads = "loads its checkpoint" if kind == "policy" else "is being configured"
                return f"{report.name} {loads}: wait for its ready line"
            if report.lifecycle == FAILED:
                return f"{report.name}: {report.text}"
            return f"{report.name} is {report.lifecycle}: activate it, or set autostart"
        if name:
            return f"{name} is in the graph and says nothing: it has died, or hangs"
        where = "" if self.namespace == "/" else f" in {self.namespace}"
        others = f"; there is one in {', '.join(self.elsewhere)} (--namespace)" if self.elsewhere else ""
        return f"no {kind} runs{where}{others if kind == 'controller' else ''}"


def why_nothing_moves(status: GraphStatus) -> str:
    """The first cause why the policy moves nothing, in one sentence; empty if it may move the arm now."""
    controller = status.controller
    if controller is None or status.controller_age_s > HEARD_WITHIN_S:
        return status.problem_of("controller") or (
            "the controller is active, and its status does not come: does time (/clock) stand still?"
        )
    first = str(controller.first_cause)
    if controller.state == RUNNING:
        if controller.control_source == HUMAN:
            return f"a human leads{f' ({first})' if first else ''}: {LET_GO}"
        return first or _not_sent(controller.mode)
    if controller.state == HOMING:
        return GOES_HOME
    if controller.state == DISARMED:
        return (
            "not armed yet: `vla-adapter arm`" if first == NOT_ARMED else f"not armed, and cannot be: {first}"
        )
    if controller.state == STOPPED:
        return f"stopped ({first}): `vla-adapter reset`, then a new instruction"
    if controller.state == GATED:
        return f"the gate is closed: {first}: `vla-adapter home`, or safety.first_target: ramp"
    if first in (NO_INSTRUCTION, ENDED, AT_HOME):
        return _why_no_instruction(status) or "no instruction: `vla-adapter instruct TEXT`"
    if first.startswith(STARVED):
        why = _policy_problem(status)
        return f"the policy starves the controller: {why}" if why else f"starvation: {first}"
    return first


def _why_no_instruction(status: GraphStatus) -> str:
    """Why none could be given; empty if one could."""
    why = _policy_problem(status)
    return f"no instruction could be followed: {why}" if why else ""


def _policy_problem(status: GraphStatus) -> str:
    """Why the policy sends no chunks, or too late."""
    if absent := status.problem_of("policy"):
        return absent
    values = status.reports["policy"].values
    return values.get(INPUT_PROBLEM) or values.get(NO_CHUNKS) or ""


def _not_sent(mode: str) -> str:
    return "" if mode == "drive" else f"mode {mode}: nothing is sent to the arm"
