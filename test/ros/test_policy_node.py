"""The policy node as its own process: chunk timing, instructions, silent cameras, bad joints, mismatch."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from bench import CONTRACT
from diagnostic_msgs.msg import DiagnosticArray

from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.model.certificate import Certificate, describe_setup, hash_files
from vla_adapter_ros.model.checkpoint_files import checkpoint_name
from vla_adapter_ros.nodes.conversions import seconds
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.srv import Instruct


def start(bench, graph, checkpoint, **changes):
    parameters = {"use_sim_time": True, "lock_step": True, "checkpoint": str(checkpoint)} | changes
    runner = graph([NodeSpec("policy", parameters)])
    bench.wait_for("policy")
    return runner


@pytest.fixture(scope="module")
def policy(shared_bench, shared_graph, random_checkpoint):
    return start(shared_bench, shared_graph, random_checkpoint, require_controller=False)


@pytest.fixture
def bench(shared_bench, policy):
    """The bench beside a policy without an instruction, which lives on after the test."""
    bench = shared_bench
    bench.run(0.3, "policy")
    assert bench.until(lambda: instruct(bench, "").accepted)
    bench.run(0.3, "policy")
    chunks(bench).clear()
    yield bench
    bench.cameras, bench.joint_override = set(CONTRACT.cameras), {}
    policy.check_alive()


def instruct(bench, text):
    return bench.call(Instruct, "instruct", Instruct.Request(instruction=text))


def chunks(bench):
    return bench.received["action_chunk"]


def test_chunks_are_stamped_with_the_image_and_paced_by_the_horizon(bench, random_checkpoint):
    bench.run(0.3, "policy")
    assert not chunks(bench)  # nothing to do yet
    assert instruct(bench, "pick up the red cube").accepted
    bench.run(2.0, "policy")
    assert bench.until(lambda: len(chunks(bench)) == 5)
    stamps = [seconds(chunk.header.stamp) for chunk in chunks(bench)]
    np.testing.assert_allclose(np.diff(stamps), 0.4, atol=1e-6)
    assert all(abs(stamp * 10 - round(stamp * 10)) < 1e-6 for stamp in stamps)  # image times
    for number, chunk in enumerate(chunks(bench)):
        assert chunk.names == list(CONTRACT.action_names)
        assert (chunk.num_rows, chunk.num_columns, len(chunk.data)) == (8, 8, 64)
        assert chunk.rate_hz == CONTRACT.rate_hz and chunk.execution_horizon == 4
        assert chunk.checkpoint == checkpoint_name(random_checkpoint)
        assert chunk.sequence == chunks(bench)[0].sequence + number
        assert seconds(chunk.oldest_input_stamp) <= seconds(chunk.header.stamp)
        assert np.isfinite(chunk.data).all()


def test_change_and_clear_raise_the_instruction_id(bench):
    instruct(bench, "pick up the red cube")
    bench.run(0.5, "policy")
    assert bench.until(lambda: chunks(bench))
    first = chunks(bench)[0].instruction_id
    assert "does not know: bicycle" in instruct(bench, "pick up the blue bicycle").message
    bench.run(0.1, "policy")  # the next frame answers at once
    assert bench.until(lambda: chunks(bench)[-1].instruction_id == first + 1)
    unseen = instruct(bench, "\u200b \u2060")
    assert not unseen.accepted and "allowed is a text that can be read" in unseen.message
    answer = instruct(bench, "   ")
    assert answer.accepted and "hold" in answer.message
    assert bench.until(lambda: chunks(bench)[-1].instruction_id == first + 2)
    assert chunks(bench)[-1].num_rows == 0
    bench.run(1.0, "policy")
    assert chunks(bench)[-1].num_rows == 0


def test_missing_camera_is_refused_by_name_and_a_silent_one_stops_chunks(bench):
    bench.cameras = {"third_view"}
    assert bench.run_until(lambda: "gripper" in instruct(bench, "pick up the red cube").message)
    bench.cameras = set(CONTRACT.cameras)
    bench.run(0.3, "policy")
    instruct(bench, "")
    chunks(bench).clear()
    assert instruct(bench, "pick up the red cube").accepted
    bench.run(0.5, "policy")
    assert bench.until(lambda: chunks(bench) and chunks(bench)[-1].num_rows)
    bench.cameras = set()
    assert bench.run_until(lambda: not chunks(bench)[-1].num_rows)
    before, ended = len(chunks(bench)), chunks(bench)[-1]
    assert ended.instruction_id == chunks(bench)[-2].instruction_id
    assert ended.reason.startswith("camera ") and "was silent for more than 0.58 s" in ended.reason
    bench.cameras = set(CONTRACT.cameras)
    bench.run(0.6, "policy")
    assert len(chunks(bench)) == before  # a camera that comes back moves nothing


def test_nan_joint_states_make_no_chunk(bench):
    instruct(bench, "pick up the red cube")
    bench.joint_override = {"fr3_joint2": float("nan")}
    bench.run(0.5, "policy")
    assert not chunks(bench)
    bench.joint_override = {}
    bench.run(0.5, "policy")
    assert bench.until(lambda: chunks(bench))  # a short gap: it goes on
    bench.joint_override = {"fr3_joint2": float("nan")}
    assert bench.run_until(lambda: not chunks(bench)[-1].num_rows)
    reason = chunks(bench)[-1].reason
    assert reason.startswith("no good frame") and "joint_states: fr3_joint2 not finite" in reason


def test_a_text_that_the_model_cannot_hold_is_refused_with_both_numbers(bench):
    answer = instruct(bench, "cube " * 25_000)
    assert not answer.accepted
    assert answer.message == "not ready: instruction of 25000 tokens: at most 410 fit"


@pytest.mark.slow
def test_a_policy_without_a_controller_refuses_unless_it_works_for_something_else(
    shared_bench, policy, graph, random_checkpoint
):
    bench = shared_bench
    policy.__exit__()
    bench.acks.clear()
    start(bench, graph, random_checkpoint, require_controller=True)
    bench.run(0.3, "policy")
    missing = "not ready: no controller is heard on controller/status: start and activate it"
    assert instruct(bench, "pick up the red cube").message == missing
    assert instruct(bench, "").accepted  # to stop and hold is always right


@pytest.mark.slow
def test_contract_mismatch_ends_with_the_difference(random_checkpoint, tmp_path):
    other = dataclasses.replace(CONTRACT, rate_hz=20.0)
    write_contract(other, tmp_path / "other.yaml")
    command = [sys.executable, "-m", "vla_adapter_ros.nodes.policy", "--ros-args"]
    command += ["-p", f"checkpoint:={random_checkpoint}", "-p", f"contract:={tmp_path / 'other.yaml'}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "rate_hz: 20.0 here, 10.0 there" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_certificate_that_does_not_hold_is_a_warning_and_refused_where_one_is_required(
    shared_bench, policy, graph, random_checkpoint, tmp_path
):
    checkpoint = shutil.copytree(random_checkpoint, tmp_path / "checkpoint")
    setup = describe_setup(torch.device("cpu"), torch.float32, compiled=False) | {"torch": "1.0"}
    Certificate(hash_files(checkpoint), setup, "demos", 5, 64 * "0", "2026-11-30", ()).save(checkpoint)
    bench = shared_bench
    policy.__exit__()
    bench.acks.clear()
    bench.watch(DiagnosticArray, "/diagnostics")
    start(bench, graph, checkpoint, require_controller=False, device="cpu")

    def warned() -> bool:
        said = [s for m in bench.received["/diagnostics"] for s in m.status if "policy" in s.name]
        values = {v.key: v.value for v in said[-1].values} if said else {}
        return (
            bool(said) and "torch 1.0 then" in said[-1].message and values["certificate"] == "does not hold"
        )

    assert bench.run_until(warned)
    command = [sys.executable, "-m", "vla_adapter_ros.nodes.policy", "--ros-args", "-p"]
    command += [f"checkpoint:={checkpoint}", "-p", "require_certificate:=true", "-p", "device:=cpu"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1 and "Traceback" not in said
    assert "require_certificate = True: the certificate of" in said and "torch 1.0 then" in said
