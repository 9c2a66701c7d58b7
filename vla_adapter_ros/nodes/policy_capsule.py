"""The policy's half of a capsule, and the whole that automatic ones become."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.capsule.folder import Half
from vla_adapter_ros.capsule.merge import find_other_half, join_halves
from vla_adapter_ros.capsule.policy_ring import PolicyRing
from vla_adapter_ros.control.instructions import EndedBy, Ending
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.capsule_halves import policy_content
from vla_adapter_ros.nodes.capsule_saver import CapsuleSaver, Content
from vla_adapter_ros.nodes.conversions import seconds
from vla_adapter_ros.nodes.parameters import PolicyParameters
from vla_adapter_ros.nodes.policy_loading import LoadedPolicy, replay_facts
from vla_adapter_ros.observation.frame import Frame

OTHER_HALF_WITHIN_S = 10.0
_LOOK_S = 0.2
_FAULTS = (EndedBy.FAULT, EndedBy.SILENCE)


class PolicyCapsule:
    """Remembers what chunks were predicted from, and saves it; to be made in `configure`.

    After a fault the controller saves its half as well; where both lie in one folder they are joined here.

    Args:
        node: Configured node.
        loaded: Its policy.
        session: Of the policy.
        instruction: Gives the words that are followed now.
    """

    def __init__(
        self,
        node: ManagedNode[PolicyParameters],
        loaded: LoadedPolicy,
        session: str,
        instruction: Callable[[], str],
    ) -> None:
        self._node, self._loaded, self._session, self._instruction = node, loaded, session, instruction
        cameras = node.contract.cameras
        self._ring = PolicyRing(tuple(name for name in cameras if cameras[name].transport == "compressed"))
        self._saver = CapsuleSaver(node, Half.POLICY, self._content, self._join)

    def note_image(self, camera: str, message: Any, received: float) -> None:
        """Take note of an image as it came."""
        if self._node.contract.time_source(camera) == "header":
            received = seconds(message.header.stamp)
        self._ring.note_image(camera, received, message)

    def add(
        self, frame: Frame, instruction: str, rows: np.ndarray, message: Any, committed: np.ndarray | None
    ) -> None:
        """Take note of a prediction: see `Inference`."""
        self._ring.add(frame, instruction, rows, message, committed)

    def note_ending(self, ending: Ending) -> None:
        """Save a capsule soon if a fault has ended an instruction; returns at once."""
        if ending.by in _FAULTS:
            self._saver.note_fault(ending.why)

    def _content(self) -> Content | None:
        described = self._loaded.describe()
        facts = {
            "session": self._session,
            "instruction": self._instruction(),
            "checkpoint": self._loaded.name,
            "checkpoint_path": self._loaded.path,
        }
        inferences = self._ring.contents()
        if inferences and not facts["instruction"]:
            facts["instruction"] = inferences[-1].instruction
        return policy_content(self._node, inferences, facts | described, replay_facts(self._loaded.policy))

    def _join(self, path: Path) -> Path:
        """Join the half with that of the controller, once that is there; alone it is a capsule, too."""
        deadline = time.monotonic() + OTHER_HALF_WITHIN_S
        while time.monotonic() < deadline and self._node.active:
            if other := find_other_half(path, Half.CONTROLLER, self._session):
                return join_halves(path, other)
            time.sleep(_LOOK_S)
        return path
