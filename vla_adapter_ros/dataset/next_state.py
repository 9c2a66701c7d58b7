"""Actions of hand-guided arms, and of recordings without commands: what the state says one row later."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from vla_adapter_ros.contract import Contract, parse_contract
from vla_adapter_ros.contract.enums import ActionSource, ActionSpace, GripperMode
from vla_adapter_ros.contract.read import plain_contract
from vla_adapter_ros.contract.schema import Gripper
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.messages import tool_pose

Other = TypeVar("Other")
NOTE = "the action is the state of the next row: the bag has no commands, or they were not asked for"
NO_NEXT_ROW = "no good row follows it, from whose state its action would come"
GAP = 1.5  # periods; what comes later is not the next row


def with_next_states(contract: Contract) -> Contract:
    """The same contract with `action.source: next_state`, for every value of the action.

    Raises:
        ContractError: its state does not say all that its action does.
    """
    data = plain_contract(contract)
    data["action"] |= {
        "source": str(ActionSource.NEXT_STATE),
        "dimensions": [dimension | {"topic": ""} for dimension in data["action"]["dimensions"]],
    }
    return parse_contract(data)


class NextState:
    """Gives each frame its action from the state of the frame after it.

    The last frame before a gap, or before the end, gets none.

    Args:
        contract: Of the robot, with `action.source: next_state`.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._space = contract.action.space
        self._scale = np.array([d.scale for d in contract.action.dimensions])
        self._period = 1.0 / contract.rate_hz
        self._commanded = contract.commanded_places
        names = contract.state_names
        self._arm = [
            (place, names.index(state))
            for place, state in enumerate(contract.driven_state)
            if state and place not in self._commanded
        ]
        measured = contract.measured_joints
        self._grippers: list[tuple[int, int, Gripper]] = [
            (place, names.index(measured[gripper.joint]), gripper)
            for place, gripper in zip(contract.gripper_places, contract.grippers, strict=True)
            if place not in self._commanded
        ]
        self._pose = contract.measured_tool_pose if self._space is ActionSpace.EE_POSE else []
        self._good: Frame | None = None
        self._since: list[Any] = []  # what came after it: bad frames, and whatever is between frames
        self.left_out = 0
        """Good frames that no other follows."""

    def action_of(self, state: np.ndarray, following: np.ndarray) -> np.ndarray:
        """The action (A,) that leads from a state (S,) to the following one; NaN where it is commanded."""
        action = np.full(len(self._scale), math.nan)
        for place, column in self._arm:
            way = following[column] - (state[column] if self._space.is_delta else 0.0)
            action[place] = way / self._scale[place]
        if self._pose:
            pose = tool_pose(following[self._pose].tolist())
            for place, value in zip(self._contract.arm_places, pose, strict=True):
                action[place] = value / self._scale[place]
        for place, column, gripper in self._grippers:
            action[place] = _told(gripper, float(following[column]))
        return action

    def add_item(self, item: Frame | Other) -> list[Frame | Other]:
        """Take the next frame, good or bad, or something else; returns what is finished, in order.

        A good frame without a good one a row later comes back as a bad one that says so.
        """
        held = self._good
        if not isinstance(item, Frame):
            self._since.append(item)
            return [] if held else self.rest()
        late = held is not None and item.stamp - held.stamp > GAP * self._period
        if item.problem:
            self._since.append(item)
            return self.rest() if held is None or late else []
        ready: list[Frame | Other] = self.rest() if held is None or late else []
        if held is not None and not late:
            ready = [dataclasses.replace(held, action=self._whole_action(held, item)), *self._since]
        self._good, self._since = item, []
        return ready

    def rest(self) -> list[Any]:
        """What is held; a good frame has become a bad one, since nothing follows it."""
        held = list(self._since)
        if self._good is not None:
            held.insert(0, dataclasses.replace(self._good, problem=NO_NEXT_ROW))
            self.left_out += 1
        self._good, self._since = None, []
        return held

    def end(self) -> list[Any]:
        """What is held at the end; the last good frame is left out, since nothing follows it."""
        held = self._good is not None
        return self.rest()[held:]

    def with_actions(self, items: Iterable[Frame | Other]) -> Iterator[Frame | Other]:
        """Give out the same frames with actions, and what is between them; the last good one is left out."""
        for item in items:
            yield from self.add_item(item)
        yield from self.end()

    def _whole_action(self, frame: Frame, following: Frame) -> np.ndarray:
        action = self.action_of(frame.state, following.state)
        if frame.action is not None:
            action[self._commanded] = frame.action[self._commanded]
        return action


def _told(gripper: Gripper, position: float) -> float:
    """The value of an action that asks for a position of a gripper's joint [m or rad]."""
    opening = gripper.opening(position)
    if gripper.mode is GripperMode.BINARY:
        return gripper.value(float(opening > 0.5))
    return gripper.value(float(np.clip(opening, 0.0, 1.0)))
