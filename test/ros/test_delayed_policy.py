"""A policy that was trained with delays decides for the time at which its chunk begins, over DDS."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from bench import CONTRACT, PERIOD_S

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.msg import CommittedMotion
from vla_adapter_ros.nodes.conversions import seconds
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.latency_measurement import measure_latency
from vla_adapter_ros.nodes.motion_ahead import motion_of
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.training.delays import with_delays

BOTH = ("controller", "policy")


@pytest.fixture(scope="module")
def late_checkpoint(random_checkpoint, tmp_path_factory):
    """The random policy, as if it had been trained to be up to four rows late."""
    path = tmp_path_factory.mktemp("late") / "checkpoint"
    policy = with_delays(VlaAdapterPolicy.from_pretrained(random_checkpoint), 4, told=True)
    torch.nn.init.normal_(policy.network.proprio_projector.fc1.weight, std=0.05)
    policy.save_pretrained(path)
    return path


def test_chunks_begin_later_for_the_place_where_the_arm_is_then(shared_bench, shared_graph, late_checkpoint):
    bench = shared_bench
    bench.watch(CommittedMotion, "controller/committed_motion")
    bench.start_controller(shared_graph)
    parameters = {"checkpoint": str(late_checkpoint), "added_latency_s": 0.2}
    parameters |= {"use_sim_time": True, "lock_step": True}
    shared_graph([NodeSpec("policy", parameters)])
    bench.wait_for("policy")
    bench.run(0.3, *BOTH)
    bench.instruct("pick up the red cube", *BOTH)
    begun, first = bench.now, len(bench.path)
    bench.run(3.0, *BOTH)
    chunks = [chunk for chunk in bench.received["action_chunk"] if chunk.num_rows]
    delays = [seconds(chunk.header.stamp) - seconds(chunk.input_stamp) for chunk in chunks]
    assert len(chunks) >= 5 and min(delays[2:]) > 0.15, delays
    rows = np.array(delays) * CONTRACT.rate_hz
    np.testing.assert_allclose(rows, np.round(rows), atol=1e-4)
    assert rows.max() <= 4
    path, times = np.array(bench.path), bench.now - PERIOD_S * np.arange(len(bench.path))[::-1]
    assert np.abs(path[first:] - path[first]).max() > 0.02, "the arm did not move"
    foreseen, newest = [], {chunk.sequence: seconds(chunk.header.stamp) for chunk in chunks}
    for message in bench.received["controller/committed_motion"]:
        motion = motion_of(message, CONTRACT.arm_joints)
        assert motion is not None
        # Until the chunk after the newest one begins, nothing changes what was foreseen.
        end = newest.get(message.sequence + 1, begun)
        for time, position in zip(motion.times, motion.positions, strict=True):
            if begun < time < min(end, bench.now):
                there = [np.interp(time, times, column) for column in path.T]
                foreseen.append(np.abs(position - there).max())
    with RosClient("listener") as client, ThreadPoolExecutor(1) as pool:
        measured: list[float] = []
        for _ in range(5):  # a busy machine lets little simulated time pass in three seconds
            listening = pool.submit(measure_latency, client, 3.0)
            while not listening.done():
                bench.run(0.1, *BOTH)
            if listening.exception() is None and len(measured := listening.result()) > 2:
                break
    assert len(measured) > 2 and 0.2 <= np.median(measured) < 0.5, measured
    assert len(foreseen) > 20 and max(foreseen) < 5e-3, (len(foreseen), max(foreseen, default=None))
