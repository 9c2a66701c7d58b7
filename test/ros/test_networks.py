"""Policy and robot in two network namespaces: two computers, as far as the kernel can make them of one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench import PATIENCE_S

from vla_adapter_ros.nodes.graph import ELSEWHERE, RANGE, TRANSPORTS

REPOSITORY = Path(__file__).resolve().parents[2]
ROBOT, POLICY = "10.9.0.1/24", "10.9.0.2/24"
HOLD = "mount -t tmpfs shm /dev/shm && ip link set lo up && echo ready && exec cat"
PROBE = "mount -t tmpfs shm /dev/shm && ip link add robot type veth peer name policy"


def obstacle() -> str:
    """Why two computers cannot be made here; empty if they can."""
    if missing := [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]:
        return f"{', '.join(missing)} missing"
    tried = subprocess.run(["unshare", "-Urnm", "sh", "-c", PROBE], capture_output=True, text=True)
    return f"no network namespaces: {tried.stderr.strip()}" if tried.returncode else ""


class Computer:
    """A network namespace, with shared memory of its own, and the processes in it.

    Args:
        inside: Words before a command that run it where the namespace is to be made.
    """

    def __init__(self, stack: ExitStack, inside: list[str], user: str = "") -> None:
        self._stack = stack
        words = [*inside, "unshare", f"-{user}nm", "sh", "-c", HOLD]
        self._holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(self._holder.wait)
        stack.callback(self._holder.stdin.close)
        assert self._holder.stdout.readline() == "ready\n"
        self.pid = self._holder.pid
        self.enter = ["nsenter", "-t", str(self.pid), "-U", "-n", "-m", f"--wd={REPOSITORY}"]
        self.enter.append("--preserve-credentials")

    def sh(self, command: str) -> str:
        return subprocess.run(
            [*self.enter, "sh", "-c", command], check=True, capture_output=True, text=True
        ).stdout

    def start(self, *words: str, log: Path | None = None, **changes: str) -> subprocess.Popen:
        """Start our Python in it, with ROS's default network settings but for `changes`."""
        network = (RANGE, *ELSEWHERE, *TRANSPORTS)
        environment = {n: v for n, v in os.environ.items() if n not in network} | changes
        with open(log or os.devnull, "w") as output:
            process = subprocess.Popen(
                [*self.enter, sys.executable, *words], env=environment, text=True,
                stdin=subprocess.PIPE, stdout=output if log else subprocess.PIPE,
                stderr=subprocess.STDOUT if log else None,
            )  # fmt: skip
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process


@pytest.fixture
def computers():
    """The robot's and the policy's computer, and a cable between them."""
    if why := obstacle():
        pytest.skip(why)
    with ExitStack() as stack:
        robot = Computer(stack, [], user="Ur")
        policy = Computer(stack, robot.enter)
        robot.sh(f"ip link add cable type veth peer name cable netns {policy.pid}")
        for computer, address in ((robot, ROBOT), (policy, POLICY)):
            computer.sh(f"ip addr add {address} dev cable && ip link set cable up")
        yield robot, policy


# What a node's process has decided by the time that it joins the graph.
DECIDED = """
import os, rclpy
from vla_adapter_ros.nodes.{kind} import main

def init(**_):
    print(os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE"), os.environ["FASTDDS_DEFAULT_PROFILES_FILE"])
    raise SystemExit

rclpy.init = init
main()
"""


@pytest.mark.parametrize(
    ("kind", "reach", "profile"),
    [
        ("simulator", "LOCALHOST", "fastdds_loopback.xml"),
        ("controller", "None", "fastdds_shm.xml"),
        ("recorder", "None", "fastdds_shm.xml"),
    ],
)
def test_a_node_that_is_run_alone_decides_as_a_launch_file_does(kind, reach, profile):
    network = (RANGE, *ELSEWHERE, *TRANSPORTS)
    environment = {name: value for name, value in os.environ.items() if name not in network}
    words = [sys.executable, "-c", DECIDED.format(kind=kind)]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=REPOSITORY)
    found, path = ended.stdout.split()
    assert (found, Path(path).name) == (reach, profile)
    assert Path(path).is_file()


def carried(computer: Computer) -> int:
    """Bytes that came over the cable."""
    return int(computer.sh("ip -s link show cable").split("RX:")[1].split("\n")[1].split()[0])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_policy_on_another_computer_moves_the_arm(computers, tmp_path):
    robot, policy = computers
    # The simulator stands in for the robot, so its user must ask for the network; policy and client are on it
    # by themselves.
    simulated = ("-m", "vla_adapter_ros.cli.main", "bringup", "--renderer", "raycast")
    robot.start(*simulated, "--no-policy", log=tmp_path / "robot.log", **{RANGE: "SUBNET"})
    # In lock step inference is never measured as too slow, however busy this machine is.
    sim_time = ("--ros-args", "-p", "use_sim_time:=true", "-p", "lock_step:=true")
    policy.start("-m", "vla_adapter_ros.nodes.policy", *sim_time, log=tmp_path / "policy.log")
    client = robot.start("test/ros/asking.py")
    client.stdin.write("pick up the red cube\n")
    client.stdin.flush()

    def logs() -> str:
        return "".join((tmp_path / f"{name}.log").read_text() for name in ("robot", "policy"))

    assert client.stdout.readline().startswith("accepted: instruction 1"), logs()
    deadline = time.monotonic() + PATIENCE_S
    while "idle -> running" not in (tmp_path / "robot.log").read_text():  # a chunk has moved the arm
        assert time.monotonic() < deadline, logs()
        time.sleep(0.1)
    image = 112 * 112 * 3
    assert carried(policy) > 10 * image
