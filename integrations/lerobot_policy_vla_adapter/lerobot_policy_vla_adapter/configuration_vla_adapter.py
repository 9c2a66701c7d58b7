"""What LeRobot stores of a policy of ours, in its config.json."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import FeatureType
from lerobot.utils.constants import OBS_IMAGES


@PreTrainedConfig.register_subclass("vla_adapter")
@dataclass
class VlaAdapterConfig(PreTrainedConfig):
    """Which checkpoint answers, and how many rows of its chunks are executed.

    Attributes:
        checkpoint: Directory, hub id or shipped name of a checkpoint; not needed with a folder that
            `python -m lerobot_policy_vla_adapter` wrote, which holds one.
        platform: Of an official checkpoint; empty: it is one of vla_adapter_ros.
        n_action_steps: Rows executed of each chunk; None: all of an official checkpoint, else 4.
    """

    checkpoint: str = ""
    platform: str = ""
    n_action_steps: int | None = None

    @property
    def observation_delta_indices(self) -> None:
        """One observation at a time."""

    @property
    def action_delta_indices(self) -> None:
        """Of training, which is not LeRobot's."""

    @property
    def reward_delta_indices(self) -> None:
        """No rewards."""

    def get_optimizer_preset(self) -> None:
        """Refuse: see `VlaAdapterPolicy.forward`."""
        raise NotImplementedError("a VLA-Adapter policy is trained by `vla-adapter finetune`")

    def get_scheduler_preset(self) -> None:
        """No schedule, as no training."""

    def validate_features(self) -> None:
        """Images are needed.

        Raises:
            ValueError: there are none.
        """
        features = (self.input_features or {}).items()
        if not any(f.type is FeatureType.VISUAL and name.startswith(OBS_IMAGES) for name, f in features):
            raise ValueError(f"input features {[name for name, _ in features]}: needed is {OBS_IMAGES}.NAME")
