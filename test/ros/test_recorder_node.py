"""The recorder node in the real graph: the expert teleoperates, episodes land in a LeRobot data set."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from bench import CONTRACT
from std_srvs.srv import Trigger

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.contract import full_name, read_contract
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.nodes.graph import NodeSpec, node_list
from vla_adapter_ros.observation.bag import Bag
from vla_adapter_ros.srv import Demonstrate, StartEpisode


def test_episodes_are_saved_discarded_and_read_back(graph, tmp_path):
    path = tmp_path / "dataset"
    nodes = node_list(policy=False, record=str(path), lock_step=True, client=True)
    next(node for node in nodes if node.kind == "recorder").parameters["raw_bag"] = True
    runner = graph(nodes)
    with GraphClient(read_contract("franka_sim"), runner.check_alive) as client:

        def record(seed, ending, text="pick up it"):
            objects = client.reset(seed)
            started = client.call("recorder_node/start_episode", StartEpisode.Request(instruction=text))
            assert started.accepted, started.message
            client.call("simulator/demonstrate", Demonstrate.Request(target=objects[0]))
            client.sleep(1.5)
            ended = client.call(f"recorder_node/{ending}", Trigger.Request())
            client.call("simulator/demonstrate", Demonstrate.Request(target=""))
            client.sleep(0.5)
            return ended

        until_the_human_leads(client)
        saved = record(1, "stop_episode", "pick up the first cube")
        assert saved.success, f"{saved.message}; controller: {client.status}"
        assert record(2, "discard_episode").success
        assert record(3, "stop_episode", "nimm den zweiten Würfel").success
        refused = client.call("recorder_node/stop_episode", Trigger.Request())
        assert not refused.success and refused.message
    runner.check_alive()

    reader = DatasetReader(path)
    assert reader.num_episodes == 2
    assert [reader.task_of(i) for i in range(2)] == ["pick up the first cube", "nimm den zweiten Würfel"]
    assert reader.contract == CONTRACT
    for number in range(2):
        rows = reader.rows(number)
        state, action = np.array(rows["observation.state"]), np.array(rows["action"])
        assert len(state) >= 14
        assert np.abs(np.diff(state[:, :7], axis=0)).max() > 0.01  # the arm moved
        assert np.abs(action[1:-1, :7] - state[2:, :7]).max() > 0.005  # the command is no copy of the state
        assert set(np.array(rows["control_source"]).ravel()[3:-1]) == {1}  # a human led
        stamps = np.array(rows["capture.stamp"]).ravel()
        np.testing.assert_allclose(np.diff(stamps), 0.1, atol=1e-6)
        for camera in CONTRACT.cameras:
            frames = reader.decode(camera, number)
            assert frames.shape == (len(state), 112, 112, 3)
            assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 20  # the pictures change
    check_bags(reader, tmp_path / "dataset_bags")


def check_bags(reader: DatasetReader, folder: Path) -> None:
    """Each saved episode has a bag with its images and commands; the discarded one has none."""
    last, deadline = folder / "episode_000001" / "metadata.yaml", time.monotonic() + 20.0
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sorted(path.name for path in folder.iterdir()) == ["episode_000000", "episode_000001"]
    for number in range(2):
        with Bag(folder / f"episode_{number:06d}") as bag:
            rows = len(reader.rows(number)["action"])
            for camera in CONTRACT.cameras.values():
                stamps = bag.stamps({full_name(camera.topic)})[full_name(camera.topic)]
                assert len(stamps) >= rows and (np.diff(stamps[:, 1]) > 0.05).all()
            assert len(list(bag.messages({full_name(CONTRACT.action.topic)}))) > rows


def until_the_human_leads(client):
    """Let the expert try until the controller hears it: nodes find each other's topics one by one."""
    target = client.reset(0)[0]
    assert client.wait_until(lambda: client.status is not None), "no controller is heard"

    def leads():
        client.call("simulator/demonstrate", Demonstrate.Request(target=target))
        end = client.now + 0.5
        client.wait_until(lambda: client.status.control_source == "human" or client.now > end)
        led = client.status.control_source == "human"
        client.call("simulator/demonstrate", Demonstrate.Request(target=""))
        client.sleep(0.5)
        return led

    assert any(leads() for _ in range(20)), f"the human never leads: {client.status}"


def test_missing_stream_is_refused_by_name(bench, graph, tmp_path):
    runner = graph(
        [NodeSpec("recorder", {"use_sim_time": True, "lock_step": True, "dataset": str(tmp_path / "d")})]
    )
    bench.wait_for("recorder")
    bench.run(0.5)
    request = StartEpisode.Request(instruction="wave")
    answer = bench.call(StartEpisode, "recorder_node/start_episode", request)
    assert not answer.accepted and CONTRACT.action.topic in answer.message
    status = bench.newest("recorder_node/status")
    assert status.state == "idle" and status.disk_left > 0
    runner.check_alive()
