"""Simulator node: the topics and services that a real arm with two cameras would have, and /clock."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.msg import SceneState, StepAck
from vla_adapter_ros.nodes.base import ACK_QOS, ACK_TOPIC, ManagedNode
from vla_adapter_ros.nodes.conversions import seconds, teleop_messages, to_stamp, twist_message
from vla_adapter_ros.nodes.description import DESCRIPTION_QOS
from vla_adapter_ros.nodes.drivers import subscribe_to_commands
from vla_adapter_ros.nodes.images import array_to_image, camera_info
from vla_adapter_ros.nodes.parameters import SimulatorParameters, TrajectoryStart
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.simulation.drivers import DriverSettings
from vla_adapter_ros.simulation.expert import PickExpert
from vla_adapter_ros.simulation.lock_step import LockStep
from vla_adapter_ros.simulation.meshes import robot_description
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.robot_models import robot_model
from vla_adapter_ros.srv import Demonstrate, ResetScene
from vla_adapter_ros.texts import comma_list

PERIOD_S = 0.01  # joint states, /clock and the expert run at 100 Hz


class SimulatorNode(ManagedNode):
    """One thread owns time, physics and rendering; callbacks hand it commands under a lock."""

    def __init__(self, **options: Any) -> None:
        super().__init__("simulator_node", SimulatorParameters, **options)

    def configure(self) -> None:
        """Make the world, its topics and services, and the thread that runs both."""
        contract, parameters = self.contract, self.parameters
        self._lock = threading.Lock()
        self._ended, self._ready, self._going = threading.Event(), threading.Event(), threading.Event()
        self._failure: Exception | None = None
        self._expert: PickExpert | None = None
        rate = parameters.camera_rate_hz or contract.rate_hz
        self._steps, self._newest_image = 0, 0.0
        self._image_every = max(1, round(1.0 / (rate * PERIOD_S)))
        self._lock_step = None
        if parameters.lock_step:
            awaited = tuple(filter(None, comma_list(parameters.awaited)))
            self._lock_step = LockStep(awaited, parameters.patience_s)
        depth = QoSProfile(depth=10)
        self._clock_topic = self.publish_on(Clock, "/clock", depth)
        self._joints = [self.publish_on(JointState, topic, depth) for topic in _joint_state_topics(contract)]
        poses = [topic for topic, entry in contract.topics.items() if entry.type == "pose"]
        self._poses = [self.publish_on(PoseStamped, topic, depth) for topic in poses]
        measured = {d.topic for d in contract.state if contract.topics[d.topic].type == "twist"}
        self._twists = [self.publish_on(TwistStamped, topic, depth) for topic in sorted(measured)]
        model = robot_model(contract.arm_joints, contract.name)
        if text := robot_description(model.source) if len(model.arms) == 1 else "":
            self._description = self.publish_on(String, ROBOT_DESCRIPTION, DESCRIPTION_QOS, always=True)
            self._description.publish(String(data=text))
        self._scenes = self.publish_on(SceneState, "simulator/scene", depth)
        self._teleop = {g.topic: self.publish_on(JointState, g.topic, depth) for g in contract.teleop_groups}
        self._cameras = {
            name: (
                self.publish_on(Image, camera.topic, qos_profile_sensor_data),
                self.publish_on(CameraInfo, _info_topic(camera.topic), qos_profile_sensor_data),
            )
            for name, camera in contract.cameras.items()
        }
        subscribe_to_commands(self, contract, lambda: self._robot, self._command)
        self.listen(StepAck, ACK_TOPIC, self._on_ack, ACK_QOS, always=True)
        self.serve(ResetScene, "simulator/reset", self._on_reset)
        self.serve(Demonstrate, "simulator/demonstrate", self._on_demonstrate)
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self.own(self._end_thread)
        self._thread.start()  # the thread that renders must also make the renderer
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        self.get_logger().info(
            f"renderer {self._robot.backend}, {'lock step' if self._lock_step else 'real time'}"
        )

    def activate(self) -> None:
        """Let time run."""
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

    def _run(self) -> None:
        try:
            parameters = self.parameters
            settings = DriverSettings(
                parameters.path_tolerance,
                parameters.goal_tolerance,
                parameters.goal_time_s,
                parameters.interpolate_from is TrajectoryStart.DESIRED,
                parameters.command_timeout_s,
            )
            self._robot = SimulatedRobot(self.contract, parameters.renderer, settings=settings)
            self._robot.reset(self.parameters.seed)
        except Exception as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        try:
            while not self._ended.is_set():
                self._going.wait()
                self._simulate()
        except Exception as error:  # a simulator that stands still must not look alive
            if not self._ended.is_set():
                self.get_logger().fatal(f"simulation ended: {error!r}")
                rclpy.try_shutdown()
        finally:
            self._robot.close()

    def _simulate(self) -> None:
        """Let time go on until the node is deactivated."""
        if self._lock_step is not None and not self._lock_step.wait_for_start():
            return
        wall = time.monotonic()
        while not self._ended.is_set():
            if self._lock_step is not None:  # a deactivation may have cut short the wait after the last step
                self._wait_for_nodes()
            with self._lock:
                if not self._going.is_set():
                    return
                self._step()
            if self._lock_step is None:
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
            self.diagnose(f"trajectory dropped: {self._robot.problem}")

    def _wait_for_nodes(self) -> None:
        now = self._robot.time if self._steps else 0.0
        for node in self._lock_step.wait(now, self._newest_image):
            self.diagnose(f"lock step: gave up waiting for {node} at {now:.2f} s")

    def _publish(self, now: float, images: dict[str, np.ndarray]) -> None:
        stamp = to_stamp(now)
        robot = self._robot
        # Like real drivers: grippers first, so the order is not the kinematic one.
        arm = len(robot.model.joints)
        order = [*range(arm, len(robot.joint_names)), *range(arm)]
        joints = JointState(
            name=[robot.joint_names[i] for i in order],
            position=robot.joint_positions()[order].tolist(),
            velocity=robot.joint_velocities()[order].tolist(),
        )
        joints.header.stamp = stamp
        for publisher in self._joints:
            publisher.publish(joints)
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
            self._teleoperate(now)
        for name, image in images.items():
            self._publish_image(name, image, stamp)
        if images:
            positions = robot.object_positions()
            scene = SceneState(objects=list(positions), lifted=robot.lifted())
            scene.positions = [float(value) for position in positions.values() for value in position]
            scene.header.stamp, scene.header.frame_id = stamp, self._robot.model.base_frame
            self._scenes.publish(scene)
        self._clock_topic.publish(Clock(clock=stamp))

    def _teleoperate(self, now: float) -> None:
        """Publish the expert's command as a human's device would; an expert at a loss lets go."""
        try:
            command = self._expert.command(now)
        except VlaAdapterError as error:
            self._expert = None
            self.diagnose(f"the expert gives up: {error}")
            return
        for topic, message in teleop_messages(self.contract, command, now).items():
            self._teleop[topic].publish(message)

    def _publish_image(self, name: str, image: np.ndarray, stamp) -> None:
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

    def _command(self, action) -> None:
        if self.active:
            try:
                with self._lock:
                    action()
            except VlaAdapterError as error:
                self.diagnose(f"command refused: {error}")
        if self._lock_step is not None:
            self._lock_step.receive()

    def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        try:
            with self._lock:
                scene = self._robot.reset(request.seed, tuple(request.objects))
                self._expert = None
                response.stamp = to_stamp(self._robot.time)
            response.success, response.objects = True, list(scene.colors)
            response.message = f"scene {request.seed}: {', '.join(scene.colors)}"
        except VlaAdapterError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_demonstrate(
        self, request: Demonstrate.Request, response: Demonstrate.Response
    ) -> Demonstrate.Response:
        try:
            with self._lock:
                self._expert = PickExpert(self._robot, request.target) if request.target else None
                self._robot.set_disturbance(request.disturbance if request.target else 0.0, request.seed)
            response.accepted = True
            response.message = f"picking up {request.target}" if request.target else "let go"
        except VlaAdapterError as error:
            response.accepted, response.message = False, str(error)
        return response


def _joint_state_topics(contract: Contract) -> list[str]:
    """Topics of joint states that the contract's state reads; the simulator says everything on each."""
    read = {d.topic for d in contract.state}
    return [topic for topic in contract.joint_state_topics if topic in read]


def _info_topic(image_topic: str) -> str:
    return image_topic.rsplit("/", 1)[0] + "/camera_info"


def main() -> int:
    """Entry point of `simulator_node`."""
    return run(SimulatorNode, simulate=True)


if __name__ == "__main__":
    raise SystemExit(main())
