"""A scripted human for the table with more than cubes: picks up, puts, pushes and stacks.

It sees where everything stands, which no policy does, and gives commands as a teleoperation device would.
"""

from __future__ import annotations

import math

import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.expert import (
    CLOSE_AT_LEAST_S,
    CLOSE_AT_MOST_S,
    FUNNEL_HEIGHT,
    FUNNEL_M,
    LIFT_STEP_FRACTION,
    SETTLED_PER_S,
)
from vla_adapter_ros.simulation.mujoco_kinematics import DOWN
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.scripted_arm import ScriptedArm, toward
from vla_adapter_ros.simulation.tabletop_tasks import Verb
from vla_adapter_ros.simulation.things import Shape, Thing

_CLOSE_WITHIN_M, _CLOSE_WITHIN_RAD = 0.008, 0.12
_RELEASE_WITHIN_M = {Shape.BOWL: 0.015, Shape.PLATE: 0.015}
_STACK_WITHIN_M = 0.005
_RELEASE_ABOVE_M = {Shape.BOWL: 0.018, Shape.PLATE: 0.004}  # of the object's bottom over where it will stand
_STACK_ABOVE_M = 0.003
_OPEN, _OPEN_AT_LEAST_S, _OPEN_AT_MOST_S = 0.9, 0.2, 0.6  # a bowl's wall may stop a finger
_FELL_M = 0.04  # so far from where it was let go, an object is picked up again
_CARRY_Z, _AWAY_Z = 0.17, 0.12  # of the tool point [m]
_PUSH_Z = 0.016
_BEHIND_M = 0.030  # where a push begins, from the object's edge
_OFF_LINE_M = 0.018  # so far beside the line of the push, the hand goes around anew
_PUSHED_WITHIN_M = 0.012
_PUSH_STEP = 0.018  # [m] per 0.1 s
_SHUT = 0.15


class TabletopExpert:
    """Does the task of the robot's scene, then stands still.

    Args:
        robot: The robot to look at; the expert never changes it. One arm.

    Raises:
        SimulationError: the scene says no task, or see `ScriptedArm`.
    """

    def __init__(self, robot: SimulatedRobot) -> None:
        task = robot.scene.task
        if task is None:
            raise SimulationError("the scene says no task: allowed is a scene of the tabletop")
        self._robot, self._task, self._area = robot, task, robot.model.area
        self._arm = ScriptedArm(robot)
        things = {thing.name: thing for thing in robot.scene.things}
        self._thing = things[task.target]
        self._place: Thing | None = things.get(task.place)
        self._phase = "approach"
        self._since = 0.0
        self._grasp, self._yaw = self._arm.tool(), 0.0
        if task.verb is not Verb.PUSH and self._arm.holds(robot.object_positions()[task.target], self._thin):
            self._phase, self._yaw = "lift", self._arm.yaw()  # taken over with the object in the hand

    @property
    def phase(self) -> str:
        """approach, close, lift, carry, open, leave, behind, push or done."""
        return self._phase

    @property
    def done(self) -> bool:
        """Whether the task is done. The expert then holds still."""
        return self._phase == "done"

    def command(self, t: float) -> np.ndarray:
        """The command at time `t` [s]: float64 (A,), in the contract's action order [rad, gripper]."""
        tool, at = self._arm.tool(), self._robot.object_positions()[self._task.target]
        if self._task.verb is Verb.PUSH:
            self._switch_push(tool, at)
        else:
            self._switch(t, tool, at)
        closed = self._phase in ("close", "lift", "carry", "behind", "push") or (
            self._task.verb is Verb.PUSH or (self._task.verb is Verb.PICK and self.done)
        )
        if self.done:
            return self._arm.command(t, np.zeros(3), closed, None)
        goal = self._push_goal(tool, at) if self._task.verb is Verb.PUSH else self._goal(tool, at)
        return self._arm.command(t, goal - tool, closed, _turned(self._hand_yaw(at)))

    # Grasping

    def _switch(self, t: float, tool: np.ndarray, at: np.ndarray) -> None:
        opening, gripper = self._arm.opening(), self._arm.gripper
        across = float(np.linalg.norm(at[:2] - tool[:2]))
        if self._phase == "approach":
            low = tool[2] < self._grasp_z + 0.01 and abs(self._turn_left(at)) < _CLOSE_WITHIN_RAD
            if across < _CLOSE_WITHIN_M and low and opening > gripper.closing:
                self._enter("close", t)
                self._grasp, self._yaw = np.array([*at[:2], self._grasp_z]), self._hand_yaw(at)
        elif self._phase == "close":
            waited = t - self._since
            settled = opening < gripper.closing and self._arm.closing_speed() < SETTLED_PER_S
            if waited > CLOSE_AT_LEAST_S and (settled or waited > CLOSE_AT_MOST_S):
                self._enter("lift" if self._holds(at, tool) else "approach", t)
        elif self._phase in ("lift", "carry") and not self._holds(at, tool):
            self._enter("approach", t)
        elif self._phase == "lift":
            if self._task.verb is Verb.PICK:
                if self._robot.lifted() == self._task.target and tool[2] > self._area.lift_z - 0.01:
                    self._enter("done", t)
            elif tool[2] > self._area.travel_z:
                self._enter("carry", t)
        elif self._phase == "carry":
            wanted = self._release_point()
            if np.linalg.norm(at[:2] - wanted[:2]) < self._release_within and tool[2] < wanted[2] + 0.004:
                self._enter("open", t)
                self._grasp = tool.copy()
        elif self._phase == "open":
            waited = t - self._since
            if waited > _OPEN_AT_LEAST_S and (opening > _OPEN or waited > _OPEN_AT_MOST_S):
                self._enter("leave", t)
        elif self._phase == "leave" and tool[2] > self._grasp[2] + 0.06:
            fell = np.linalg.norm(at - self._release_point()) > _FELL_M
            self._enter("approach" if fell else "done", t)

    def _goal(self, tool: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Where the tool shall be one lead time from now (3,) [m]."""
        step = self._area.step * self._arm.per_lead
        if self._phase == "close":
            return toward(tool, self._grasp, step)
        if self._phase == "open":
            return toward(tool, self._grasp, step)
        if self._phase == "lift":
            return toward(tool, np.array([*self._grasp[:2], _CARRY_Z]), step * LIFT_STEP_FRACTION)
        if self._phase == "leave":
            return toward(
                tool, np.array([*self._grasp[:2], self._grasp[2] + 0.10]), step * LIFT_STEP_FRACTION
            )
        if self._phase == "carry":
            wanted = self._release_point()
            wanted[:2] += tool[:2] - at[:2]  # where the object hangs beside the tool point
            return toward(tool, _funnel(tool, wanted, _CARRY_Z), step)
        opened = self._arm.opening() > self._arm.gripper.closing
        wanted = np.array([*at[:2], self._grasp_z])
        turned = abs(self._turn_left(at)) < 4 * _CLOSE_WITHIN_RAD
        high = self._area.travel_z
        return toward(
            tool, _funnel(tool, wanted, high) if opened and turned else np.array([*at[:2], high]), step
        )

    @property
    def _grasp_z(self) -> float:
        return self._thing.form.half[2]

    @property
    def _release_within(self) -> float:
        return (
            _STACK_WITHIN_M
            if self._place is None
            else _RELEASE_WITHIN_M.get(self._place.shape, _STACK_WITHIN_M)
        )

    def _release_point(self) -> np.ndarray:
        """Where the object's center shall be when the gripper opens (3,) [m]."""
        assert self._place is not None
        place = self._robot.object_positions()[self._place.name]
        above = _RELEASE_ABOVE_M.get(self._place.shape, _STACK_ABOVE_M)
        on = place[2] + (-1.0 if self._place.shape is Shape.BOWL else 1.0) * self._place.form.half[2]
        return np.array([*place[:2], on + self._thing.form.half[2] + above])

    def _holds(self, at: np.ndarray, tool: np.ndarray) -> bool:
        return self._arm.opening() > self._thin and bool(np.linalg.norm(at - tool) < 0.04)

    @property
    def _thin(self) -> float:
        """Opening below which nothing is between the fingers, for the thinnest side of the object."""
        return 0.6 * min(self._thing.form.half[:2]) / self._arm.gripper.open_position

    # Pushing

    def _switch_push(self, tool: np.ndarray, at: np.ndarray) -> None:
        place = self._robot.object_positions()[self._task.place]
        way = place[:2] - at[:2]
        if self._phase in ("approach", "behind", "push") and np.linalg.norm(way) < _PUSHED_WITHIN_M:
            self._phase, self._grasp = "leave", tool.copy()
        along, beside = self._off_line(tool, at)
        if self._phase == "approach":
            start = self._push_start(at)
            near = np.linalg.norm(tool[:2] - start) < 0.012 and self._arm.opening() < _SHUT
            if near and abs(self._turn_left(at)) < 2 * _CLOSE_WITHIN_RAD:
                self._phase = "behind"
        elif self._phase == "behind":
            if abs(beside) > _OFF_LINE_M or along > -self._reach(at) + 0.01:
                self._phase = "approach"
            elif tool[2] < _PUSH_Z + 0.008:
                self._phase = "push"
        elif self._phase == "push":
            if abs(beside) > _OFF_LINE_M or along > -0.5 * self._reach(at):
                self._phase = "approach"
        elif self._phase == "leave" and tool[2] > _AWAY_Z - 0.02:
            self._phase = "done"

    def _push_goal(self, tool: np.ndarray, at: np.ndarray) -> np.ndarray:
        step = self._area.step * self._arm.per_lead
        if self._phase == "leave":
            return toward(tool, np.array([*self._grasp[:2], _AWAY_Z + 0.03]), step)
        start = self._push_start(at)
        if self._phase == "approach":
            if tool[2] < _AWAY_Z - 0.04 and np.linalg.norm(tool[:2] - start) > 0.02:
                return toward(tool, np.array([*tool[:2], _AWAY_Z + 0.03]), step)  # up before it goes around
            return toward(tool, np.array([*start, _AWAY_Z]), step)
        if self._phase == "behind":
            return toward(tool, np.array([*start, _PUSH_Z]), step)
        direction = self._push_direction(at)
        _, beside = self._off_line(tool, at)
        aside = np.array([-direction[1], direction[0]])
        ahead = direction * _PUSH_STEP * self._arm.per_lead - 0.8 * beside * aside
        return np.array([*(tool[:2] + ahead), tool[2] + 0.6 * (_PUSH_Z - tool[2])])

    def _push_direction(self, at: np.ndarray) -> np.ndarray:
        way = self._robot.object_positions()[self._task.place][:2] - at[:2]
        return way / max(float(np.linalg.norm(way)), 1e-6)

    def _push_start(self, at: np.ndarray) -> np.ndarray:
        return at[:2] - self._push_direction(at) * (self._reach(at) + _BEHIND_M)

    def _reach(self, at: np.ndarray) -> float:
        """From the object's center to its edge, against the push [m]."""
        long, wide, _ = self._thing.form.half
        yaw = self._robot.world.object_yaws()[self._task.target]
        direction = self._push_direction(at)
        along = abs(float(direction @ [math.cos(yaw), math.sin(yaw)]))
        if self._thing.form.symmetry == 0.0:
            return long
        return float(long * along + wide * math.sqrt(max(1.0 - along**2, 0.0)))

    def _off_line(self, tool: np.ndarray, at: np.ndarray) -> tuple[float, float]:
        """How far the tool is ahead of the object and beside it, seen along the push [m]."""
        direction = self._push_direction(at)
        away = tool[:2] - at[:2]
        return float(away @ direction), float(away @ [-direction[1], direction[0]])

    # The hand's turn

    def _hand_yaw(self, at: np.ndarray) -> float:
        """Turn of the hand about z [rad]: its fingers close along its own y axis."""
        if self._phase in ("lift", "carry", "open", "leave") and self._task.verb is not Verb.PUSH:
            return self._yaw
        if self._task.verb is Verb.PUSH:
            direction = (
                self._push_direction(at)
                if self._phase != "leave"
                else np.array([math.cos(self._yaw), math.sin(self._yaw)])
            )
            self._yaw = _nearest(math.atan2(direction[1], direction[0]), math.pi)
            return self._yaw
        symmetry = self._thing.form.symmetry
        if symmetry == 0.0:
            return 0.0
        return _nearest(self._robot.world.object_yaws()[self._task.target], symmetry)

    def _turn_left(self, at: np.ndarray) -> float:
        """From the hand's turn to the wanted one [rad]."""
        return math.remainder(self._hand_yaw(at) - self._arm.yaw(), 2 * math.pi)

    def _enter(self, phase: str, t: float) -> None:
        self._phase, self._since = phase, t


def _funnel(tool: np.ndarray, wanted: np.ndarray, travel_z: float) -> np.ndarray:
    """A place above `wanted` (3,) [m], the lower the nearer the tool is to it."""
    across = float(np.linalg.norm(wanted[:2] - tool[:2]))
    share = float(np.interp(across, FUNNEL_M, FUNNEL_HEIGHT))
    return np.array([*wanted[:2], wanted[2] + share * (travel_z - wanted[2])])


def _nearest(angle: float, symmetry: float) -> float:
    """The same turn nearest to 0, of something that looks the same after `symmetry` [rad]."""
    return math.remainder(angle, symmetry)


def _turned(yaw: float) -> np.ndarray:
    """A hand that points down, turned about z."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ DOWN
