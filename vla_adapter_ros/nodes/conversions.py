"""Messages to plain data and back (images: see image_messages.py)."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.schema import TeleopGroup
from vla_adapter_ros.control import Chunk, Trajectory
from vla_adapter_ros.control.chunk import check_size
from vla_adapter_ros.control.rotation import Pose, quaternion
from vla_adapter_ros.errors import CommandError
from vla_adapter_ros.msg import ActionChunk
from vla_adapter_ros.texts import visible

LONGEST_CHECKPOINT = 200  # letters of a checkpoint's name that are kept


def seconds(stamp: Time) -> float:
    """Stamp as float seconds."""
    return float(stamp.sec + stamp.nanosec * 1e-9)


def to_stamp(time: float) -> Time:
    """Float seconds as stamp, rounded to 1 us (finer than what float64 holds for today's dates)."""
    microseconds = round(time * 1e6)
    return Time(sec=microseconds // 1_000_000, nanosec=microseconds % 1_000_000 * 1000)


def joint_positions(message: JointState) -> dict[str, float]:
    """Positions by joint name, as they are sent; none of a message that has velocities or efforts only.

    Raises:
        CommandError: another number of positions than names.
    """
    if not message.position:
        return {}
    if len(message.name) != len(message.position):
        raise CommandError(f"joint state: {len(message.name)} names but {len(message.position)} positions")
    return dict(zip(message.name, message.position, strict=True))


class JointReader:
    """Reads the joint states on a topic: positions in SI, by what the contract calls the joints.

    Args:
        contract: The robot's contract.
        topic: One of its `joint_state_topics`.
    """

    def __init__(self, contract: Contract, topic: str) -> None:
        self._called = contract.joints_on(topic)
        factors = contract.joint_factors
        self._factors = {said: factors.get(joint, 1.0) for said, joint in self._called.items()}

    def positions(self, message: JointState) -> dict[str, float]:
        """Joint, as the contract calls it -> position [rad or m]; joints that it does not know as they are.

        Raises:
            CommandError: another number of positions than names.
        """
        called, factors = self._called, self._factors
        return {
            called.get(said, said): value * factors.get(said, 1.0)
            for said, value in joint_positions(message).items()
        }


def command_of(message: JointState, names: tuple[str, ...], field: str = "position") -> np.ndarray:
    """Action values in the order of `names`, float64 (A,), from a command by name.

    Raises:
        CommandError: a name is missing, or the field has not as many values as there are names.
    """
    given = getattr(message, field)
    if len(message.name) != len(given):
        raise CommandError(f"command: {len(message.name)} names but {len(given)} values of {field}")
    values = dict(zip(message.name, given, strict=True))
    missing = [name for name in names if name not in values]
    if missing:
        raise CommandError(f"command lacks {missing}; it has {sorted(values)}")
    return np.array([values[name] for name in names])


def command_message(
    command: np.ndarray, names: tuple[str, ...], stamp: float, field: str = "position"
) -> JointState:
    """An action (A,) as a joint state message by name."""
    message = JointState(name=list(names), **{field: command.tolist()})
    message.header.stamp = to_stamp(stamp)
    return message


def action_of(message: JointState, contract: Contract) -> np.ndarray:
    """The action in a message on the action's topic, in SI, float64 (A,).

    Raises:
        CommandError: see `command_of`.
    """
    values = command_of(message, contract.action_names, contract.action.field)
    return values * np.array(contract.action_factors)


def action_message(action: np.ndarray, contract: Contract, stamp: float) -> JointState:
    """An action (A,) in SI as a message on the action's topic, in the units of the contract."""
    values = np.asarray(action) / np.array(contract.action_factors)
    return command_message(values, contract.action_names, stamp, contract.action.field)


def teleop_part(message: JointState, contract: Contract, group: TeleopGroup) -> np.ndarray:
    """What a human's device says of its dimensions, in SI, float64 (N,).

    Raises:
        CommandError: see `command_of`.
    """
    factors = dict(zip(contract.action_names, contract.action_factors, strict=True))
    values = command_of(message, group.names_in_messages, contract.action.field)
    return values * np.array([factors[name] for name in group.dimensions])


def teleop_messages(contract: Contract, command: np.ndarray, stamp: float) -> dict[str, JointState]:
    """An action (A,) in SI as the devices of a human would send it: topic -> message."""
    sent = np.asarray(command) / np.array(contract.action_factors)
    values = dict(zip(contract.action_names, sent, strict=True))
    return {
        group.topic: command_message(
            np.array([values[name] for name in group.dimensions]),
            group.names_in_messages,
            stamp,
            contract.action.field,
        )
        for group in contract.teleop_groups
    }


def chunk_of(message: ActionChunk) -> Chunk:
    """Plain chunk of a message; a size that does not fit its data becomes one column, refused later.

    Raises:
        ChunkError: see `check_size`.
    """
    check_size(max(message.num_rows, len(message.data) // max(len(message.names), 1)), message.rate_hz)
    data = np.array(message.data, dtype=np.float64)
    shape = (message.num_rows, message.num_columns)
    rows = data.reshape(shape) if data.size == shape[0] * shape[1] else data.reshape(-1, 1)
    return Chunk(
        stamp=seconds(message.header.stamp),
        rows=rows,
        names=tuple(message.names),
        rate_hz=message.rate_hz,
        session_id=message.session_id,
        instruction_id=message.instruction_id,
        sequence=message.sequence,
        space=message.action_space,
        input_stamp=seconds(message.input_stamp) or None,
        instructed_at=seconds(message.instruction_stamp) or None,
        most_delay_s=message.most_delay,
        uncertainty=message.uncertainty,
        reason=message.reason,
        checkpoint=visible(message.checkpoint)[:LONGEST_CHECKPOINT],
    )


def chunk_message(chunk: Chunk, execution_horizon: int, oldest: float, inference_s: float) -> ActionChunk:
    """Message of a chunk."""
    message = ActionChunk(
        session_id=chunk.session_id,
        instruction_id=chunk.instruction_id,
        sequence=chunk.sequence,
        action_space=chunk.space,
        names=list(chunk.names),
        rate_hz=chunk.rate_hz,
        num_rows=len(chunk.rows),
        num_columns=len(chunk.names),
        execution_horizon=execution_horizon,
        data=chunk.rows.ravel().tolist(),
        oldest_input_stamp=to_stamp(oldest),
        inference_duration=inference_s,
        input_stamp=to_stamp(chunk.seen_at),
        instruction_stamp=to_stamp(chunk.instructed_at or 0.0),
        most_delay=chunk.most_delay_s,
        uncertainty=chunk.uncertainty,
        reason=chunk.reason,
        checkpoint=chunk.checkpoint,
    )
    message.header.stamp = to_stamp(chunk.stamp)
    return message


def trajectory_message(trajectory: Trajectory, now: float) -> JointTrajectory:
    """Message that starts at the trajectory's own start, to the nanosecond, or at `now` if it has none.

    Every point is later than the start.
    """
    message = JointTrajectory(joint_names=list(trajectory.joints))
    offsets = trajectory.offsets
    if offsets is None:
        offsets = np.round(trajectory.times - now, 6)
        message.header.stamp = to_stamp(now)
    else:
        start = message.header.stamp
        start.sec, start.nanosec = divmod(trajectory.start_ns, 1_000_000_000)
    for i, offset in enumerate(offsets):
        point = JointTrajectoryPoint(
            positions=trajectory.positions[i].tolist(), velocities=trajectory.velocities[i].tolist()
        )
        if trajectory.accelerations is not None:
            point.accelerations = trajectory.accelerations[i].tolist()
        nanoseconds = round(offset * 1e9)
        point.time_from_start.sec, point.time_from_start.nanosec = divmod(nanoseconds, 1_000_000_000)
        message.points.append(point)
    return message


def pose_message(pose: Pose, frame: str, stamp: float) -> PoseStamped:
    """A pose in the frame named `frame`."""
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = to_stamp(stamp), frame
    where, turned = message.pose.position, message.pose.orientation
    where.x, where.y, where.z = pose.position.tolist()
    turned.x, turned.y, turned.z, turned.w = quaternion(pose.rotation).tolist()
    return message


def twist_message(twist: np.ndarray, frame: str, stamp: float) -> TwistStamped:
    """A twist (6,), linear [m/s] before angular [rad/s], in the frame named `frame`."""
    message = TwistStamped()
    message.header.stamp, message.header.frame_id = to_stamp(stamp), frame
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = np.asarray(twist).tolist()
    return message


def trajectory_arrays(
    message: JointTrajectory,
) -> tuple[list[str], float, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Joint names, start [s, 0 = now], times (N,), positions (N, J), velocities and accelerations or None.

    Raises:
        CommandError: points of different sizes.
    """
    points = message.points
    times = np.array([p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in points])
    columns = []
    for field in ("positions", "velocities", "accelerations"):
        rows = [list(getattr(p, field)) for p in points]
        if any(len(row) != len(rows[0]) for row in rows):
            raise CommandError(f"trajectory: {field} of different lengths {sorted({len(r) for r in rows})}")
        columns.append(np.array(rows) if rows and rows[0] else None)
    positions = columns[0] if columns[0] is not None else np.zeros((len(points), 0))
    return list(message.joint_names), seconds(message.header.stamp), times, positions, columns[1], columns[2]
