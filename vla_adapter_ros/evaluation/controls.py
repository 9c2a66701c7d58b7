"""The policy of an evaluation; without its words or eyes it should fail, or the suite measures nothing."""

from __future__ import annotations

import numpy as np
import torch

from vla_adapter_ros.choices import Control
from vla_adapter_ros.contract import Contract, read_contract, require_same
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.conditions import Conditions
from vla_adapter_ros.evaluation.policy_loop import Policy
from vla_adapter_ros.model import VlaAdapterPolicy

_SEED = 0
_NO_WORDS = "do something"


def policy_and_robot(wanted: Conditions, device: str) -> tuple[VlaAdapterPolicy, Contract]:
    """The policy that is evaluated, and the contract of the robot that it drives.

    Raises:
        ParameterError: neither the conditions nor the checkpoint name a robot.
        ContractMismatch: the checkpoint was made for another robot.
        CheckpointError: the checkpoint cannot be had.
    """
    policy = VlaAdapterPolicy.from_pretrained(wanted.checkpoint, device=device)
    trained_for = policy.contract
    robot = read_contract(wanted.contract) if wanted.contract else trained_for
    if robot is None:
        raise ParameterError(
            f"checkpoint {wanted.checkpoint} carries no contract: name the simulated robot's"
        )
    if trained_for is not None:
        require_same(robot, trained_for, f"checkpoint {wanted.checkpoint}")
    return policy, robot


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
