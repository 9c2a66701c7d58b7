"""Checks of where commands go and come from: controllers, grippers, humans, and who else drives the arm."""

from __future__ import annotations

from vla_adapter_ros.commissioning.results import Results, nearest
from vla_adapter_ros.commissioning.streams import check_stamps
from vla_adapter_ros.commissioning.survey import JOINT_STATE, Controller, GraphSurvey, TopicSurvey
from vla_adapter_ros.commissioning.value_checks import is_another_unit
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace, CommandType, GripperCommandType, TakeoverKind
from vla_adapter_ros.contract.schema import CommandGroup, TeleopGroup
from vla_adapter_ros.observation.bag import TOPIC_TYPES

TRAJECTORY, ARRAY = TOPIC_TYPES["joint_trajectory"], TOPIC_TYPES["float64_array"]
BOOL = "std_msgs/msg/Bool"
COMMAND_TYPES = {
    CommandType.JOINT_TRAJECTORY: TRAJECTORY,
    CommandType.FORWARD_POSITION: ARRAY,
    CommandType.FORWARD_VELOCITY: ARRAY,
    CommandType.CARTESIAN_POSE: TOPIC_TYPES["pose"],
    CommandType.CARTESIAN_TWIST: TOPIC_TYPES["twist"],
}
"""What an arm's controller is sent."""
GRIPPER_TYPES = {GripperCommandType.FORWARD_POSITION: ARRAY, GripperCommandType.JOINT_TRAJECTORY: TRAJECTORY}
GRIPPER_ACTION = "control_msgs/action/GripperCommand"


def check_commands(contract: Contract, survey: GraphSurvey, results: Results) -> None:
    """Every topic on which the arm and its grippers are told something, or on which a human tells."""
    for i, group in enumerate(contract.command_groups):
        where = f"command.groups[{i}]" if contract.command.groups else "command"
        kind = COMMAND_TYPES[contract.command.type]
        _listener(where, group.topic, kind, str(contract.command.type), survey, results)
        _strangers(where, group.topic, contract.teleop.publishers, survey, results)
        _controller(where, group, contract, survey, results)
    for i, gripper in enumerate(contract.grippers):
        where = f"grippers[{i}]"
        if gripper.type is GripperCommandType.GRIPPER_COMMAND:
            _action(where, gripper.topic, survey, results)
        else:
            _listener(where, gripper.topic, GRIPPER_TYPES[gripper.type], str(gripper.type), survey, results)
            _strangers(where, gripper.topic, contract.teleop.publishers, survey, results)
    _strangers("action", contract.action.topic, (), survey, results)
    _humans(contract, survey, results)
    _switches(contract, survey, results)
    if survey.controllers is None:
        results.note_warning("controllers", survey.manager, _WITHOUT_MANAGER)


_WITHOUT_MANAGER = "Make sure yourself that the arm's controller is active and gets no other commands"


def _listener(where: str, name: str, kind: str, word: str, survey: GraphSurvey, results: Results) -> None:
    """Whether somebody listens on a topic to what the controller will send."""
    awaited = [end for end in survey.topic(name).subscriptions if name in survey.awaited(end.type)]
    if not awaited:
        results.note_failure(
            where, f"nobody listens on {name}",
            f"{kind.rsplit('/', 1)[-1]} is awaited on {nearest(name, survey.awaited(kind))}. Start the arm's "
            "controller, or write its topic",
        )  # fmt: skip
        return
    wrong = [end for end in awaited if end.type != kind]
    if wrong:
        results.note_failure(
            where, f"{wrong[0].node} awaits {wrong[0].type.rsplit('/', 1)[-1]} on {name}, {word} is "
            f"{kind.rsplit('/', 1)[-1]}",
            "Write the type that it takes, or its other topic",
        )  # fmt: skip
        return
    latched = [end for end in awaited if end.latched]
    if latched:
        results.note_failure(
            where, f"{latched[0].node} asks for transient local messages on {name}, which commands are not",
            "Set its subscription to volatile",
        )  # fmt: skip
        return
    results.note_pass(where, f"{', '.join(dict.fromkeys(end.node for end in awaited))} listens on {name}")


def _strangers(
    where: str, name: str, allowed: tuple[str, ...], survey: GraphSurvey, results: Results
) -> None:
    strangers = survey.topic(name).strangers(allowed)
    if strangers:
        results.note_failure(
            where, f"{', '.join(strangers)} publishes {name} as well",
            "Stop it: an arm has one controller. A human's device that drives the arm itself (route: direct) "
            "stands under teleop.publishers",
        )  # fmt: skip


def _controller(
    where: str, group: CommandGroup, contract: Contract, survey: GraphSurvey, results: Results
) -> None:
    """Whether the controller of ros2_control behind a topic is active, and has the group's joints."""
    if survey.controllers is None:
        return
    found = controller_of(group.topic, survey)
    if found is None:
        names = nearest(group.topic, (controller.name for controller in survey.controllers))
        results.note_warning(
            where, f"no controller has the name in {group.topic}",
            f"`ros2 control list_controllers` has {names}",
        )  # fmt: skip
        return
    if found.state != "active":
        results.note_failure(
            where, f"the controller {found.name} is {found.state}",
            f"`ros2 control set_controller_state {found.name} active`, once no other claims its joints",
        )  # fmt: skip
        return
    joints = list(contract.names_in_commands(group))
    if not found.joints or contract.command.type.is_cartesian:
        results.note_pass(where, f"{found.name} is active")
    elif set(found.joints) != set(joints):
        results.note_failure(
            where, f"{found.name} drives {', '.join(found.joints)}, the contract sends {', '.join(joints)}",
            "Write the joints of that controller, or groups where several drive the arm",
        )  # fmt: skip
    elif contract.command.type is not CommandType.JOINT_TRAJECTORY and list(found.joints) != joints:
        results.note_failure(
            where, f"{found.name} takes {', '.join(found.joints)} in this order, the contract sends "
            f"{', '.join(joints)}",
            "A forward controller's values have no names: write command.groups with its joints in its order",
        )  # fmt: skip
    else:
        results.note_pass(where, f"{found.name} is active, with {len(joints)} joints")


def controller_of(topic: str, survey: GraphSurvey) -> Controller | None:
    """The controller that listens on a topic, by the name before the last part."""
    name = topic.rstrip("/").rsplit("/", 1)[0].rsplit("/", 1)[-1]
    return next((c for c in survey.controllers or () if c.name == name), None)


def _action(where: str, name: str, survey: GraphSurvey, results: Results) -> None:
    if not survey.packages.get("control_msgs", True):
        results.note_failure(
            where, "type gripper_command needs the package control_msgs, which is not installed",
            "`apt install ros-DISTRO-control-msgs`, or another type",
        )  # fmt: skip
    if survey.actions.get(name) == GRIPPER_ACTION:
        results.note_pass(where, f"the action {name} is there")
    else:
        servers = [n for n, kind in survey.actions.items() if kind == GRIPPER_ACTION]
        results.note_failure(
            where,
            f"no action {name} of type GripperCommand",
            f"`ros2 action list -t` has {nearest(name, servers)}",
        )


def _humans(contract: Contract, survey: GraphSurvey, results: Results) -> None:
    """A human's devices; they need not run yet."""
    for i, group in enumerate(contract.teleop_groups):
        where = f"teleop.groups[{i}]" if contract.teleop.groups else "teleop"
        topic = survey.topic(group.topic)
        types = [end.type for end in topic.publishers]
        if not topic.publishers:
            results.note_warning(
                where,
                f"nobody publishes {group.topic}",
                "Start the device that leads, and check again with it",
            )
        elif set(types) != {JOINT_STATE}:
            results.note_failure(
                where,
                f"{group.topic} carries {types[0]}",
                "A human's commands are sensor_msgs/msg/JointState",
            )
        elif len(types) > 1:
            results.note_failure(
                where, f"{' and '.join(end.node for end in topic.publishers)} both publish {group.topic}",
                "Stop one: a human leads with one device per topic",
            )  # fmt: skip
        elif not topic.heard:
            results.note_pass(where, f"{topic.publishers[0].node} publishes {group.topic}, silent so far")
        elif missing := [n for n in group.names_in_messages if n not in topic.all_names]:
            there = nearest(missing[0], topic.all_names)
            results.note_failure(
                where, f"no {', '.join(missing)} on {group.topic}",
                f"Its messages name {there}: write these as the dimensions' names, and the arm's as joint",
            )  # fmt: skip
        elif far := _far_values(contract, group, topic):
            results.note_failure(
                where, f"{group.topic} says {far}",
                "Does the device send degrees or percent? Then write unit: degree, or percent, under "
                "action.dimensions",
            )  # fmt: skip
        else:
            results.note_pass(where, f"{group.topic} names every value, {topic.rate_hz:.3g} Hz")
            check_stamps(results, where, topic, contract.teleop.time, 0.0, contract.teleop.timeout_s)


def _far_values(contract: Contract, group: TeleopGroup, topic: TopicSurvey) -> str:
    """The first of a device's positions that no joint can have, in words; empty: there is none."""
    if contract.action.space is not ActionSpace.JOINT_POSITION:
        return ""
    joints = dict(zip(contract.action_names, contract.action_joints, strict=True))
    units = {d.name: d.unit for d in contract.action.dimensions if d.scale == 1}
    for name, said in zip(group.dimensions, group.names_in_messages, strict=True):
        limit, value = contract.limits.get(joints[name]), topic.values.get(said)
        if limit is None or value is None or name not in units:
            continue
        if is_another_unit(value * units[name].factor, limit):
            low, high = limit.position
            return f"{said} is at {value:.4g} {units[name]}, the limits are {low:g} to {high:g}"
    return ""


def _switches(contract: Contract, survey: GraphSurvey, results: Results) -> None:
    """Clutch and deadman switch."""
    switches = [("safety.deadman_topic", contract.safety.deadman_topic)]
    if contract.teleop.takeover is TakeoverKind.TOPIC:
        switches.append(("teleop.takeover_topic", contract.teleop.takeover_topic))
    for where, name in switches:
        if name and BOOL not in survey.topic(name).types:
            results.note_failure(
                where, f"nobody publishes {name}",
                f"Published with std_msgs/msg/Bool: {nearest(name, survey.published(BOOL))}",
            )  # fmt: skip
        elif name:
            results.note_pass(where, f"{name} is published")
