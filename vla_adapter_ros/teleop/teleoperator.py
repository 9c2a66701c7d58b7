"""From what a human's hand asks for to commands of the contract, while the clutch is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.choices import JogSpace
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import Frame, GripperMode, TakeoverKind
from vla_adapter_ros.control.arm_state import ArmState
from vla_adapter_ros.control.gripper import resting_value
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.watchdogs import joint_states_too_old
from vla_adapter_ros.teleop.action_rows import action_row, joints_of_row
from vla_adapter_ros.teleop.arm_part import ArmPart
from vla_adapter_ros.teleop.grip import Grip
from vla_adapter_ros.teleop.hand import HandState
from vla_adapter_ros.teleop.jog import JogLimits, JointJog, ToolJog

STOP_S = 0.2
"""So long the place where the clutch was released is still sent, so that the arm stops there [s]."""
LONGEST_STEP_S = 0.1  # after a longer pause motion goes on as if it had lasted so long
LAG_S = 0.25  # from a command to its measurement, beside the command delay of the contract
LEAST_DISTANCE = 0.02  # that a joint's target may be away from its measurement [rad or m]
COMMAND_FRESH_S = 0.5  # what the controller holds is known so long after it was said
LET_GO = "the clutch was held before anything could move: let go of it first"


@dataclass(frozen=True)
class MotionSettings:
    """How fast, and along what.

    Attributes:
        space: What is moved.
        frame: Along whose axes the tool moves.
        linear_speed, angular_speed: Of the tool at full deflection [m/s], [rad/s].
        joint_speed: Largest velocity of a joint, as a fraction of its limit.
        slow_factor: Of every speed while the slow button is held.
        ramp_s: Time from rest to full speed, and back [s].
    """

    space: JogSpace = JogSpace.AUTO
    frame: Frame = Frame.BASE
    linear_speed: float = 0.15
    angular_speed: float = 0.6
    joint_speed: float = 0.3
    slow_factor: float = 0.25
    ramp_s: float = 0.2


class Teleoperator:
    """Turns what a hand asks for into actions. All times are the caller's [s].

    Taking the clutch starts from where the arm is held; releasing it sends that place for `STOP_S`, and then
    nothing. The targets of joints stay near what is measured, so that nothing winds up at an obstacle.

    Args:
        contract: The robot's contract.
        part: The arm that is driven; all others stay where they are.
        settings: How fast, and along what.
    """

    def __init__(self, contract: Contract, part: ArmPart, settings: MotionSettings) -> None:
        self._contract, self._part, self._settings = contract, part, settings
        self._arm = ArmState(contract)
        self._places = np.array(part.joints, dtype=int)
        self._kinematics: ArmKinematics | None = None
        self._next_kinematics: ArmKinematics | None = None
        self._held: np.ndarray | None = None  # what the controller said last that it commands (A,)
        self._held_at = -np.inf
        self._grips = [
            Grip(contract.grippers[n].mode is GripperMode.BINARY) for n in part.grippers
        ] + [Grip(False) for _ in part.hands]  # fmt: skip
        self._set_limits(Limits.of(contract))
        self._targets = np.zeros(len(contract.arm_joints))
        self._gripper_values = np.zeros(len(contract.grippers))
        self._velocity = np.zeros(0)  # of the jog, as it is ramped
        self._now = -np.inf
        self._stop_until = -np.inf
        self._may_take = False  # the clutch was seen released
        self.leading = False
        """Whether the clutch is held and commands go out."""
        self.problem = ""
        """Why nothing goes out though the clutch is held, in a sentence; empty: nothing is wrong."""

    @property
    def moves_tool(self) -> bool:
        """Whether the clutch, taken now, moves the tool and not joints."""
        return self._settings.space is not JogSpace.JOINTS and self._kinematics is not None

    def set_kinematics(self, kinematics: ArmKinematics) -> None:
        """Make the kinematics of the part's joints known; they count from the next press of the clutch on."""
        if self.leading:
            self._next_kinematics = kinematics
            return
        self._kinematics, self._next_kinematics = kinematics, None
        limits = Limits.of(self._contract)
        ours = self._places
        limits.low[ours] = np.maximum(limits.low[ours], kinematics.low)
        limits.high[ours] = np.minimum(limits.high[ours], kinematics.high)
        limits.velocity[ours] = np.minimum(limits.velocity[ours], kinematics.velocity)
        self._set_limits(limits)

    def measure(self, positions: Mapping[str, float], stamp: float) -> None:
        """Take in joint positions by the contract's names [rad or m], measured at `stamp` [s].

        Raises:
            CommandError: see `ArmState.accept`.
        """
        self._arm.accept(positions, stamp)

    def note_command(self, row: np.ndarray, now: float) -> None:
        """Take note of the action (A,) that the controller says it commands, received at `now` [s]."""
        self._held, self._held_at = np.array(row, dtype=np.float64), now

    def resting_row(self, now: float) -> np.ndarray | None:
        """The action (A,) that leaves all as it is at `now` [s]; None before the first joint states."""
        if self._arm.position is None or self._lacks_kinematics():
            return None
        start = self._start(now)
        return action_row(self._contract, start, start, self._start_grippers(now), 1.0, self._kinematics)

    def advance(self, hand: HandState | None, now: float) -> np.ndarray | None:
        """What to send at `now` [s].

        Args:
            hand: What the hand asks for; None: nobody knows, since the device is silent.
            now: Later than before.

        Returns:
            The action, float64 (A,); None: nothing.
        """
        dt = min(max(now - self._now, 0.0), LONGEST_STEP_S)
        self._now = now
        if hand is None or not hand.clutch:
            self._may_take = hand is not None
            self.problem = ""
            return self._after_release(now)
        obstacle = self._obstacle(now)
        self._may_take = self._may_take and not obstacle
        if not self._may_take:
            self.problem = obstacle or LET_GO
            return self._after_release(now)
        self.problem = ""
        if not self.leading:
            self._take(hand, now)
            return self._row(self._targets, LONGEST_STEP_S)
        if dt <= 0.0:
            return None
        before = self._targets.copy()
        self._move(hand, dt)
        self._close(hand, dt)
        return self._row(before, dt)

    # Inside

    def _set_limits(self, limits: Limits) -> None:
        self._limits = limits
        self._velocities = limits.velocity * self._settings.joint_speed
        ours = self._places
        jog = JogLimits(limits.low[ours], limits.high[ours], self._velocities[ours])
        self._joint_jog = JointJog(jog)
        self._tool_jog = (
            None
            if self._kinematics is None
            else ToolJog(jog, self._kinematics, self._settings.frame, self._contract.workspace)
        )
        self._jog: JointJog = self._joint_jog
        contract = self._contract
        reach = self._velocities * (contract.command.command_delay_s + LAG_S)
        least = LEAST_DISTANCE
        if contract.teleop.takeover is TakeoverKind.MOTION:  # the controller must notice the motion
            least = max(least, 1.5 * contract.teleop.takeover_threshold)
        most = 0.8 * min(contract.safety.first_target_max_distance, contract.safety.tracking_error_max)
        self._distance = np.minimum(np.maximum(reach, least), max(most, least))

    def _lacks_kinematics(self) -> bool:
        return self._contract.action.space.is_cartesian and self._kinematics is None

    def _obstacle(self, now: float) -> str:
        """Why nothing can be sent at `now` [s]; empty if nothing stands against it."""
        if late := joint_states_too_old(self._arm, now, self._contract.safety):
            return late
        tool = self._settings.space is JogSpace.TOOL
        if (tool or self._contract.action.space.is_cartesian) and self._kinematics is None:
            return "the arm's URDF is not known yet, and motion of the tool needs it"
        return ""

    def _after_release(self, now: float) -> np.ndarray | None:
        if self.leading:
            self.leading, self._stop_until = False, now + STOP_S
        if self._next_kinematics is not None:
            self.set_kinematics(self._next_kinematics)
        return self._row(self._targets, LONGEST_STEP_S) if now < self._stop_until else None

    def _take(self, hand: HandState, now: float) -> None:
        self.leading = True
        self._targets = self._start(now)
        self._gripper_values = self._start_grippers(now)
        self._jog = self._tool_jog if self.moves_tool and self._tool_jog is not None else self._joint_jog
        self._jog.begin(self._targets[self._places])
        self._velocity = np.zeros(6 if self._jog is self._tool_jog else len(self._places))
        for grip, closed in zip(self._grips, self._start_closed(), strict=True):
            grip.begin(closed, hand)

    def _start(self, now: float) -> np.ndarray:
        """Where the arm is held (J,): what the controller commands, where that is near what is measured."""
        measured = self._arm.known_position
        if self._held is not None and now - self._held_at <= COMMAND_FRESH_S:
            held = joints_of_row(self._contract, self._held)
            if held is not None and (np.abs(held - measured) <= self._distance).all():
                return held
        return measured.copy()

    def _start_grippers(self, now: float) -> np.ndarray:
        """Values of the grippers' dimensions (G,) that leave them as they are."""
        contract = self._contract
        if self._held is not None and now - self._held_at <= COMMAND_FRESH_S:
            return self._held[contract.gripper_places]
        return np.array([resting_value(g, self._arm.grippers.get(g.joint)) for g in contract.grippers])

    def _start_closed(self) -> list[float]:
        closed = []
        for n in self._part.grippers:
            gripper = self._contract.grippers[n]
            closed.append((self._gripper_values[n] - gripper.open) / (gripper.closed - gripper.open))
        for n in self._part.hands:
            span = self._limits.high[n] - self._limits.low[n]
            closed.append((self._limits.high[n] - self._targets[n]) / span)
        return [float(np.clip(value, 0.0, 1.0)) for value in closed]

    def _move(self, hand: HandState, dt: float) -> None:
        wanted, full = self._wanted(hand)
        most = full * dt / max(self._settings.ramp_s, dt)
        self._velocity = self._velocity + np.clip(wanted - self._velocity, -most, most)
        self._jog.advance(self._velocity, dt)
        self._jog.stay_near(self._arm.known_position[self._places], self._distance[self._places])
        self._targets[self._places] = self._jog.joints

    def _wanted(self, hand: HandState) -> tuple[np.ndarray, np.ndarray]:
        """Velocities that the hand asks for, and the largest there are; the jog is changed where need be."""
        settings, ours = self._settings, self._velocities[self._places]
        factor = settings.slow_factor if hand.slow else 1.0
        if hand.joint_velocities or self._tool_jog is None or not self.moves_tool:
            self._change(self._joint_jog, len(ours))
            if hand.joint_velocities:
                names = [self._contract.arm_joints[n] for n in self._places]
                return np.array([hand.joint_velocities.get(name, 0.0) for name in names]) * factor, ours
            first = 6 if hand.next_joints else 0
            wanted = np.zeros(len(ours))
            chosen = ours[first : first + 6]
            wanted[first : first + 6] = hand.motion[: len(chosen)] * chosen * factor
            return wanted, ours
        self._change(self._tool_jog, 6)
        full = np.repeat([settings.linear_speed, settings.angular_speed], 3)
        return hand.motion * full * factor, full

    def _change(self, jog: JointJog, size: int) -> None:
        if jog is not self._jog:
            jog.begin(self._jog.joints)
            self._jog, self._velocity = jog, np.zeros(size)

    def _close(self, hand: HandState, dt: float) -> None:
        for grip in self._grips:
            grip.advance(hand, dt)
        for n, grip in zip(self._part.grippers, self._grips, strict=False):
            gripper = self._contract.grippers[n]
            self._gripper_values[n] = gripper.open + grip.closed * (gripper.closed - gripper.open)
        for n, grip in zip(self._part.hands, self._grips[len(self._part.grippers) :], strict=True):
            low, high = self._limits.low[n], self._limits.high[n]
            most = self._limits.velocity[n] * dt
            self._targets[n] += np.clip(high - grip.closed * (high - low) - self._targets[n], -most, most)

    def _row(self, before: np.ndarray, dt: float) -> np.ndarray:
        return action_row(self._contract, before, self._targets, self._gripper_values, dt, self._kinematics)
