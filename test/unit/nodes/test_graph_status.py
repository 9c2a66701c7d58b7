"""Why nothing moves: for each picture of the graph one sentence, the first cause and not its echo."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from vla_adapter_ros.control.supervisor import ENDED, NO_INSTRUCTION, NOT_ARMED, STARVED
from vla_adapter_ros.nodes.graph_status import (
    LET_GO,
    GraphStatus,
    NodeReport,
    stream_value,
    why_nothing_moves,
)

SILENT = "camera gripper: newest sample is 0.5 s old"


def report(
    kind: str, lifecycle: str = "active", text: str = "ok", age: float = 0.1, **values: str
) -> NodeReport:
    known = {"lifecycle": lifecycle} | {name.replace("_", " "): value for name, value in values.items()}
    return NodeReport(f"/{kind}_node", text, known, age)


def why(
    state: str = "idle",
    first: str = "",
    *,
    source: str = "none",
    mode: str = "drive",
    policy: NodeReport | None = None,
    **changes: object,
) -> str:
    """Why nothing moves with a controller in this state, and a policy that is well unless one is given."""
    status = SimpleNamespace(state=state, first_cause=first, control_source=source, mode=mode)
    reports = {"controller": report("controller"), "policy": policy or report("policy")}
    names = {kind: f"/{kind}_node" for kind in reports}
    picture = {"names": names, "reports": reports, "controller": status, "controller_age_s": 0.05}
    return why_nothing_moves(GraphStatus("/", **(picture | changes)))


LATE = "joint states of fr3_joint4 are older than 0.2 s"
FOREIGN = "/other publishes /arm as well: stop it first"
FAR = "first target is 1.50 from fr3_joint6"
RESET = "`vla-adapter reset`, then a new instruction"


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (why("disarmed", NOT_ARMED), "not armed yet: `vla-adapter arm`"),
        (why("disarmed", LATE), f"not armed, and cannot be: {LATE}"),
        (why("stopped", "stop requested"), f"stopped (stop requested): {RESET}"),
        (why("idle", NO_INSTRUCTION), "no instruction: `vla-adapter instruct TEXT`"),
        (why("idle", ENDED), "no instruction: `vla-adapter instruct TEXT`"),
        (why("idle", LATE), LATE),
        (why("idle", FOREIGN), FOREIGN),
        (why("gated", FAR), f"the gate is closed: {FAR}: `vla-adapter home`, or safety.first_target: ramp"),
        (why("holding", "hold requested"), "hold requested"),
        (why("homing", source="home"), "the arm goes home: wait until it is there, or call ~/hold first"),
        (why("idle", "home is reached"), "no instruction: `vla-adapter instruct TEXT`"),
        (why("holding", STARVED), f"starvation: {STARVED}"),
        (why("running", source="human"), f"a human leads: {LET_GO}"),
        (why("running", source="policy"), ""),
        (why("running", source="policy", mode="dry_run"), "mode dry_run: nothing is sent to the arm"),
    ],
)  # fmt: skip
def test_the_controllers_own_cause_is_told_with_what_to_do(found, sentence):
    assert found == sentence


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (report("policy", input_problem=SILENT), SILENT),
        (report("policy", no_chunks="a chunk takes 0.315 s"), "a chunk takes 0.315 s"),
        (report("policy", input_problem=SILENT, no_chunks="a chunk takes 0.315 s"), SILENT),
        (report("policy", "configuring"), "/policy_node loads its checkpoint: wait for its ready line"),
        (report("policy", "inactive"), "/policy_node is inactive: activate it, or set autostart"),
        (report("policy", "failed", "configuration failed: no such file"),
         "/policy_node: configuration failed: no such file"),
        (report("policy", age=9.0), "/policy_node is in the graph and says nothing: it has died, or hangs"),
    ],
)  # fmt: skip
def test_behind_a_missing_chunk_or_instruction_stands_the_policy(policy, sentence):
    assert why("holding", STARVED, policy=policy) == f"the policy starves the controller: {sentence}"
    assert why("idle", NO_INSTRUCTION, policy=policy) == f"no instruction could be followed: {sentence}"
    assert why("holding", "hold requested", policy=policy) == "hold requested"  # what comes later is an echo


def test_nodes_that_are_absent_are_named_and_no_recorder_is_needed():
    assert why_nothing_moves(GraphStatus("/")) == "no controller runs"
    assert why_nothing_moves(GraphStatus("/left", elsewhere=("/right",))) == (
        "no controller runs in /left; there is one in /right (--namespace)"
    )
    controller = {"controller": report("controller")}
    names = {"controller": "/controller_node"}
    assert why("idle", NO_INSTRUCTION, names=names, reports=controller) == (
        "no instruction could be followed: no policy runs"
    )


def test_a_controller_that_is_not_active_or_whose_time_stands_still_is_named():
    inactive = {"controller": report("controller", "inactive")}
    assert why("idle", reports=inactive, controller=None).startswith(
        "/controller_node is inactive: activate it"
    )
    assert "does time (/clock) stand still?" in why("running", controller_age_s=5.0)


def test_streams_are_those_that_the_policy_hears_else_the_recorder():
    values = {"stream camera": stream_value(9.96, 0.05), "stream joints": stream_value(0.0, math.inf)}
    policy = report("policy", **values)
    recorder = report("recorder", **{"stream camera": stream_value(30.0, 0.01)})
    both = GraphStatus("/", reports={"policy": policy, "recorder": recorder})
    assert both.streams == {"camera": (10.0, 0.05), "joints": (0.0, math.inf)}
    assert GraphStatus("/", reports={"recorder": recorder}).streams == {"camera": (30.0, 0.01)}
    assert GraphStatus("/").streams == {}
