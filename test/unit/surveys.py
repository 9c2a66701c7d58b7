"""What the graph of the simulated Franka says: a survey without ROS, for the tests of commissioning."""

from __future__ import annotations

from vla_adapter_ros.commissioning.survey import IMAGE, JOINT_STATE, Endpoint, GraphSurvey, TopicSurvey
from vla_adapter_ros.contract import Contract, in_namespace, read_contract
from vla_adapter_ros.observation.bag import TOPIC_TYPES

CONTRACT = read_contract("franka_sim")
SIMULATOR, CONTROLLER = "/simulator_node", "/controller_node"
ARRAY, TRAJECTORY = TOPIC_TYPES["float64_array"], TOPIC_TYPES["joint_trajectory"]
NAMES = ("fr3_finger_joint1", "fr3_finger_joint2", *CONTRACT.arm_joints)  # as the simulator sends them
HOME = (0.04, 0.04, 0.0, -0.6, 0.0, -2.4, 0.0, 1.8, 0.785)


def stream(kind: str, node: str = SIMULATOR, rate_hz: float = 100.0, **changes) -> TopicSurvey:
    """A topic that is published, and heard for three seconds."""
    values = {
        "publishers": (Endpoint(node, kind),),
        "heard": int(3 * rate_hz),
        "rate_hz": rate_hz,
        "delay_s": 0.001,
        "late_s": 0.004,
        "stamped": True,
    }
    return TopicSurvey(**values | changes)


def listener(kind: str, node: str = SIMULATOR) -> TopicSurvey:
    """A topic on which somebody awaits commands."""
    return TopicSurvey(subscriptions=(Endpoint(node, kind),))


def simulated(contract: Contract = CONTRACT) -> GraphSurvey:
    """The graph of simulator and controller; nobody demonstrates."""
    contract = in_namespace(contract, "")
    topics = {
        camera.topic: stream(IMAGE, rate_hz=10.0, size=camera.size, encoding="rgb8")
        for camera in contract.cameras.values()
    }
    topics |= {
        "/joint_states": stream(
            JOINT_STATE,
            names=(NAMES,),
            values=dict(zip(NAMES, HOME, strict=True)),
            counts={"position": 9, "velocity": 9, "effort": 0},
        ),
        "/end_effector_pose": stream(TOPIC_TYPES["pose"]),
        "/teleop/command": TopicSurvey(publishers=(Endpoint(SIMULATOR, JOINT_STATE),)),
        "/controller/command": stream(JOINT_STATE, CONTROLLER, names=(contract.action_names,)),
        contract.command.topic: TopicSurvey(
            publishers=(Endpoint(CONTROLLER, TRAJECTORY),), subscriptions=(Endpoint(SIMULATOR, TRAJECTORY),)
        ),
        contract.grippers[0].topic: listener(ARRAY),
    }
    return GraphSurvey(
        3.0,
        topics,
        (CONTROLLER, SIMULATOR),
        packages={"control_msgs": False},
        simulated_time=True,
    )
