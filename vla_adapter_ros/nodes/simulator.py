"""Simulator node: the topics and services that a real arm with two cameras would have, and /clock."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String

from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.msg import SceneState, StepAck
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.conversions import seconds, teleop_messages, to_stamp, twist_message
from vla_adapter_ros.nodes.driver_topics import subscribe_to_commands
from vla_adapter_ros.nodes.image_messages import array_to_image, camera_info
from vla_adapter_ros.nodes.parameters import SimulatorParameters, TrajectoryStart
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.nodes.simulated_joints import JointStates
from vla_adapter_ros.nodes.topics import ACK_QOS, ACK_TOPIC, DEPTH, LATCHED, SCENE_TOPIC
from vla_adapter_ros.simulation.drivers import DriverSettings
from vla_adapter_ros.simulation.experts import Expert, make_expert
from vla_adapter_ros.simulation.lock_step import LockStep
from vla_adapter_ros.simulation.meshes import robot_description
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.robot_models import robot_model
from vla_adapter_ros.srv import Demonstrate, ResetScene
from vla_adapter_ros.texts import comma_list

PERIOD_S = 0.01  # joint states, /clock and the expert run at 100 Hz


class SimulatorNode(ManagedNode[SimulatorParameters]):
    """Stands in for a robot; what it does is a `ConfiguredSimulator`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("simulator_node", SimulatorParameters, **options)

    def configure(self) -> ConfiguredSimulator:
        """Make the simulated robot in its thread, and everything that drivers would publish and hear."""
        return ConfiguredSimulator(self)


class ConfiguredSimulator(Configured[SimulatorParameters]):
    """One thread owns time, physics and rendering; callbacks hand it commands under a lock."""

    def __init__(self, node: SimulatorNode) -> None:
        super().__init__(node)
        contract, parameters = self.contract, self.parameters
        self._lock = threading.Lock()
        self._ended, self._going = threading.Event(), threading.Event()
        self._expert: Expert | None = None
        rate = parameters.camera_rate_hz or contract.rate_hz
        self._steps, self._newest_image = 0, 0.0
        self._image_every = max(1, round(1.0 / (rate * PERIOD_S)))
        awaited = tuple(filter(None, comma_list(parameters.awaited)))
        self._lock_step = LockStep(awaited, parameters.patience_s) if parameters.lock_step else None
        self._clock_topic = node.publish_on(Clock, "/clock", DEPTH)
        self._joints = JointStates(node, contract)
        poses = [topic for topic, entry in contract.topics.items() if entry.type == "pose"]
        self._poses = [node.publish_on(PoseStamped, topic, DEPTH) for topic in poses]
        measured = {d.topic for d in contract.state if contract.topics[d.topic].type == "twist"}
        self._twists = [node.publish_on(TwistStamped, topic, DEPTH) for topic in sorted(measured)]
        model = robot_model(contract.arm_joints, contract.name)
        if text := robot_description(model.source) if len(model.arms) == 1 else "":
            self._description = node.publish_on(String, ROBOT_DESCRIPTION, LATCHED, always=True)
            self._description.publish(String(data=text))
        self._scenes = node.publish_on(SceneState, SCENE_TOPIC, DEPTH)
        self._teleop = {g.topic: node.publish_on(JointState, g.topic, DEPTH) for g in contract.teleop_groups}
        self._cameras = {
            name: (
                node.publish_on(Image, camera.topic, qos_profile_sensor_data),
                node.publish_on(CameraInfo, _info_topic(camera.topic), qos_profile_sensor_data),
            )
            for name, camera in contract.cameras.items()
        }
        made: SimpleQueue[SimulatedRobot | Exception] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(made,), name="simulation", daemon=True)
        node.own(self._end_thread)
        self._thread.start()  # the thread that renders must also make the renderer
        robot = made.get()
        if isinstance(robot, Exception):
            raise robot
        self._robot = robot
        subscribe_to_commands(node, contract, lambda: self._robot, self._command)
        node.listen(StepAck, ACK_TOPIC, self._on_ack, ACK_QOS, always=True)
        node.serve(ResetScene, "simulator/reset", self._on_reset)
        node.serve(Demonstrate, "simulator/demonstrate", self._on_demonstrate)
        kind = "real time" if self._lock_step is None else "lock step"
        node.get_logger().info(f"renderer {robot.backend}, {kind}")

    def activate(self) -> None:
        """Let time pass."""
        if self._lock_step is not None:
            self._lock_step.resume()
        self._going.set()

    def deactivate(self) -> None:
        """Let time stand still."""
        self._going.clear()
        if self._lock_step is not None:
            self._lock_step.interrupt()
        with self._lock:
            pass  # the step that was under way is over

    def _end_thread(self) -> None:
        self._ended.set()
        self._going.set()
        if self._lock_step is not None:
            self._lock_step.interrupt()
        self._thread.join()

    # The simulation thread

    def _make_robot(self) -> SimulatedRobot:
        parameters = self.parameters
        settings = DriverSettings(
            parameters.path_tolerance,
            parameters.goal_tolerance,
            parameters.goal_time_s,
            parameters.interpolate_from is TrajectoryStart.DESIRED,
            parameters.command_timeout_s,
            parameters.response_delay_s,
        )
        robot = SimulatedRobot(self.contract, parameters.renderer, settings=settings, table=parameters.table)
        robot.reset(parameters.seed)
        return robot

    def _run(self, made: SimpleQueue[SimulatedRobot | Exception]) -> None:
        """Make the robot, hand it or the error over, and simulate until the end."""
        try:
            robot = self._make_robot()
        except Exception as error:
            made.put(error)
            return
        made.put(robot)
        try:
            while not self._ended.is_set():
                self._going.wait()
                self._simulate()
        except Exception as error:  # a simulator that stands still must not look alive
            if not self._ended.is_set():
                self.node.get_logger().fatal(f"simulation ended: {error!r}")
                rclpy.try_shutdown()
        finally:
            robot.close()

    def _simulate(self) -> None:
        """Let time go on until the node is deactivated."""
        lock_step = self._lock_step
        if lock_step is not None and not lock_step.wait_for_start():
            return
        wall = time.monotonic()
        while not self._ended.is_set():
            if lock_step is not None:  # a deactivation may have cut short the wait after the last step
                self._wait_for_nodes(lock_step)
            with self._lock:
                if not self._going.is_set():
                    return
                self._step()
            if lock_step is None:
                wall += PERIOD_S / self.parameters.real_time_factor
                time.sleep(max(0.0, wall - time.monotonic()))
                wall = max(wall, time.monotonic() - 0.1)  # behind: do not rush to catch up

    def _step(self) -> None:
        self._steps += 1
        self._robot.advance(PERIOD_S)
        now = self._robot.time
        images = {}
        if self._steps % self._image_every == 0:
            self._newest_image = now
            images = {name: self._robot.render(name) for name in self._cameras}
        self._publish(now, images)
        if self._robot.problem:
            self.node.faults.report("trajectory dropped", self._robot.problem)

    def _wait_for_nodes(self, lock_step: LockStep) -> None:
        now = self._robot.time if self._steps else 0.0
        for node in lock_step.wait(now, self._newest_image):
            self.node.faults.report("lock step", f"gave up waiting for {node} at {now:.2f} s")

    def _publish(self, now: float, images: dict[str, np.ndarray]) -> None:
        stamp = to_stamp(now)
        robot = self._robot
        self._joints.publish(robot, stamp)
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id = stamp, self._robot.model.base_frame
        x, y, z, qx, qy, qz, qw = robot.tool_pose().tolist()
        pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = x, y, z
        orientation = pose.pose.orientation
        orientation.x, orientation.y, orientation.z, orientation.w = qx, qy, qz, qw
        for publisher in self._poses:
            publisher.publish(pose)
        for publisher in self._twists:
            publisher.publish(twist_message(robot.tool_twist(), self._robot.model.base_frame, now))
        if self._expert is not None:
            self._teleoperate(self._expert, now)
        for name, image in images.items():
            self._publish_image(name, image, stamp)
        if images:
            positions = robot.object_positions()
            scene = SceneState(objects=list(positions), lifted=robot.lifted())
            scene.positions = [float(value) for position in positions.values() for value in position]
            scene.header.stamp, scene.header.frame_id = stamp, self._robot.model.base_frame
            self._scenes.publish(scene)
        self._clock_topic.publish(Clock(clock=stamp))

    def _teleoperate(self, expert: Expert, now: float) -> None:
        """Publish the expert's command as a human's device would; an expert at a loss lets go."""
        try:
            command = expert.command(now)
        except VlaAdapterError as error:
            self._expert = None
            self.node.faults.report("expert", f"it gives up: {error}")
            return
        for topic, message in teleop_messages(self.contract, command, now).items():
            self._teleop[topic].publish(message)

    def _publish_image(self, name: str, image: np.ndarray, stamp: Time) -> None:
        message = array_to_image(image, f"{name}_optical_frame")
        message.header.stamp = stamp
        info = camera_info(message, math.radians(float(self._robot.world.model.camera(name).fovy[0])))
        publisher, info_publisher = self._cameras[name]
        publisher.publish(message)
        info_publisher.publish(info)

    # Callbacks

    def _on_ack(self, message: StepAck) -> None:
        if self._lock_step is not None:
            stamp = seconds(message.stamp)
            self._lock_step.acknowledge(message.node, stamp, message.inputs, message.outputs)

    def _command(self, action: Callable[[], None]) -> None:
        if self.node.active:
            try:
                with self._lock:
                    action()
            except VlaAdapterError as error:
                self.node.faults.report("command refused", str(error))
        if self._lock_step is not None:
            self._lock_step.receive()

    def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        try:
            with self._lock:
                scene = self._robot.reset(request.seed, tuple(request.objects))
                self._expert = None
                response.stamp = to_stamp(self._robot.time)
            response.success, response.objects = True, list(scene.names)
            response.message = f"scene {request.seed}: {', '.join(scene.names)}"
        except VlaAdapterError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_demonstrate(
        self, request: Demonstrate.Request, response: Demonstrate.Response
    ) -> Demonstrate.Response:
        try:
            with self._lock:
                self._expert = make_expert(self._robot, request.target) if request.target else None
                on = bool(request.target)
                self._robot.set_disturbance(on * request.disturbance, request.seed, on * request.slips)
            response.accepted = True
            response.message = f"at work on {request.target}" if request.target else "let go"
        except VlaAdapterError as error:
            response.accepted, response.message = False, str(error)
        return response


def _info_topic(image_topic: str) -> str:
    return "".join(image_topic.rpartition("/")[:2]) + "camera_info"


def main() -> int:
    """Entry point of `simulator_node`."""
    return run(SimulatorNode, simulate=True)


if __name__ == "__main__":
    raise SystemExit(main())
