"""Cameras and an arm that publish at fixed rates, each in a process of its own.

    python -m vla_adapter_ros.benchmarks.recording_sources camera CONTRACT NAME RATE PHASE LOG
    python -m vla_adapter_ros.benchmarks.recording_sources arm CONTRACT RATE LOG

They run until they are interrupted, and then write the stamps [s] of all their
messages into LOG (.npy), image n being the n-th. Images are stamped with the
moment in which a camera would have taken them, however late they are sent, and
joint states with the moment in which they are read, as drivers do.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from vla_adapter_ros.benchmarks.recording_frames import SceneMaker
from vla_adapter_ros.contract import Contract, read_contract


def ticks(rate_hz: float, phase_s: float = 0.0) -> Iterator[int]:
    """Count on absolute deadlines, until interrupted; what is late is not left out."""
    start = time.monotonic() + phase_s
    number = 0
    while True:
        time.sleep(max(0.0, start + number / rate_hz - time.monotonic()))
        yield number
        number += 1


def run_camera(contract: Contract, name: str, rate_hz: float, phase_s: float, log: str) -> None:
    """Publish numbered images."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    from vla_adapter_ros.nodes.conversions import seconds, to_stamp
    from vla_adapter_ros.nodes.image_messages import array_to_image

    camera = contract.cameras[name]
    node = rclpy.create_node(f"camera_{name}")
    publisher = node.create_publisher(Image, camera.topic, qos_profile_sensor_data)
    fixed = name == contract.reference_camera
    maker = SceneMaker(camera.width, camera.height, seed=sum(name.encode()), fixed=fixed)
    stamps: list[float] = []
    start = node.get_clock().now().nanoseconds * 1e-9 + phase_s
    try:
        for number in ticks(rate_hz, phase_s):
            message = array_to_image(maker.image(number), name)
            message.header.stamp = to_stamp(start + number / rate_hz)
            publisher.publish(message)
            stamps.append(seconds(message.header.stamp))
    except KeyboardInterrupt:
        np.save(log, np.array(stamps))


def run_arm(contract: Contract, rate_hz: float, log: str, *, led: bool = True) -> None:
    """Publish joint states of an arm: a moving one with the commands that lead it, or one at rest without."""
    import rclpy
    from sensor_msgs.msg import JointState

    from vla_adapter_ros.nodes.conversions import seconds, to_stamp

    node = rclpy.create_node("arm")
    states = node.create_publisher(JointState, contract.joint_state_topic, 10)
    commands = node.create_publisher(JointState, contract.action.topic, 10) if led else None
    middle = {name: sum(limit.position) / 2 for name, limit in contract.limits.items()}
    stamps: list[float] = []
    swing = 0.2 if led else 0.0
    motion: Callable[[float], float] = lambda t: swing * float(np.sin(2 * np.pi * t / 4))  # noqa: E731
    try:
        for number in ticks(rate_hz):
            t = number / rate_hz
            stamp = to_stamp(node.get_clock().now().nanoseconds * 1e-9)
            closed = int(t / 2) % 2 if led else 0
            measured = {joint: value + motion(t) for joint, value in middle.items()}
            commanded = {joint: value + motion(t + 0.1) for joint, value in middle.items()}
            values = np.array([commanded.get(joint, 0.0) for joint in contract.action_joints])
            for place, gripper in zip(contract.gripper_places, contract.grippers, strict=True):
                measured[gripper.joint] = gripper.closed_position if closed else gripper.open_position
                values[place] = gripper.closed if closed else gripper.open
            state = JointState(name=list(measured), position=list(measured.values()))
            command = JointState(name=list(contract.action_names), position=values.tolist())
            state.header.stamp = command.header.stamp = stamp
            states.publish(state)
            if commands is not None:
                commands.publish(command)
            stamps.append(seconds(stamp))
    except KeyboardInterrupt:
        np.save(log, np.array(stamps))


def main(arguments: list[str]) -> None:
    """Run one source."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    kind, contract, *rest = arguments
    if kind == "camera":
        name, rate, phase, log = rest
        run_camera(read_contract(contract), name, float(rate), float(phase), log)
    else:
        rate, log = rest
        run_arm(read_contract(contract), float(rate), log, led=kind == "arm")
    rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
