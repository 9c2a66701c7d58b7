"""What `status`, `watch` and the ready line of bring-up show."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

from vla_adapter_ros.cli.ready import ready_line
from vla_adapter_ros.cli.status import as_json, lines
from vla_adapter_ros.contract.resources import checkpoints_folder
from vla_adapter_ros.nodes.graph_status import GraphStatus, NodeReport, stream_value

POLICY = {
    "lifecycle": "active", "checkpoint": str(checkpoints_folder() / "franka_sim_tiny"),
    "device": "on the CPU", "process": "12",
    "weights": "float32", "chunk_ms": "9.8", "instruction": "pick up the red cube",
    "stream camera gripper": stream_value(10.0, 0.05), "stream /joint_states": stream_value(0.0, math.inf),
}  # fmt: skip


def picture(**policy: str) -> GraphStatus:
    status = SimpleNamespace(
        state="running", first_cause="", control_source="policy", mode="drive", speed=0.3,
        latency_p50=0.083, latency_p99=0.101,
    )  # fmt: skip
    reports = {
        "controller": NodeReport("/controller_node", "ok", {"lifecycle": "active", "process": "11"}, 0.1),
        "policy": NodeReport("/policy_node", "ok", POLICY | policy, 0.1),
    }
    names = {kind: f"/{kind}_node" for kind in reports}
    return GraphStatus("/", names, reports, status, 0.1)


def test_status_shows_state_leader_cause_latency_nodes_and_streams(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert lines(picture()) == [
        "robot       namespace /, ROS_DOMAIN_ID 7",
        "state       running, the policy leads, speed 0.3",
        "why         nothing stands against motion: an arm that stands still is asked for none",
        "latency     p50 0.083 s, p99 0.101 s",
        "simulator   does not run",
        "controller  active",
        "policy      active; checkpoint franka_sim_tiny on the CPU, float32, 9.8 ms per chunk; "
        "instruction 'pick up the red cube'",
        "recorder    does not run",
        "streams",
        "  camera gripper   10.0 Hz, 0.050 s old",
        "  /joint_states     0.0 Hz, nothing yet",
    ]
    assert lines(GraphStatus("/"))[1] == "why         no controller runs"


def test_status_tells_that_a_late_policy_goes_slower():
    assert "latency     p50 0.083 s, p99 0.101 s; for it, rows are carried out at 0.6 of their pace" in lines(
        picture(pace="0.6")
    )
    assert "latency     p50 0.083 s, p99 0.101 s" in lines(picture(pace="1"))


def test_json_is_json_and_has_no_number_that_json_does_not_know():
    told = json.loads(json.dumps(as_json(picture()), allow_nan=False))
    assert told["why"] == "" and told["state"] == "running" and told["latency_p99_s"] == 0.101
    assert told["nodes"]["policy"]["lifecycle"] == "active"
    assert told["streams"]["/joint_states"] == {"rate_hz": 0.0, "age_s": None}
    assert json.loads(json.dumps(as_json(GraphStatus("/left"))))["why"] == "no controller runs in /left"


def test_the_ready_line_waits_for_every_node_that_was_started(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    both = {"controller": 11, "policy": 12}
    assert ready_line(picture(), both, "franka_sim") == (
        "ready: checkpoint franka_sim_tiny on the CPU, float32, 9.8 ms per chunk, contract franka_sim, "
        "discovery range LOCALHOST (this computer alone)"
    )
    assert ready_line(picture(), both | {"recorder": 13}, "franka_sim") == ""
    assert ready_line(picture(lifecycle="configuring"), both, "franka_sim") == ""
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE")
    assert ready_line(picture(checkpoint=""), {"policy": 12}, "x.yaml") == (
        "ready: no checkpoint, contract x.yaml, discovery range SUBNET"
    )
    alone = {"controller": 11}
    assert ready_line(picture(), alone, "x.yaml") == "ready: contract x.yaml, discovery range SUBNET"


def test_the_nodes_of_another_bringup_make_nothing_ready():
    assert ready_line(picture(), {"controller": 21, "policy": 22}, "franka_sim") == ""
