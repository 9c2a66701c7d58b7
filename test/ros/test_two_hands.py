"""Two arms with a gripper each, and arms without any: controller and recorder, each a process of its own."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import two_hands
from bench import PERIOD_S
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.contract import parse_contract, write_contract
from vla_adapter_ros.control.homing import HOME_SPEED
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.nodes.conversions import teleop_messages, to_stamp, trajectory_arrays
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.image_messages import array_to_image
from vla_adapter_ros.simulation.trajectory_controller import TrajectoryController
from vla_adapter_ros.srv import Home, StartEpisode

START = np.array([0.1, -0.2, 0.3, 0.4])
LEFT = np.array([1.0, 1.0, 0.45, 0.3, 0.55, 0.7, 0.7, 0.7])  # closes at row 3, opens at row 5
RIGHT = np.array([0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 1.0, 1.5])


class Arms:
    """Both drivers: each reports three joints of the same names on its own topic."""

    def __init__(self, bench, contract) -> None:
        self.bench, self.contract = bench, contract
        self._places = [[contract.arm_joints.index(j) for j in g.joints] for g in contract.command_groups]
        self._drivers = [
            TrajectoryController(contract.names_in_commands(group), START[places])
            for group, places in zip(contract.command_groups, self._places, strict=True)
        ]
        self._images = {
            name: bench.node.create_publisher(Image, camera.topic, qos_profile_sensor_data)
            for name, camera in contract.cameras.items()
        }
        self._states = [
            bench.node.create_publisher(JointState, topic, QoSProfile(depth=10)) for topic in two_hands.TOPICS
        ]
        for driver, group in zip(self._drivers, contract.command_groups, strict=True):
            bench.node.create_subscription(
                JointTrajectory, group.topic, partial(self._on_trajectory, driver), QoSProfile(depth=10)
            )
        self._leaders = {
            group.topic: bench.node.create_publisher(JointState, group.topic, QoSProfile(depth=10))
            for group in contract.teleop_groups
        }
        bench.watch(Float64MultiArray, "/left/gripper")
        bench.watch(JointTrajectory, "/right/gripper")

    def _on_trajectory(self, driver, message) -> None:
        with self.bench._changed:
            driver.accept_trajectory(*trajectory_arrays(message), now=self.bench.now)

    @property
    def heard(self) -> bool:
        """Whether somebody hears both arms."""
        return all(publisher.get_subscription_count() for publisher in self._states)

    @property
    def position(self) -> np.ndarray:
        position = np.empty(4)
        with self.bench._changed:
            for driver, places in zip(self._drivers, self._places, strict=True):
                position[places] = driver.sample(self.bench.now)[0]
        return position

    def run(self, seconds: float, command=None, awaited=("controller",)) -> None:
        for _ in range(round(seconds / PERIOD_S)):
            stamp, joints = round(self.bench.now + PERIOD_S, 6), self.position
            for publisher, two in zip(self._states, (joints[:2], joints[2:]), strict=True):
                message = JointState(name=list(two_hands.IN_MESSAGES), position=[*two, 0.03])
                message.header.stamp = to_stamp(stamp)
                publisher.publish(message)
            if (self.bench._tick + 1) % 10 == 0:
                for name, publisher in self._images.items():
                    image = array_to_image(np.full((48, 64, 3), 90, np.uint8), name)
                    image.header.stamp = to_stamp(stamp)
                    publisher.publish(image)
            if command is not None:
                for topic, message in teleop_messages(self.contract, command, stamp).items():
                    self._leaders[topic].publish(message)
            self.bench.run(PERIOD_S, *awaited)

    def send_chunk(self) -> None:
        columns = [*START[:2], 1.0, *START[2:], 0.0]
        rows = np.tile(columns, (8, 1))
        rows[:, [0, 1, 3, 4]] += np.arange(8)[:, None] * 0.02 * np.array([1, -1, -1, 1])
        rows[:, 2], rows[:, 5] = LEFT, RIGHT
        if not self.contract.grippers:
            rows = rows[:, [0, 1, 3, 4]]
        self.bench.send_chunk(
            np.zeros((8, 7)), names=list(self.contract.action_names), num_columns=rows.shape[1],
            data=rows.ravel().tolist(),
        )  # fmt: skip


@pytest.fixture
def start(bench, graph, tmp_path):
    def begin(contract) -> Arms:
        write_contract(contract, tmp_path / "contract.yaml")
        arms = Arms(bench, contract)
        bench.start_controller(graph, contract=str(tmp_path / "contract.yaml"))
        assert bench.until(lambda: arms.heard), "nobody hears the joint states"
        arms.run(0.2)
        return arms

    return begin


def changes(values: list) -> list:
    """The values without repetitions of the one before."""
    return [value for n, value in enumerate(values) if n == 0 or value != values[n - 1]]


def test_each_gripper_is_told_on_its_own_topic(bench, start):
    arms = start(two_hands.CONTRACT)
    arms.send_chunk()
    arms.run(1.5)
    status = bench.newest("controller/status")
    assert status.state == "holding" and "no action chunk" in status.reason
    left = [list(message.data) for message in bench.received["/left/gripper"]]
    assert changes(left) == [[0.04], [0.0], [0.04]]
    right = bench.received["/right/gripper"]
    assert {tuple(message.joint_names) for message in right} == {("finger",)}  # as its driver calls it
    told = [message.points[0].positions[0] for message in right]
    np.testing.assert_allclose(told, [0.08, 0.065, 0.05, 0.02], atol=1e-12)
    moved = arms.position - START
    np.testing.assert_allclose(moved, 0.14 * np.array([1, -1, -1, 1]), atol=0.01)
    command = bench.newest("controller/command")
    assert tuple(command.name) == two_hands.CONTRACT.action_names
    assert (command.position[2], command.position[5]) == (LEFT[-1], RIGHT[-1])

    # A leader drives both hands by its own names, and whoever publishes to a gripper keeps it from arming.
    for _ in range(2):
        arms.run(0.5, np.array([*arms.position[:2], 0.0, *arms.position[2:], 0.0]))
    assert list(bench.received["/left/gripper"][-1].data) == [0.0]
    assert bench.received["/right/gripper"][-1].points[0].positions[0] == pytest.approx(0.08)
    bench.node.create_publisher(JointTrajectory, "/right/gripper", QoSProfile(depth=10))
    answer = None
    for _ in range(20):
        arms.run(0.1)
        answer = bench.call(Trigger, "controller_node/arm", Trigger.Request())
        if not answer.success:
            break
    assert not answer.success and "/right/gripper" in answer.message


def test_two_controllers_carry_out_one_motion_and_two_leaders_give_one_command(bench, start):
    data = two_hands.raw()
    right, left = ["right_elbow", "right_waist"], ["left_waist", "left_elbow"]
    data["command"] = {
        "type": "joint_trajectory",
        "command_delay_s": 0.1,
        "groups": [{"topic": "/right/arm", "joints": right}, {"topic": "/left/arm", "joints": left}],
    }
    names = list(two_hands.CONTRACT.action_names)
    leaders = [
        {"topic": f"/leader_{side}", "dimensions": its, "names": [*two_hands.IN_MESSAGES]}
        for side, its in (("left", names[:3]), ("right", names[3:]))
    ]
    data["teleop"] = {"groups": leaders}
    arms = start(parse_contract(data))
    bench.watch(JointTrajectory, "/right/arm")
    bench.watch(JointTrajectory, "/left/arm")
    arms.send_chunk()
    arms.run(1.5)
    np.testing.assert_allclose(arms.position - START, 0.14 * np.array([1, -1, -1, 1]), atol=0.01)
    told = [bench.received[topic] for topic in ("/right/arm", "/left/arm")]
    assert [tuple(messages[0].joint_names) for messages in told] == [("elbow", "waist"), ("waist", "elbow")]
    stamps = [{(m.header.stamp.sec, m.header.stamp.nanosec) for m in messages} for messages in told]
    assert len(stamps[0]) > 20 and stamps[0] == stamps[1], "one motion, told to both at once"

    before = arms.position
    arms.run(1.0, np.array([*before[:2] + 0.1, 0.0, *before[2:] - 0.1, 0.0]))
    assert bench.newest("controller/status").control_source == "human"
    np.testing.assert_allclose(arms.position - before, [0.1, 0.1, -0.1, -0.1], atol=0.02)


@pytest.mark.slow
def test_home_brings_both_arms_to_their_start_pose_slowly_and_hold_ends_it(bench, start):
    data = two_hands.with_two_controllers()
    home = {"left_waist": 0.6, "left_elbow": -0.9, "right_waist": -0.4, "right_elbow": 1.2}
    contract = parse_contract(data | {"home": home})
    arms, goal = start(contract), np.array([home[joint] for joint in contract.arm_joints])

    def go(seconds: float) -> np.ndarray:
        """Joints (T, 4) while time passes."""
        path = [arms.position]
        for _ in range(round(seconds / PERIOD_S)):
            arms.run(PERIOD_S)
            path.append(arms.position)
        return np.array(path)

    answer = bench.call(Home, "controller_node/home", Home.Request())
    assert answer.success and "goes home" in answer.message
    path = go(0.8)
    status = bench.newest("controller/status")
    assert (status.state, status.control_source) == ("homing", "home")
    moved = np.abs(path[-1] - START)
    assert min(moved[:2].max(), moved[2:].max()) > 0.005, "both arms are on the way"
    assert bench.call(Trigger, "controller_node/hold", Trigger.Request()).success
    rest = go(0.8)
    assert bench.newest("controller/status").state == "holding"
    assert np.ptp(rest[-10:], axis=0).max() < 1e-9 and np.abs(rest[-1] - goal).max() > 0.05

    assert bench.call(Home, "controller_node/home", Home.Request()).success
    path = np.concatenate([path, rest, go(4.0)])
    status = bench.newest("controller/status")
    assert (status.state, status.reason) == ("idle", "home is reached")
    np.testing.assert_allclose(path[-1], goal, atol=1e-6)
    limits = np.array([contract.limits[joint].velocity for joint in contract.arm_joints])
    speed = np.abs(np.diff(path, axis=0)) / PERIOD_S
    assert (speed <= 1.05 * HOME_SPEED * limits).all(), speed.max(axis=0)


def test_a_robot_without_grippers_is_driven(bench, start):
    arms = start(two_hands.without_hands())
    arms.send_chunk()
    arms.run(1.5)
    status = bench.newest("controller/status")
    assert status.state == "holding", status.reason
    np.testing.assert_allclose(arms.position - START, 0.14 * np.array([1, -1, -1, 1]), atol=0.01)
    assert len(bench.newest("controller/command").position) == 4
    assert bench.node.count_publishers("/left/gripper") == bench.node.count_publishers("/right/gripper") == 0


def test_both_hands_are_recorded_under_their_names(bench, graph, tmp_path):
    contract, both = two_hands.CONTRACT, ("controller", "recorder")
    write_contract(contract, tmp_path / "contract.yaml")
    arms = Arms(bench, contract)
    shared = {"use_sim_time": True, "lock_step": True, "contract": str(tmp_path / "contract.yaml")}
    recorder = shared | {"dataset": str(tmp_path / "set"), "on_fail": "save", "min_disk_gb": 0.0}
    graph([NodeSpec("controller", shared | {"armed": True}), NodeSpec("recorder", recorder)])
    bench.wait_for(*both)
    for _ in range(40):  # until all topics are connected
        arms.run(0.3)
        started = bench.call(
            StartEpisode, "recorder_node/start_episode", StartEpisode.Request(instruction="lift the box")
        )
        if started.accepted:
            break
    assert started.accepted, started.message
    arms.run(0.2, awaited=both)
    arms.send_chunk()
    arms.run(1.5, awaited=both)
    stopped = bench.call(Trigger, "recorder_node/stop_episode", Trigger.Request())
    assert stopped.success, stopped.message
    reader = DatasetReader(tmp_path / "set")
    assert reader.contract == contract
    columns = dict(zip(contract.action_names, reader.rows(0)["action"].T, strict=True))
    pairs = list(zip(columns["left_grip"].tolist(), columns["right_grip"].tolist(), strict=True))
    resting = (1.0, 1.0)  # as both are measured: the left one rather open, the right one rather closed
    rows = [(float(np.float32(left)), right) for left, right in zip(LEFT, RIGHT, strict=True)]
    assert pairs[0] == rows[0], "an episode begins with the first command"
    assert set(pairs) <= {resting, *rows} and set(rows) <= set(pairs)
    state = dict(zip(contract.state_names, reader.rows(0)["observation.state"].T, strict=True))
    np.testing.assert_allclose([state["left_finger"], state["right_finger"]], 0.03)
    for n, name in enumerate(contract.arm_joints):
        assert (
            abs(state[name][0] - START[n]) < 1e-6
            and abs(state[name][-1] - columns[f"lead_{name}"][-1]) < 0.01
        )
        assert 0.05 < abs(state[name][-1] - START[n]) < 0.15
