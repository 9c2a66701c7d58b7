"""Actions for recordings without commands: the state of the next row, where somebody asks for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import BagError
from vla_adapter_ros.observation.frame import Frame

Other = TypeVar("Other")
NOTE = "the action is the state of the next row: the bag has no commands, or they were not asked for"
GAP = 1.5  # periods; what comes later is not the next row


class NextState:
    """Gives each frame the state of the frame after it as its action; the last one before a gap gets none.

    Args:
        contract: Of the robot; its action is in joint_position, and a state measures each of its values.

    Raises:
        BagError: it is not, or one is not measured.
    """

    def __init__(self, contract: Contract) -> None:
        if contract.action.space != "joint_position":
            raise BagError(
                f"a next state as action in space {contract.action.space}: allowed is joint_position"
            )
        self._contract = contract
        self.left_out = 0
        """Good frames that no other follows."""
        grippers = {g.dimension: g for g in contract.grippers}
        names = dict(zip(contract.action_names, contract.driven_state, strict=True))
        measured = dict(zip(contract.state_joints, contract.state_names, strict=True))
        names |= {name: measured.get(gripper.joint, "") for name, gripper in grippers.items()}
        if lacking := [name for name, state in names.items() if not state]:
            raise BagError(
                f"a next state as action: no state measures {lacking}: allowed is a contract whose state has "
                "the joint of every action value"
            )
        self._places = [contract.state_names.index(state) for state in names.values()]
        self._grippers = [grippers.get(name) for name in names]

    def action_of(self, state: np.ndarray) -> np.ndarray:
        """The action (A,) that asks for a state (S,)."""
        action = state[self._places] / np.array([d.scale for d in self._contract.action.dimensions])
        for place, gripper in enumerate(self._grippers):
            if gripper is None:
                continue
            opening = gripper.open_position - gripper.closed_position
            fraction = (state[self._places[place]] - gripper.closed_position) / opening if opening else 0.0
            fraction = float(fraction > 0.5) if gripper.mode == "binary" else float(np.clip(fraction, 0, 1))
            action[place] = gripper.closed + fraction * (gripper.open - gripper.closed)
        return action

    def with_actions(self, items: Iterable[Frame | Other]) -> Iterator[Frame | Other]:
        """Give out the same frames with actions, and what is between them, in order.

        Bad frames are given out as they are. A good frame without a good one a row later is left out and
        counted in `left_out`.
        """
        period = 1.0 / self._contract.rate_hz
        good: Frame | None = None
        since: list[Frame | Other] = []  # what came after it
        for item in items:
            if not isinstance(item, Frame) or item.problem:
                if good is None:
                    yield item
                else:
                    since.append(item)
                continue
            if good is not None and item.stamp - good.stamp <= GAP * period:
                yield dataclasses.replace(good, action=self.action_of(item.state))
            elif good is not None:
                self.left_out += 1
            yield from since
            good, since = item, []
        self.left_out += good is not None
        yield from since
