"""An arm that is moved past the controller is recorded, learned from, and then moved by the policy."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.duration import Duration
from robots import contract_file
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.simulation.scene import sample_scene
from vla_adapter_ros.srv import StartEpisode
from vla_adapter_ros.training.data.samples import read_rows
from vla_adapter_ros.training.finetune import finetune

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

START = np.array(sample_scene(0).joints)  # in view of the cameras
WAY = np.array([0.3, 0.15, -0.1, 0.2, 0.1, -0.15, 0.2])
SECONDS = 3.0


@pytest.fixture(scope="module")
def contract(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("robot")
    return contract_file(folder, name="guided", action={"source": "next_state"}, teleop={"topic": ""})


@pytest.fixture(scope="module")
def recorded(contract, tmp_path_factory):
    """A data set of one episode, in which a hand moved the arm there and back."""
    folder = tmp_path_factory.mktemp("recorded")
    nodes = node_list(
        contract=contract, controller=False, policy=False, record=str(folder / "set"), lock_step=True,
        client=True,
    )  # fmt: skip
    robot = read_contract(contract)
    with GraphRunner(nodes, folder / "logs") as runner, GraphClient(robot, runner.check_alive) as client:
        move(client, robot)
        client.sleep(0.9)
        text = StartEpisode.Request(instruction="wave")
        started = client.call("recorder_node/start_episode", text)
        assert started.accepted and "hand guiding" in started.message, started.message
        client.sleep(SECONDS)
        saved = client.call("recorder_node/stop_episode", Trigger.Request())
        assert saved.success, saved.message
    return folder / "set"


def move(client: GraphClient, robot: Contract) -> None:
    """Move arm and gripper as a hand would, whose motion nobody commands through the controller."""
    arm = client.node.create_publisher(JointTrajectory, robot.command.topic, 10)
    fingers = client.node.create_publisher(Float64MultiArray, robot.grippers[0].topic, 10)
    assert client.wait_until(lambda: min(arm.get_subscription_count(), fingers.get_subscription_count()) > 0)
    client.sleep(0.1)
    path = JointTrajectory(joint_names=list(robot.arm_joints))
    for time in np.arange(0.2, SECONDS + 1.5, 0.1):
        place = START + WAY * (1 - np.cos(2.0 * time)) / 2
        after = Duration(seconds=float(0.5 + time)).to_msg()
        path.points.append(JointTrajectoryPoint(positions=place.tolist(), time_from_start=after))
    arm.publish(path)
    fingers.publish(Float64MultiArray(data=[0.02]))


def test_an_arm_moved_by_hand_is_recorded_without_a_controller(recorded, contract):
    dataset = open_dataset(recorded)
    rows = dataset.rows(0)
    state, action = rows["observation.state"], rows["action"]
    assert len(state) >= 27 and np.ptp(state[:, 0]) > 0.2  # the arm moved
    np.testing.assert_allclose(action[:-1, :7], state[1:, :7], atol=1e-6)
    assert set(rows["control_source"]) == {1}
    report = check_dataset(recorded)
    assert report.level != "fail", report.issues
    assert read_rows(dataset, read_contract(contract)).usable.all()


def test_a_policy_of_such_data_moves_a_robot_that_is_commanded(recorded, tmp_path, graph):
    checkpoint = tmp_path / "checkpoint"
    result = finetune(recorded, checkpoint, steps=50, batch_size=4, progress=False, pages=False)
    assert np.mean(result.losses[-10:]) < np.mean(result.losses[:10])
    runner = graph(node_list(checkpoint=str(checkpoint), lock_step=True, client=True))
    with GraphClient(read_contract("franka_sim"), runner.check_alive) as client:
        client.reset(0)
        client.instruct("wave")
        assert client.wait_until(
            lambda: client.status is not None and client.status.control_source == "policy"
        )
        client.sleep(1.0)
        client.instruct("")
