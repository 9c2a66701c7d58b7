"""A robot that is played by a script of test/robots, with what a newcomer does to it, step by step."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from asking import insist
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.nodes.conversions import JointReader, seconds
from vla_adapter_ros.nodes.graph import node_list, recording_nodes
from vla_adapter_ros.nodes.instruct_client import InstructClient
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.nodes.recorder_client import RecorderClient
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.streams import best_effort
from vla_adapter_ros.training.finetune import finetune

SCRIPTS = Path(__file__).parents[1] / "robots"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
INSTRUCTION = "pick up the red cube"
PATIENCE_S = 60.0
CAMERA_HZ, RATE_HZ = 5, 2  # so that two cores beside other work keep up, and a late image costs no row
TIMING = re.compile(r"arrives|arrived| Hz|in the future")  # what a machine that is too busy makes of a graph
CHECKED = re.compile(r" +# CHECK: .*")


class DrivenGraph:
    """The script's graph, and its human.

    Args:
        runner: Of the script.
        client: Knows the operator.
    """

    def __init__(self, runner: GraphRunner, client: RosClient) -> None:
        self._runner, self._client = runner, client
        self._states: list[str] = []
        client.subscribe(String, "/operator/state", lambda m: self._states.append(m.data), LATCHED)
        self._wishes = {
            wish: client.service(Trigger, f"/operator/{wish}") for wish in ("prepare", "demonstrate")
        }
        self.wait_until(lambda: self._states == ["resting"])

    def wait_until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Wait for a condition while the script lives."""
        deadline = time.monotonic() + 2 * PATIENCE_S  # the human's own limit is shorter, in the robot's time
        while not condition():
            self._runner.check_alive()
            assert time.monotonic() < deadline, what or condition
            time.sleep(0.05)

    def ask(self, wish: str) -> None:
        """Let the human do something, and wait until it rests."""
        self._states.clear()
        answer = self._wishes[wish].call(Trigger.Request(), 10.0, found_within_s=10.0)
        assert answer.success, answer.message
        self.wait_until(lambda: "resting" in self._states, f"{wish}: {self._states}")

    def path(self, contract: Contract) -> list[tuple[float, dict[str, float]]]:
        """Grows by the stamp and the measured joints of each message."""
        found: list[tuple[float, dict[str, float]]] = []
        for topic in contract.joint_state_topics:
            reader = JointReader(contract, topic)

            def take(message: JointState, reader: JointReader = reader) -> None:
                found.append((seconds(message.header.stamp), reader.positions(message)))

            self._client.subscribe(JointState, topic, take, best_effort(1000))
        return found


@contextmanager
def driven_robot(script: str, logs: Path, *words: str) -> Iterator[DrivenGraph]:
    """A script of test/robots that runs, with a client of it."""
    paths = (str(SCRIPTS), os.environ.get("PYTHONPATH", ""))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    try:
        with GraphRunner([], logs) as runner:
            runner.start_module(script, script, ["--camera-rate", f"{CAMERA_HZ}", *words])
            with suppress(PermissionError):  # a real robot shares no processor with the tests
                os.setpriority(os.PRIO_PROCESS, runner.processes[script].pid, -10)
            with RosClient("newcomer", check_alive=runner.check_alive) as client:
                yield DrivenGraph(runner, client)
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def draft(file: Path, filled_in: Mapping[str, str]) -> Contract:
    """Let a contract be drafted, and do what its marks ask for: values of `filled_in`, else as drafted."""
    assert main(["contract", "new", str(file), "--yes", "--rate", f"{RATE_HZ}"]) == 0
    text = file.read_text()
    assert "FILL_IN" not in text
    for drafted, right in filled_in.items():
        assert f"{drafted}        # CHECK" in text, f"{drafted} is not marked in\n{text}"
        text = text.replace(f"{drafted} ", f"{right} ", 1)
    file.write_text(CHECKED.sub("", text))
    return read_contract(file)


def failures(file: Path, capsys: Any) -> list[str]:
    """What `contract check --live` says to be wrong, but for what a busy computer makes of a graph."""
    capsys.readouterr()
    main(["contract", "check", str(file), "--live", "--json"])
    found = json.loads(capsys.readouterr().out)
    lines = [f"{r['subject']}: {r['text']}. {r['advice']}" for r in found if r["level"] == "fail"]
    return [line for line in lines if not TIMING.search(line)]


def record(robot: DrivenGraph, file: Path, dataset: Path, logs: Path, episodes: int) -> None:
    """Teleoperate through the controller, and record."""
    nodes = recording_nodes(
        dataset=str(dataset), contract=str(file), simulate=False, instruction=INSTRUCTION, on_fail="save"
    )
    with GraphRunner(nodes, logs) as runner, RecorderClient() as client:
        robot.wait_until(lambda: runner.check_alive() or client.ready, "no recorder")

        def until(condition: Callable[[Any], bool]) -> None:
            robot.wait_until(lambda: runner.check_alive() or condition(client.status), str(client.status))

        def order(name: str, *words: str) -> None:
            """Press a key, and again where it is refused: on a busy computer a stream is late at times."""
            for _ in range(20):
                answers: list[tuple[bool, str]] = []
                take = lambda good, message, to=answers: to.append((good, message))  # noqa: E731
                client.start(*words, take) if name == "start" else client.command(name, take)
                robot.wait_until(lambda to=answers: to or not client.events.empty(), name)
                answers += [client.events.get() for _ in range(client.events.qsize())]
                if any(good for good, _ in answers):
                    return
                time.sleep(0.5)
            raise AssertionError(answers)

        until(lambda status: status.controller == "disarmed" and max(status.ages, default=9.0) < 1.0)
        order("arm")
        for number in range(episodes):
            robot.ask("prepare")
            order("start", INSTRUCTION)
            until(lambda status: status.state == "recording")
            robot.ask("demonstrate")
            order("stop")
            until(lambda status, wanted=number + 1: status.state == "idle" and status.episodes == wanted)


def train(dataset: Path, checkpoint: Path) -> None:
    """A handful of steps: how well the policy does is not asked."""
    finetune(dataset, checkpoint, steps=20, batch_size=4, progress=False, pages=False)


def deploy(robot: DrivenGraph, file: Path, checkpoint: Path, logs: Path) -> np.ndarray:
    """Let the policy drive for some seconds; stamps and joints of the arm (T, 1 + J) meanwhile."""
    contract = read_contract(file)
    path = robot.path(contract)
    nodes = node_list(contract=str(file), checkpoint=str(checkpoint), simulate=False)
    with GraphRunner(nodes, logs) as runner, RosClient("human", check_alive=runner.check_alive) as client:
        arm = client.service(Trigger, "controller_node/arm")
        deadline = time.monotonic() + PATIENCE_S
        while not (answer := arm.call(Trigger.Request(), 10.0, found_within_s=PATIENCE_S)).success:
            assert time.monotonic() < deadline, answer.message
            time.sleep(0.5)
        policy = InstructClient(client)
        insist(policy, INSTRUCTION)
        begun = len(path)
        time.sleep(4.0)
        insist(policy, "")
    joints = contract.arm_joints
    rows = [(stamp, *(p[j] for j in joints)) for stamp, p in path[begun:] if set(joints) <= p.keys()]
    return np.array(rows)
