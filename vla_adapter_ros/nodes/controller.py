"""Controller node: action chunks and teleoperation in, limited commands to arms and grippers out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty
from std_srvs.srv import Trigger

from vla_adapter_ros.capsule.folder import Half
from vla_adapter_ros.control import Chunk
from vla_adapter_ros.control.command_parts import CommandParts
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.errors import ChunkError, ContractError
from vla_adapter_ros.msg import ActionChunk
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.capsule_halves import controller_content
from vla_adapter_ros.nodes.capsule_saver import CapsuleSaver
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.control_thread import ControlThread
from vla_adapter_ros.nodes.conversions import JointReader, chunk_of, seconds, teleop_part
from vla_adapter_ros.nodes.foreign_publishers import foreign_publisher
from vla_adapter_ros.nodes.parameters import ControllerMode, ControllerParameters
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.nodes.robot_description import watch_description
from vla_adapter_ros.nodes.streams import best_effort
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC, DEPTH, NEWEST
from vla_adapter_ros.srv import Home, SetSpeed

HEARS_ALL = best_effort(10)
WATCH_S = 1.0  # between two looks at the graph


class ControllerNode(ManagedNode[ControllerParameters]):
    """Moves the arm, within its limits; what it does is a `ConfiguredController`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("controller_node", ControllerParameters, **options)

    def configure(self) -> ConfiguredController:
        """Make the core, the outputs to the drivers, and everything the node hears and serves."""
        return ConfiguredController(self)


class ConfiguredController(Configured[ControllerParameters]):
    """Hands what comes to the core under a lock; a `ControlThread` ticks the core, and sends without it.

    The thread keeps holding when everything else is gone.
    """

    def __init__(self, node: ControllerNode) -> None:
        super().__init__(node)
        contract, mode = self.contract, self.parameters.mode
        self.parameters.require_command_delay(contract)
        self.parameters.require_speed()
        if not contract.hand_guided and contract.command_topics != {contract.action.topic: "joint_state"}:
            raise ContractError(
                f"contract.action: commands on {contract.command_topics}: allowed to drive a robot are "
                "joint states on action.topic alone; other types are for recording and for bags"
            )
        self._thread = ControlThread(node)
        self._core, self._lock = self._thread.core, self._thread.lock
        self._chunk_kinematics: ArmKinematics | None = None
        self._driven = contract.driven_topics if mode.sends_commands else ()
        self._chunks = node.resolve_topic_name(CHUNK_TOPIC)
        for topic in contract.joint_state_topics:
            hear = partial(self._on_joints, topic, JointReader(contract, topic))
            node.listen(JointState, topic, hear, HEARS_ALL)
        self._human_parts = CommandParts(contract)
        for number, group in enumerate(contract.teleop_groups):
            node.listen(JointState, group.topic, partial(self._on_teleop, number), HEARS_ALL)
        if contract.teleop.takeover_topic:
            node.listen(Bool, contract.teleop.takeover_topic, self._on_clutch, HEARS_ALL)
        node.listen(ActionChunk, CHUNK_TOPIC, self._on_chunk, NEWEST, always=True)
        node.listen(Bool, "~/software_stop", self._on_software_stop, DEPTH)
        if contract.safety.deadman_topic:
            node.listen(Bool, contract.safety.deadman_topic, self._on_deadman, HEARS_ALL)
        if contract.safety.operator_timeout_s > 0:
            node.listen(Empty, "~/operator_alive", self._on_operator, DEPTH)
        for name, act in (
            ("arm", self._core.arm),
            ("hold", self._core.hold),
            ("stop", self._core.stop),
            ("reset", self._core.reset),
        ):
            node.serve(Trigger, f"~/{name}", self._service(name, act))
        node.serve(Home, "~/home", self._on_home)
        node.serve(SetSpeed, "~/set_speed", self._on_set_speed)
        self._capsules = CapsuleSaver(node, Half.CONTROLLER, lambda: controller_content(node, self._thread))
        self._thread.on_failure = self._capsules.note_fault
        watch_description(node, contract, self._set_kinematics, node.diagnose)
        node.every(WATCH_S, self._watch_graph, steady=True)
        if not mode.sends_commands:
            node.get_logger().warning(f"mode {mode}: no commands are sent; state {self._core.state}")

    def activate(self) -> None:
        """Start the control thread; nothing moves by that."""
        self._thread.start()

    def deactivate(self) -> None:
        """Bring the arm to rest."""
        self._thread.come_to_rest()

    def _on_joints(self, topic: str, reader: JointReader, message: JointState) -> None:
        now = self.node.now()
        stamp = now if self.contract.topics[topic].time == "receive" else seconds(message.header.stamp)
        positions = reader.positions(message)
        with self._lock:
            self._core.measure(positions, stamp, now)

    def _on_teleop(self, number: int, message: JointState) -> None:
        now, group = self.node.now(), self.contract.teleop_groups[number]
        stamp = now if self.contract.teleop.time == "receive" else seconds(message.header.stamp)
        with self._lock:
            part = teleop_part(message, self.contract, group)
            whole = self._human_parts.add_part(number, part, stamp)
            if whole is None:
                return
            if self.parameters.mode is ControllerMode.SHADOW:
                self._thread.human = whole[0], now
            else:
                self._core.accept_teleop(*whole, now)

    def _on_clutch(self, message: Bool) -> None:
        with self._lock:
            self._core.clutch(message.data)

    def _on_chunk(self, message: ActionChunk) -> None:
        """Follow a chunk. What takes long, in it or in a hostile one, is done without the lock."""
        # The sequence and not a count: of two chunks in quick succession the first may be replaced.
        self._thread.newest_chunk = message.sequence
        with self.node.boundary(f"{self._chunks} refused"):
            try:
                self._follow(chunk_of(message))
            except ChunkError as error:
                with self._lock:
                    self._core.refuse_chunk(error)
                raise
        if self.node.active:
            self._thread.acknowledge_inputs()

    def _follow(self, chunk: Chunk) -> None:
        with self._lock:
            if not self.node.active:  # what was asked for meanwhile must not begin with the activation
                self._core.miss_chunk(chunk)
                return
            start, kinematics = self._core.chunk_start(chunk, self.node.now()), self._chunk_kinematics
        smooth = self._core.chunk_rows(chunk, start, kinematics)
        with self._lock:
            self._core.follow_chunk(chunk, smooth, self.node.now())
            if self._thread.rows is not None:
                self._thread.rows.accept(chunk)

    def _on_software_stop(self, message: Bool) -> None:
        if message.data:  # latched: false does not start anything, ~/reset does
            with self._lock:
                self._core.stop()

    def _on_deadman(self, message: Bool) -> None:
        with self._lock:
            self._core.deadman(message.data, self.node.now())

    def _on_operator(self, _: Empty) -> None:
        with self._lock:
            self._core.hear_operator(self.node.now())

    def _set_kinematics(self, build: Callable[[], ArmKinematics]) -> None:
        # One for the control thread, what is sent, chunks and the look ahead each: none serves two threads.
        for_core, for_output, for_chunks, for_ahead = (build() for _ in range(4))
        with self._lock:
            self._core.set_kinematics(for_core)
            self._chunk_kinematics = for_chunks
            self._thread.ahead.set_kinematics(for_ahead)
            for arm in self._thread.arms:  # only Cartesian commands use it, and they have one output
                arm.kinematics = for_output

    def _service(self, name: str, act: Callable[[], tuple[bool, str]]) -> Callable[[Any, Any], Any]:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            if name == "arm":
                self._watch_graph()
            with self._lock:
                response.success, response.message = act()
                self._thread.person_acted = True
            return response

        return answer

    def _on_home(self, request: Home.Request, response: Home.Response) -> Home.Response:
        self._watch_graph()
        return self._begin(response, lambda: self._core.home(request.joint_names, request.positions))

    def _on_set_speed(self, request: SetSpeed.Request, response: SetSpeed.Response) -> SetSpeed.Response:
        return self._begin(response, lambda: self._core.set_speed(request.speed))

    def _begin(self, response: Any, act: Callable[[], tuple[bool, str]]) -> Any:
        """Let what is asked for begin, and fill the response; in modes that move nothing it is refused."""
        if not self.parameters.mode.needs_arming:
            response.message = f"mode {self.parameters.mode}: this controller moves nothing"
            return response
        with self._lock:
            response.success, response.message = act()
        if response.success:
            self.node.get_logger().info(response.message)
        return response

    def _watch_graph(self) -> None:
        """Look for others who drive the arm, and whether the policy is still there."""
        foreign = foreign_publisher(self.node, self._driven, self.contract.teleop.publishers)
        gone = self.node.count_publishers(self._chunks) == 0
        with self._lock:
            self._core.foreign(foreign)
            if gone:
                self._core.end_instruction("the policy is gone")


def main() -> int:
    """Entry point of `controller_node`."""
    return run(ControllerNode)


if __name__ == "__main__":
    raise SystemExit(main())
