"""The world of others behind the real node graph: this process is its simulator, in lock step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState

from vla_adapter_ros.choices import EXECUTION_HORIZON
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import ServiceError
from vla_adapter_ros.evaluation.conditions import Conditions
from vla_adapter_ros.evaluation.libero_suite import LiberoSuite
from vla_adapter_ros.evaluation.metaworld import MetaWorldSuite
from vla_adapter_ros.evaluation.suite import EndingJudge, Plan
from vla_adapter_ros.msg import StepAck
from vla_adapter_ros.nodes.conversions import seconds, to_stamp
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.image_messages import array_to_image
from vla_adapter_ros.nodes.instruct_client import InstructClient
from vla_adapter_ros.nodes.parameters import ControllerMode
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.topics import ACK_QOS, ACK_TOPIC, DEPTH
from vla_adapter_ros.simulation.lock_step import LockStep
from vla_adapter_ros.simulation.worlds.process import WorldProcess, WorldState

PERIOD_S = 0.01
ROW_TOPIC = "controller_node/row"
PATIENCE_S = 60.0  # wall time for a node to handle what it was given
READY_WITHIN_S = 20.0  # simulated time for policy and controller to be ready for an instruction
_AT_REST_S = 0.3  # after an episode


def world_nodes(
    wanted: Conditions, contract: str, device: str, horizon: int = EXECUTION_HORIZON
) -> list[NodeSpec]:
    """Policy and controller: rows come out of the controller as they are."""
    common = {"contract": contract, "lock_step": True, "use_sim_time": True}
    mode = {"armed": True, "mode": str(ControllerMode.ROW_PASS_THROUGH)}
    loaded = {"checkpoint": wanted.checkpoint, "device": device, "execution_horizon": horizon}
    return [NodeSpec("controller", common | mode), NodeSpec("policy", common | loaded)]


class Driven(NamedTuple):
    """What came of an episode through the nodes."""

    judge: EndingJudge
    instruction: str
    steps: int
    """Of the simulator."""
    chunks: int
    rows: np.ndarray
    """Those that came out of the controller and were carried out, float64 (N, A)."""


class WorldBridge(RosClient):
    """Publishes clock, cameras and joints of a world, and steps it by the rows that the controller sends.

    A row is carried out from its time on, for the steps of a row. Until the first row of an episode the world
    stands still, as its time is counted in steps.

    Args:
        contract: Of the world's robot.
        world: Is reset and stepped.
        suite: Whose episodes.
        check_alive: Called while waiting; raises when the graph has died.
    """

    def __init__(
        self,
        contract: Contract,
        world: WorldProcess,
        suite: MetaWorldSuite | LiberoSuite,
        check_alive: Callable[[], None],
    ) -> None:
        super().__init__("world_simulator", check_alive=check_alive)
        self._contract, self._world, self._suite = contract, world, suite
        self._lock_step = LockStep(("controller", "policy"), PATIENCE_S)
        self._ticks, self._image_every = 0, round(1.0 / (contract.rate_hz * PERIOD_S))
        self._changed = threading.Condition()
        self._row: tuple[float, np.ndarray] | None = None  # the newest, and its time [s]
        self._chunks = 0  # of the policy so far
        create = self.node.create_publisher
        self._clock = create(Clock, "/clock", DEPTH)
        self._joints = create(JointState, contract.joint_state_topic, DEPTH)
        self._cameras = {
            name: create(Image, camera.topic, qos_profile_sensor_data)
            for name, camera in contract.cameras.items()
        }
        self.subscribe(JointState, ROW_TOPIC, self._on_row, QoSProfile(depth=100))
        self.subscribe(StepAck, ACK_TOPIC, self._on_ack, ACK_QOS)
        self._policy = InstructClient(self)

    @property
    def now(self) -> float:
        """Simulated time [s]."""
        return self._ticks * PERIOD_S

    def run(self, plan: Plan, longest_steps: int) -> Driven:
        """Let the nodes do what a plan asks for.

        Args:
            plan: What is asked for.
            longest_steps: Of the simulator.

        Raises:
            ServiceError: the instruction was refused, or a row did not come.
            SimulationError: the world has ended.
        """
        judge, steps, rows = self._suite.judge(), 0, []
        state = self._world.reset(self._suite.world_task(plan), plan.scene)
        text = plan.instruction or str(state.facts["instruction"])
        self._instruct(text, state)
        before, given = self._chunks, self.now
        while steps < longest_steps and not state.over:
            begun = self.now
            for _ in range(self._image_every - 1):
                self._tick(state)
            if self._chunks > before:
                row = self._row_since(begun)
                state = self._world.step([row] * min(self._suite.steps_per_row, longest_steps - steps))
                judge.look(state)
                rows.append(row)
                steps += state.taken
            elif begun > given + READY_WITHIN_S:
                raise ServiceError(f"the policy sent no chunk within {READY_WITHIN_S:g} s")
            self._tick(state)  # with the images of what the row has done
        chunks = self._chunks - before
        self._instruct("", state)
        for _ in range(round(_AT_REST_S / PERIOD_S)):
            self._tick(state)
        return Driven(judge, text, steps, chunks, np.array(rows))

    def _instruct(self, text: str, state: WorldState) -> None:
        end = self.now + READY_WITHIN_S
        while True:
            for _ in range(2 * self._image_every):
                self._tick(state)
            answer = self._policy.give(text, found_within_s=PATIENCE_S)
            if answer.accepted:
                return
            if self.now > end:
                raise ServiceError(f"the policy refused the instruction: {answer.message}")
            time.sleep(0.1)

    def _tick(self, state: WorldState) -> None:
        """Let a period pass: publish what is due, and wait until all of it has been handled."""
        self.check_alive()
        self._lock_step.wait_for_start()
        self._ticks += 1
        stamp, image = to_stamp(self.now), self._ticks // self._image_every * self._image_every * PERIOD_S
        message = JointState(name=[d.joint for d in self._contract.state], position=state.state.tolist())
        message.header.stamp = stamp
        self._joints.publish(message)
        if self._ticks % self._image_every == 0:
            pictures = self._world.look(self._contract.camera_names)
            for (name, publisher), picture in zip(self._cameras.items(), pictures, strict=True):
                shown = array_to_image(picture, f"{name}_optical_frame")
                shown.header.stamp = stamp
                publisher.publish(shown)
        self._clock.publish(Clock(clock=stamp))
        self._think(self._ticks % self._image_every == 0)
        for node in self._lock_step.wait(self.now, image):
            raise ServiceError(f"{node} did not handle {self.now:.2f} s within {PATIENCE_S:g} s")

    def _think(self, seen: bool) -> None:
        """Hook for who decides in this process, instead of a policy node.

        Args:
            seen: Whether there are new pictures.
        """

    def _row_since(self, begun: float) -> np.ndarray:
        """The row whose time is in the interval from `begun` [s] on."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while self._row is None or self._row[0] < begun - 1e-6:
                if (left := deadline - time.monotonic()) <= 0:
                    raise ServiceError(f"no row came from the controller at {begun:.2f} s")
                self._changed.wait(left)
            return self._row[1]

    def _on_row(self, message: JointState) -> None:
        with self._changed:
            self._row = seconds(message.header.stamp), np.array(message.position)
            self._changed.notify_all()

    def _on_ack(self, message: StepAck) -> None:
        stamp = seconds(message.stamp)
        if message.node == "policy":
            self._chunks = message.outputs
        self._lock_step.acknowledge(message.node, stamp, message.inputs, message.outputs)
