"""Another checkpoint comes onto a running robot, or the old one comes back; nothing moves by it."""

from __future__ import annotations

import shutil

import pytest

from vla_adapter_ros.errors import ServiceError
from vla_adapter_ros.nodes.checkpoint_change import CheckpointChange
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.srv import Instruct


def test_a_checkpoint_is_put_on_the_robot_and_a_wrong_one_is_taken_off_again(
    bench, graph, random_checkpoint, tmp_path
):
    parameters = {"use_sim_time": True, "lock_step": True, "require_controller": False}
    graph([NodeSpec("policy", parameters | {"checkpoint": str(random_checkpoint)})])
    bench.wait_for("policy")
    other, broken = tmp_path / "other", tmp_path / "broken"
    shutil.copytree(random_checkpoint, other)
    shutil.copytree(random_checkpoint, broken)
    (broken / "action_head--checkpoint.pt").unlink()

    def instruct(text: str) -> str:
        return bench.call(Instruct, "instruct", Instruct.Request(instruction=text)).message

    def chunks_in(seconds_: float) -> int:
        bench.received["action_chunk"].clear()
        bench.run(seconds_, "policy")
        return len(bench.received["action_chunk"])

    bench.run(0.3, "policy")
    instruct("pick it")
    assert chunks_in(1.0)
    with RosClient("checkpoint_change_test") as client:
        change = CheckpointChange(client, "/policy_node")
        for folder in (broken, tmp_path / "nowhere"):
            with pytest.raises(ServiceError, match=f"{random_checkpoint} is back"):
                change.change(str(folder))
            assert not chunks_in(1.0), "it waits for an instruction"
            instruct("pick it")
            assert chunks_in(1.0), "the old policy works as before"
        assert str(other) in change.change(str(other))
        assert not chunks_in(1.0), "the new policy waits for an instruction"
        instruct("pick it")
        assert chunks_in(1.0)
