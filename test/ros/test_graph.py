"""The whole graph with the shipped checkpoint: the arm obeys. Everything in simulated time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench import CONTRACT
from std_srvs.srv import Trigger

from vla_adapter_ros.capsule.contents import Capsule
from vla_adapter_ros.capsule.core_replay import replay_core
from vla_adapter_ros.capsule.folder import Half
from vla_adapter_ros.capsule.merge import join_halves
from vla_adapter_ros.capsule.policy_replay import replay_policy
from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.cli.demo_video import DemoVideo
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.msg import ActionChunk
from vla_adapter_ros.nodes.conversions import joint_positions, seconds
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.parameters import PolicyParameters
from vla_adapter_ros.nodes.policy_loading import open_policy
from vla_adapter_ros.simulation.cube_instructions import cube_instruction

LIMITS = Limits.of(CONTRACT)


class Watch:
    """Collects what goes over the topics."""

    def __init__(self) -> None:
        self.joints: list[tuple[float, np.ndarray]] = []
        self.chunks = []
        self.images: dict[str, list[float]] = {name: [] for name in CONTRACT.cameras}

    def take(self, stream, message) -> None:
        if stream == "joints":
            positions = joint_positions(message)
            row = np.array([positions[name] for name in CONTRACT.arm_joints])
            self.joints.append((seconds(message.header.stamp), row))
        elif stream == "chunk":
            self.chunks.append(message)
        elif stream in self.images:
            self.images[stream].append(seconds(message.header.stamp))

    def arm(self, since: float) -> tuple[np.ndarray, np.ndarray]:
        """Times (N,) and positions (N, 7) after `since`."""
        kept = [(t, row) for t, row in self.joints if t >= since]
        return np.array([t for t, _ in kept]), np.array([row for _, row in kept])


@pytest.fixture(scope="module")
def started(shared_graph):
    runner = shared_graph(node_list(lock_step=True, client=True))
    with GraphClient(CONTRACT, runner.check_alive, watch_images=True) as client:
        yield client, runner


@pytest.fixture
def running(started):
    client, runner = started
    watch = Watch()
    client.on_message = watch.take
    return client, watch, runner


def lifted(client, patience_s=10.0):
    begun = client.now
    client.wait_until(lambda: client.scene.lifted != "" or client.now > begun + patience_s)
    return client.scene.lifted


def test_obeys_is_redirected_and_stops(running):
    client, watch, runner = running
    objects = client.reset(1)
    client.instruct(cube_instruction(objects[0], 0))
    begun = client.now
    assert lifted(client) == objects[0]
    times, path = watch.arm(begun)
    speed = np.abs(np.diff(path, axis=0)) / np.diff(times)[:, None]
    assert (speed <= LIMITS.velocity * 1.1).all()  # measured joints swing a little about the command
    assert (path >= LIMITS.low).all() and (path <= LIMITS.high).all()
    for images in watch.images.values():
        np.testing.assert_allclose(np.diff(images), 0.1, atol=1e-6)  # none was lost
    image_times = np.array(watch.images["third_view"])
    for chunk in watch.chunks:
        if chunk.num_rows:
            assert np.abs(image_times - seconds(chunk.header.stamp)).min() < 1e-6

    # Another object named in mid-motion redirects the arm.
    client.instruct("")
    client.sleep(0.6)
    client.reset(2)
    objects = client.reset(3)
    client.instruct(cube_instruction(objects[0], 0))
    client.sleep(0.7)
    client.instruct(cube_instruction(objects[1], 0))
    assert lifted(client) == objects[1]

    # An empty instruction stops it.
    client.instruct("")
    client.sleep(0.6)
    client.reset(4)
    client.instruct(cube_instruction(client.scene.objects[0], 0))
    client.sleep(0.6)
    client.instruct("")
    stopped = client.now
    client.sleep(1.2)
    _, path = watch.arm(stopped + 0.6)
    assert np.abs(path - path[-1]).max() < 2e-3
    assert client.status.state == "idle"
    runner.check_alive()


def test_the_demo_video_is_written(running, tmp_path):
    import av

    client, _, _ = running
    client.reset(5)
    with DemoVideo(CONTRACT, tmp_path) as video:
        client.on_message = video.add_message
        client.instruct(cube_instruction(client.scene.objects[0], 0))
        video.start_episode("a caption")
        client.sleep(1.5)
        video.stop_episode()
    with av.open(str(tmp_path / "demo.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) >= 10
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 50
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    client.on_message = lambda stream, message: None
    client.instruct("")


@pytest.mark.slow
def test_a_capsule_that_is_saved_in_motion_is_replayed_to_the_last_bit(running, ros_home):
    pytest.importorskip("mcap", reason="capsules need the package mcap: make setup")
    client, _, _ = running
    objects = client.reset(4)
    client.instruct(cube_instruction(objects[0], 0))
    client.sleep(1.5)
    assert client.status.state == "running"
    files = []
    for node in ("controller_node", "policy_node"):
        answer = client.service(Trigger, f"{node}/save_capsule").call(Trigger.Request(), 60.0)
        assert answer.success, answer.message
        files.append(Path(answer.message))
    client.instruct("")
    assert {path.parent for path in files} == {ros_home / "capsules"}
    capsule = Capsule(join_halves(*files))
    assert capsule.facts[Half.POLICY]["instruction"] == cube_instruction(objects[0], 0)
    assert capsule.facts[Half.POLICY]["session"] == capsule.facts[Half.CONTROLLER]["session"]
    result = replay_core(capsule.contract(Half.CONTROLLER), capsule.core_settings(), *capsule.core())
    assert not result.text and result.identical == result.ticks > 120, str(result)
    followed = [call for call in capsule.core()[1] if call.name == "follow_chunk" and call.outcome is None]
    assert followed
    policy, robot = open_policy(PolicyParameters())
    chunks = replay_policy(robot, capsule.policy_records(), policy.predict)
    assert chunks.identical == chunks.chunks >= 2, str(chunks)


@pytest.mark.slow  # some seconds pass until both halves are joined
def test_a_fault_leaves_a_capsule_that_the_reader_of_others_opens(running, ros_home):
    reader = pytest.importorskip("mcap.reader", reason="capsules need the package mcap: make setup")
    client, watch, _ = running
    objects = client.reset(5)
    client.instruct(cube_instruction(objects[0], 0))
    client.sleep(1.0)
    spoiled = watch.chunks[-1]
    spoiled.sequence += 1
    spoiled.data[3] = float("nan")
    before = set((ros_home / "capsules").glob("*"))
    client.node.create_publisher(ActionChunk, "action_chunk", 1).publish(spoiled)
    found: set[Path] = set()

    def joined() -> bool:
        found.update(set((ros_home / "capsules").glob("*_fault.mcap")) - before)
        return bool(found)

    assert client.wait_until(joined, 40.0), sorted((ros_home / "capsules").iterdir())
    capsule = Capsule(found.pop())
    assert set(capsule.facts) == set(Half)
    assert "must be finite" in capsule.facts[Half.CONTROLLER]["cause"]
    result = replay_core(capsule.contract(Half.CONTROLLER), capsule.core_settings(), *capsule.core())
    assert not result.text, str(result)
    with open(capsule.path, "rb") as file:
        messages = reader.make_reader(file, validate_crcs=True).iter_messages()
        topics = {channel.topic for _, channel, _ in messages}
    assert {"/joint_states", "/controller/setpoint", "/camera/third_view", "/action_chunk"} <= topics


@pytest.mark.slow
def test_policy_killed_in_motion_leaves_a_holding_arm(running):
    client, watch, runner = running  # the last test: the policy does not come back
    objects = client.reset(1)
    client.instruct(cube_instruction(objects[0], 0))
    client.sleep(0.8)
    runner.processes["policy_node"].kill()
    runner.processes["policy_node"].wait()
    del runner.processes["policy_node"]
    last = seconds([chunk for chunk in watch.chunks if chunk.num_rows][-1].header.stamp)
    client.sleep(2.0)  # the simulator gives up waiting for the dead policy, then time goes on
    _, path = watch.arm(last + 0.7 + 0.3 + CONTRACT.command.command_delay_s)
    assert np.abs(path - path[-1]).max() < 2e-3  # at rest 0.3 s after the last row was due
    assert client.status.state == "holding" and "no action chunk" in client.status.reason
    runner.check_alive()
