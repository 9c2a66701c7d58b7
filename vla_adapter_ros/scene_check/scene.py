"""Is the scene the same as in the demonstrations? Cameras and start pose in one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import SceneCheck
from vla_adapter_ros.dataset.start_pose import StartPose, read_start_pose
from vla_adapter_ros.scene_check.reference import ReferenceView
from vla_adapter_ros.scene_check.start import StartComparison, compare_start
from vla_adapter_ros.scene_check.store import read_references
from vla_adapter_ros.scene_check.views import Verdict, ViewComparison, compare_view

ADVICE = "`vla-adapter scene` shows what has changed and by how much"


@dataclass(frozen=True)
class SceneComparison:
    """What was found: a comparison per camera, in the contract's order, and that of the start pose."""

    views: tuple[ViewComparison, ...]
    start: StartComparison | None

    @property
    def parts(self) -> tuple[ViewComparison | StartComparison, ...]:
        """All comparisons."""
        return (*self.views, *((self.start,) if self.start else ()))

    @property
    def verdict(self) -> Verdict:
        """Changed if anything has; else same if anything is known to be; else unknown."""
        found = {part.verdict for part in self.parts}
        return next((v for v in (Verdict.CHANGED, Verdict.SAME) if v in found), Verdict.UNKNOWN)

    @property
    def problem(self) -> str:
        """What has changed, in a sentence without full stop; empty if nothing has."""
        return "; ".join(part.text for part in self.parts if part.verdict is Verdict.CHANGED)


class SceneMemory:
    """What a checkpoint knows of the scenes that its demonstrations began with.

    Args:
        contract: The robot's, with its limits.
        references: Camera -> what it always saw; may be empty.
        start: Start poses; may be empty.
    """

    def __init__(self, contract: Contract, references: Mapping[str, ReferenceView], start: StartPose) -> None:
        self._contract, self._start = contract, start
        self.references = dict(references)

    @classmethod
    def from_checkpoint(cls, checkpoint: Path, contract: Contract) -> SceneMemory:
        """Read what a checkpoint holds.

        Raises:
            CheckpointError: it is damaged.
        """
        return cls(contract, read_references(checkpoint), read_start_pose(checkpoint))

    @property
    def is_empty(self) -> bool:
        """Whether the checkpoint knows nothing, as those of earlier versions."""
        return not self.references and not self._start

    def compare(self, images: Mapping[str, np.ndarray], state: np.ndarray | None) -> SceneComparison:
        """Compare what the robot gives now.

        Args:
            images: Camera -> RGB, uint8 (H, W, 3); cameras that are missing are not compared.
            state: Proprioception float64 (S,); None: it is not compared.
        """
        views = tuple(
            compare_view(name, self.references.get(name), images[name], self._contract.safety.scene)
            for name in self._contract.camera_names
            if name in images
        )
        start = None if state is None else compare_start(self._start, self._contract, state)
        return SceneComparison(views, start)

    @property
    def refuses(self) -> bool:
        """Whether an instruction is refused when something has changed."""
        return self._contract.safety.scene.check is SceneCheck.REFUSE

    def changes(self, images: Mapping[str, np.ndarray], state: np.ndarray | None) -> str:
        """What the person is told before the arm moves: what has changed, and who shows it.

        Empty where nothing has, where nobody knows, and where the contract says off.
        """
        if self.is_empty or self._contract.safety.scene.check is SceneCheck.OFF:
            return ""
        problem = self.compare(images, state).problem
        return f"this is not the scene of the demonstrations: {problem}. {ADVICE}" if problem else ""
