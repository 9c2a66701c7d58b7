"""A VLA-Adapter checkpoint as a LeRobot policy."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, NoReturn

import torch
from huggingface_hub import snapshot_download
from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE
from torch import Tensor

from lerobot_policy_vla_adapter.configuration_vla_adapter import VlaAdapterConfig
from vla_adapter_ros.model import VlaAdapterPolicy as Policy
from vla_adapter_ros.model.checkpoint_location import find_checkpoint
from vla_adapter_ros.model.published import as_evaluated, rows_to_execute

INNER = "vla_adapter"
"""Folder of the checkpoint within LeRobot's."""
_LIBERO_CAMERAS = ("image", "image2", "image3")  # as LeRobot calls those of a robot without names


class VlaAdapterPolicy(PreTrainedPolicy):
    """Answers observations with the rows of the checkpoint's chunks.

    Args:
        config: Names the checkpoint.
        checkpoint: Its folder, if not as `config` says.
        others: Of LeRobot, such as statistics; not used.

    Raises:
        CheckpointError: the checkpoint cannot be had.
        ValueError: `n_action_steps` is not allowed.
    """

    config_class = VlaAdapterConfig
    name = "vla_adapter"

    def __init__(self, config: VlaAdapterConfig, checkpoint: Path | None = None, **others: Any) -> None:
        super().__init__(config)
        loaded = Policy.from_pretrained(
            checkpoint or find_checkpoint(config.checkpoint),
            platform=config.platform or None,
            device=config.device,
            dtype=None,
        )
        self._policy = as_evaluated(loaded)
        self.network = self._policy.network  # so that it is on LeRobot's device, and its parameters are seen
        chunk, rows = loaded.config.chunk, config.n_action_steps
        if rows is not None and not 1 <= rows <= chunk:
            raise ValueError(f"n_action_steps = {rows}: allowed is 1 to {chunk}")
        self._rows = rows or rows_to_execute(loaded)
        config.n_action_steps, config.platform = self._rows, ""  # stored is a checkpoint of ours
        contract = loaded.contract
        names = contract.camera_names if contract else _LIBERO_CAMERAS[: loaded.config.num_images]
        self._image_keys = [f"{OBS_IMAGES}.{name}" for name in names]
        config.input_features = config.input_features or self._inputs()
        action = PolicyFeature(type=FeatureType.ACTION, shape=(loaded.config.action_dim,))
        config.output_features = config.output_features or {ACTION: action}
        self.reset()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        revision: str | None = None,
        **others: Any,
    ) -> VlaAdapterPolicy:
        """Open a folder, or a repository on the hub, that `save_pretrained` wrote.

        Args:
            pretrained_name_or_path: Folder or `owner/name`.
            config: As stored, with changes of the command line.
            revision: Branch, tag or commit on the hub.
            others: Further arguments of LeRobot; not used.
        """
        name = str(pretrained_name_or_path)
        config = config or PreTrainedConfig.from_pretrained(name, revision=revision)
        folder = (
            name
            if Path(name).is_dir()
            else snapshot_download(name, revision=revision, allow_patterns=f"{INNER}/*")
        )
        return cls(config, Path(folder) / INNER).eval()

    def _save_pretrained(self, save_directory: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        self.config._save_pretrained(save_directory)
        self._policy.save_pretrained(save_directory / INNER, dtype=self.network.dtype)

    def reset(self) -> None:
        """Forget the rows of the chunk before."""
        self._queue: deque[Tensor] = deque()

    @torch.inference_mode()
    def predict_action_chunk(self, batch: dict[str, Any], **others: Any) -> Tensor:
        """A chunk per observation.

        Args:
            batch: Images float32 (B, 3, H, W) from 0 to 1, `observation.state` (B, S) in the robot's units,
                and `task`, a list of B instructions.
            others: Further arguments of LeRobot; not used.

        Returns:
            float32 (B, H, A), in the robot's units.

        Raises:
            KeyError: an image or the state is missing.
            ObservationError: something does not fit the checkpoint.
        """
        states = batch[OBS_STATE].double().cpu().numpy()
        views = [
            (255.0 * batch[key]).round().byte().permute(0, 2, 3, 1).cpu().numpy() for key in self._image_keys
        ]
        chunks = [
            self._policy.predict([view[i] for view in views], text, states[i])
            for i, text in enumerate(batch["task"])
        ]
        return torch.stack([torch.from_numpy(chunk) for chunk in chunks]).float().to(batch[OBS_STATE].device)

    def select_action(self, batch: dict[str, Any], **others: Any) -> Tensor:
        """The next row of each chunk, float32 (B, A); a new chunk when its rows are used up."""
        if not self._queue:
            self._queue.extend(self.predict_action_chunk(batch).unbind(1)[: self._rows])
        return self._queue.popleft()

    def forward(self, batch: dict[str, Tensor]) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: training is not LeRobot's.
        """
        raise NotImplementedError("a VLA-Adapter policy is trained by `vla-adapter finetune`")

    def get_optim_params(self) -> NoReturn:
        """As `forward`."""
        raise NotImplementedError("a VLA-Adapter policy is trained by `vla-adapter finetune`")

    def _inputs(self) -> dict[str, PolicyFeature]:
        config, contract = self._policy.config, self._policy.contract
        size = config.preprocessing.size
        sizes = [(c.height, c.width) for c in contract.cameras.values()] if contract else [(size, size)] * 3
        images = {
            key: PolicyFeature(type=FeatureType.VISUAL, shape=(3, *size))
            for key, size in zip(self._image_keys, sizes, strict=False)
        }
        return {**images, OBS_STATE: PolicyFeature(type=FeatureType.STATE, shape=(config.proprio_dim,))}
