"""What the published recipe does for one training step, with nothing left out: the baseline of the loop.

Per sample: both images are decoded from JPEG, as its data sets store them, resized, augmented and turned
into pixel values one by one; the prompt is tokenized again. Then the batch is padded and goes through the
network as the published code runs it: each image through each whole tower, the unread last blocks
included; word scores of every position in float32 and their cross-entropy, which is not part of the loss
but is computed; all hidden states stacked; the head; AdamW without clipping.

What is the same as in our loop: the weights, their types, autocast, the adapters, the optimizer, torch.
The published code keeps trained weights in bf16 as well; here both have float32.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vla_adapter_ros.benchmarks.reference import ReferencePath
from vla_adapter_ros.model import Conditions, VlaAdapterPolicy
from vla_adapter_ros.training.data.augmentation import augment, draw
from vla_adapter_ros.training.module import TrainingModule, autocast
from vla_adapter_ros.training.settings import FinetuneSettings

_IGNORED = -100


class ReferenceTraining:
    """Steps as the published code takes them, on a model that `TrainingModule` wraps.

    Args:
        module: What trains; the extra waypoint output is not used.
        policy: Its pixel values, tokenizer and statistics.
        resize: Images to the model's size, without a crop.
        frames: JPEG data by row and camera.
        instructions: By row.
        state, chunks: By row, in the robot's units: (N, S) and (N, H, A).
        augmentation: Name of the augmentation, the same as our loop's.
        settings: Learning rate, types and strength of the augmentation.
    """

    def __init__(
        self,
        module: TrainingModule,
        policy: VlaAdapterPolicy,
        resize: Callable[[np.ndarray], np.ndarray],
        frames: list[list[bytes]],
        instructions: list[str],
        state: np.ndarray,
        chunks: np.ndarray,
        augmentation: str,
        settings: FinetuneSettings,
    ) -> None:
        self.network, self.policy = module.network, policy
        self.frames, self.instructions = frames, instructions
        self.state, self.chunks, self.augmentation, self.resize = state, chunks, augmentation, resize
        self.settings, self.device = settings, module.network.device
        self._path = ReferencePath(module.network)
        self._generator = torch.Generator().manual_seed(settings.seed)
        trained = [p for p in module.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=settings.lr)

    def step(self, rows: np.ndarray) -> float:
        """One optimizer step on rows (B,); gives the loss."""
        ids, mask, pixels, proprio, target = self._collate([self._sample(int(row)) for row in rows])
        with autocast(self.settings, self.device):
            conditions, words = self._conditions(ids, mask, pixels)
            noise = self.network.action_head.training_noise(self.device)
            actions = self.network.head_actions(conditions, proprio, noise)
            loss = F.l1_loss(actions, target)
        del words  # kept until here, as the published model's output object keeps it
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def _sample(self, row: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Token ids (P,), pixel values (C, channels, size, size), proprioception (S,), target (H, A)."""
        policy, settings, pixels = self.policy, self.settings, []
        for data in self.frames[row]:
            small = torch.from_numpy(self.resize(decode(data)))[None, None]
            draws = draw(
                self.augmentation, 1, 1, self._generator, gain=settings.gain, offset=settings.offset
            )  # fmt: skip
            pixels.append(policy.pixel_values(augment(self.augmentation, small, draws))[0, 0])
        ids, _ = policy.tokenize([self.instructions[row]])
        proprio = torch.from_numpy(policy.normalize_proprio(self.state[row])).float()
        target = torch.from_numpy(policy.normalize_actions(self.chunks[row])).float()
        return ids[0], torch.stack(pixels), proprio, target

    def _collate(self, samples: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> list[Tensor]:
        """Prompts padded on the left, which our network takes; the published code pads on the right."""
        longest = max(len(sample[0]) for sample in samples)
        pad = self.policy.tokenizer.pad_id
        ids = torch.stack([F.pad(s[0], (longest - len(s[0]), 0), value=pad) for s in samples])
        mask = torch.stack([F.pad(torch.ones_like(s[0]), (longest - len(s[0]), 0)) for s in samples])
        others = [torch.stack([sample[i] for sample in samples]) for i in (1, 2, 3)]
        return [tensor.to(self.device) for tensor in (ids, mask, *others)]

    def _conditions(self, ids: Tensor, mask: Tensor, pixels: Tensor) -> tuple[Conditions, Tensor]:
        """Hidden states as the network gives them, and the cross-entropy of the word scores."""
        network, states = self.network, []
        patches = self._path.vision(pixels)
        hook = network.language_model.register_forward_hook(
            lambda module, inputs, out: states.append(out[-1])
        )
        try:
            conditions = network.conditions_from_patches(ids, mask, patches)
        finally:
            hook.remove()
        words = F.linear(states[0], network.language_model.model.embed_tokens.weight).float()
        labels = torch.full(words.shape[:2], _IGNORED, device=self.device)
        labels[:, -network.config.num_queries :] = 0
        flat = words[:, :-1].reshape(-1, words.shape[-1])
        return conditions, F.cross_entropy(flat, labels[:, 1:].reshape(-1))


def decode(data: bytes) -> np.ndarray:
    """JPEG to uint8 RGB (H, W, 3)."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None  # made by `made_data`
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
