"""Policies from which something is taken: a suite on which they succeed measures nothing."""

from __future__ import annotations

import numpy as np
import torch

from vla_adapter_ros.choices import Control
from vla_adapter_ros.evaluation.policy_loop import Policy
from vla_adapter_ros.model import VlaAdapterPolicy

_SEED = 0
_NO_WORDS = "do something"


def with_control(policy: VlaAdapterPolicy, control: Control) -> Policy:
    """The policy without what the control takes from it.

    Args:
        policy: As it was trained; `UNTRAINED` changes its weights.
        control: What is taken.
    """
    if control is Control.UNTRAINED:
        _forget(policy)
    if control in (Control.NO_LANGUAGE, Control.SWAPPED_CAMERAS):
        return _Deprived(policy, control)
    return policy


class _Deprived:
    """Hands on all but words, or the cameras' pictures in another order."""

    def __init__(self, policy: VlaAdapterPolicy, control: Control) -> None:
        self.config, self._policy, self._control = policy.config, policy, control

    def predict(
        self,
        images: list[np.ndarray],
        instruction: str,
        proprio: np.ndarray,
        committed: np.ndarray | None = None,
    ) -> np.ndarray:
        """As the policy, for what is left."""
        if self._control is Control.NO_LANGUAGE:
            instruction = _NO_WORDS
        else:
            images = images[1:] + images[:1]
        return self._policy.predict(images, instruction, proprio, committed)


def _forget(policy: VlaAdapterPolicy) -> None:
    """Draw all weights anew, as a training begins with."""
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for parameter in policy.network.parameters():
            spread = float(parameter.float().std()) if parameter.numel() > 1 else 0.0
            drawn = torch.randn(parameter.shape, generator=generator) * spread
            parameter.copy_(drawn.to(parameter))
