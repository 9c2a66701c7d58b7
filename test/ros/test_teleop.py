"""A human without a leader arm: gamepad and SpaceMouse drive the arm, and an episode is recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="kinematics need pinocchio: pip install pin")

import two_hands
from bench import CONTRACT, HOME, PERIOD_S
from diagnostic_msgs.msg import DiagnosticArray
from hand_devices import Gamepad, SpaceMouse
from sensor_msgs.msg import JointState, Joy
from std_srvs.srv import Trigger
from test_two_hands import Arms

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.contract import parse_contract, read_contract, write_contract
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.urdf import contract_kinematics
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.nodes.conversions import joint_positions, seconds
from vla_adapter_ros.nodes.graph import NodeSpec, node_list
from vla_adapter_ros.srv import StartEpisode

LIMITS = Limits.of(CONTRACT)
KINEMATICS = contract_kinematics(read_contract("franka_sim_ee"))
STILL = [0.0] * 6
OVERSHOOT = 1.15  # measured joints swing a little about the command


def tool(joints) -> np.ndarray:
    return KINEMATICS.pose(joints).position


class Hand:
    """A gamepad beside the bench."""

    def __init__(self, bench) -> None:
        self.bench, self.device = bench, Gamepad(bench.node)
        bench.watch(DiagnosticArray, "/diagnostics")

    def run(self, seconds_: float, motion=STILL, buttons=(), silent=False) -> None:
        for _ in range(round(seconds_ / PERIOD_S)):
            if not silent:
                self.device.tick(motion, buttons)
            self.bench.run(PERIOD_S, "controller", "teleop")
            assert self.bench._handled("teleop", self.bench.now)

    def told(self, words: str) -> bool:
        """Whether teleop_node says so of itself."""
        messages = self.bench.received["/diagnostics"]
        said = lambda: [s.message for m in messages for s in m.status if s.name == "/teleop_node"]  # noqa: E731
        return self.bench.until(lambda: any(words in message for message in said()), 10.0)


def test_a_gamepad_drives_the_tool_while_its_clutch_is_held(bench, graph):
    common = {"use_sim_time": True, "lock_step": True}
    urdf = {"urdf": "package:franky_sim/assets/fr3.urdf", "tool_link": "fr3_hand_tcp"}
    teleop = NodeSpec("teleop", common | urdf | {"device": "xbox"})
    graph([NodeSpec("controller", common | {"armed": True}), teleop])
    bench.wait_for("controller", "teleop")
    hand = Hand(bench)
    hand.run(0.5, [1, 0, 0, 0, 0, 0])
    assert not bench.received["sent"] and bench.newest("controller/status").control_source == "none"
    np.testing.assert_array_equal(bench.path[-1], HOME)

    hand.run(0.3, buttons=["clutch"])
    np.testing.assert_allclose(bench.path[-1], HOME, atol=1e-6)
    assert bench.newest("controller/status").control_source == "human"
    hand.run(1.0, [1, 0, 0, 0, 0, 0], ["clutch"])
    moving = tool(bench.path[-1]) - tool(HOME)
    assert moving[0] > 0.08 and np.abs(moving[1:]).max() < 0.005
    hand.run(0.1, [1, 0, 0, 0, 0, 0], ["clutch", "gripper"])
    hand.run(0.1, [1, 0, 0, 0, 0, 0], ["clutch"])
    assert list(bench.newest(CONTRACT.grippers[0].topic).data) == [0.0]

    released = tool(bench.path[-1])
    hand.run(0.6, [1, 0, 0, 0, 0, 0])  # the clutch is released, the stick is not
    assert np.linalg.norm(tool(bench.path[-1]) - released) < 0.04
    rest = bench.path[-1]
    hand.run(0.5, [1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(bench.path[-1], rest, atol=1e-4)
    assert bench.newest("controller/status").control_source == "none"

    hand.run(0.5, [0, 1, 0, 0, 0, 0], ["clutch"])
    assert tool(bench.path[-1])[1] > 0.02
    hand.run(1.0, silent=True)  # the gamepad is gone, with its clutch held
    rest = bench.path[-1]
    hand.run(0.4, [0, 1, 0, 0, 0, 0], ["clutch"])
    np.testing.assert_allclose(bench.path[-1], rest, atol=1e-4)
    assert hand.told("the clutch was held before anything could move: let go of it first")
    hand.device._publisher.publish(Joy(axes=[0.0] * 4, buttons=[1] * 11))
    assert hand.told("joy: 4 axes and 11 buttons; Xbox gamepad on joy_node needs at least 8 and 6")
    speed = np.abs(bench.velocity_of_arm())
    assert (
        speed <= 0.5 * LIMITS.velocity
    ).all()  # joint_speed is 0.3; the rest is the controller's own catching up


# What the hand does: (seconds, motion, buttons).
DEMONSTRATION = [
    (0.3, STILL, []),
    (0.3, STILL, ["clutch"]),
    (1.0, [0.8, 0.8, -0.4, 0, 0, 0], ["clutch"]),
    (0.8, [0, 0, -1, 0, 0, 0.5], ["clutch"]),
    (0.2, STILL, ["clutch", "gripper"]),
    (0.4, STILL, ["clutch"]),
    (1.0, [-0.8, -0.6, 1, 0, 0.4, 0], ["clutch"]),
    (0.8, [0, -0.8, 0, 0.3, 0, -0.5], ["clutch"]),
    (0.1, STILL, ["clutch"]),
    (9.0, [1.0, 0, 0, 0, 0, 0], []),  # the clutch is released, the stick is not
]


def at(time: float) -> tuple[list[float], list[str]]:
    """What the hand does at a time since it began [s]."""
    for lasts, motion, buttons in DEMONSTRATION:
        if time < lasts:
            return motion, buttons
        time -= lasts
    return DEMONSTRATION[-1][1:]


@pytest.mark.slow
@pytest.mark.parametrize(("device", "driver"), [("xbox", Gamepad), ("spacemouse", SpaceMouse)])
def test_an_episode_driven_by_hand_passes_its_quality_checks(device, driver, tmp_path: Path, graph):
    nodes = node_list(
        policy=False,
        record=str(tmp_path / "set"),
        teleop=device,
        lock_step=True,
        renderer="raycast",
        client=True,
    )
    runner = graph(nodes)
    path: list[tuple[float, np.ndarray]] = []
    begun: list[float] = []
    with GraphClient(CONTRACT, runner.check_alive, watch_images=True) as client:
        hand = driver(client.node)

        def take(stream: str, message) -> None:
            if stream != "joints":
                return
            now, positions = seconds(message.header.stamp), joint_positions(message)
            path.append((now, np.array([positions[joint] for joint in CONTRACT.arm_joints])))
            hand.tick(*at(now - begun[0] if begun else 0.0))

        client.on_message = take
        client.reset(7)
        answer = client.call("recorder_node/start_episode", StartEpisode.Request(instruction="wave about"))
        assert answer.accepted, answer.message
        begun.append(path[-1][0])
        length = sum(lasts for lasts, *_ in DEMONSTRATION[:-1])
        client.sleep(length)
        stopped = client.call("recorder_node/stop_episode", Trigger.Request())
        assert stopped.success, stopped.message
        client.sleep(1.0)
        assert client.status.control_source == "none"
        rest = path[-1][1]
        client.sleep(0.5)
        np.testing.assert_allclose(path[-1][1], rest, atol=2e-4)

    reader = DatasetReader(tmp_path / "set")
    rows = reader.rows(0)
    led = rows["control_source"] == 1
    assert led.mean() > 0.85 and reader.num_episodes == 1
    grippers = rows["action"][led][:, -1]
    assert grippers[0] == 1.0 and grippers[-1] == 0.0
    path = [(time, row) for time, row in path if time >= begun[0]]  # a reset puts the arm elsewhere at once
    positions = np.array([row for _, row in path])
    speed = np.abs(np.diff(positions, axis=0)) / np.diff([time for time, _ in path])[:, None]
    assert (positions >= LIMITS.low).all() and (positions <= LIMITS.high).all()
    assert (speed <= OVERSHOOT * LIMITS.velocity).all()
    tools = np.array([tool(row) for row in positions])
    assert np.ptp(tools, axis=0).min() > 0.05, "it moved along every axis"


@pytest.mark.slow
def test_one_of_two_arms_is_driven_while_the_clutch_of_the_other_is_released(bench, graph, tmp_path):
    data = two_hands.with_two_controllers()
    names = list(two_hands.CONTRACT.action_names)
    leaders = [
        {"topic": f"/hand_{side}", "dimensions": its}
        for side, its in (("left", names[:3]), ("right", names[3:]))
    ]
    data["teleop"] = {"groups": leaders}
    contract = parse_contract(data)
    write_contract(contract, tmp_path / "contract.yaml")
    arms = Arms(bench, contract)
    common = {"use_sim_time": True, "lock_step": True, "contract": str(tmp_path / "contract.yaml")}
    teleop = common | {"device": "xbox", "space": "joints"}
    graph([NodeSpec("controller", common | {"armed": True}), NodeSpec("teleop", teleop | {"group": 1})])
    bench.wait_for("controller", "teleop")
    bench.watch(JointState, "/hand_right")
    gamepad = Gamepad(bench.node)

    def run(seconds_: float, motion=STILL, buttons=()) -> None:
        for _ in range(round(seconds_ / PERIOD_S)):
            gamepad.tick(motion, buttons)
            arms.run(PERIOD_S, awaited=("controller", "teleop"))

    run(0.5)
    before = arms.position
    run(1.0, [0, 1, 0, 0, 0, 0], ["clutch"])
    assert bench.newest("controller/status").control_source == "human"
    moved = arms.position - before
    assert moved[1] > 0.2 and np.abs(moved[[0, 2, 3]]).max() < 1e-6
    assert bench.newest("/hand_right").header.frame_id == "rests: /teleop_node"
    run(0.8)
    assert bench.newest("controller/status").control_source == "none"
