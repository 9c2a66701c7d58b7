"""What the published code does for one observation, with nothing left out: the baseline of the engine.

The work and its order follow the published inference: one image at a time through each whole tower, a
stop token behind the queries, word scores of all positions in float32, all hidden states
stacked, and a head that projects the states block by block. The kernels are torch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vla_adapter_ros.model import Conditions, VlaAdapter
from vla_adapter_ros.model.config_enums import Resize, TokenOrder
from vla_adapter_ros.model.preprocessing import Preprocessor, center_crop, jpeg_round_trip
from vla_adapter_ros.model.resampling import lanczos_weights
from vla_adapter_ros.model.vision import Vit

STOP_TOKEN = 2


class ReferencePath:
    """Three stages on the weights of a network, with the arguments of `InferenceEngine`'s."""

    def __init__(self, network: VlaAdapter) -> None:
        self.network = network
        self._preprocessor = Preprocessor(network.config.preprocessing)

    def prepare(self, cameras: Sequence[np.ndarray]) -> Tensor:
        """Camera images uint8 (h, w, 3) to (images, size, size, 3), one after the other, by whole products.

        Published models go through JPEG always, even where the checkpoint's own chain does without.
        """
        config = self.network.config.preprocessing
        planes = [torch.from_numpy(image).permute(2, 0, 1).float() for image in map(self._encoded, cameras)]
        small = []
        for image in planes:
            if config.resize == Resize.AREA:
                resized = F.interpolate(image[None], size=(config.size, config.size), mode="area")[0]
            else:
                rows, columns = (torch.from_numpy(lanczos_weights(n, config.size)) for n in image.shape[1:])
                resized = rows @ (image @ columns.T)
            small.append(resized.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous())
        images = torch.stack(small)
        if config.center_crop < 1.0:
            images = torch.from_numpy(center_crop(images.numpy(), config.center_crop))
        return images

    def _encoded(self, image: np.ndarray) -> np.ndarray:
        published = self.network.config.preprocessing.resize == Resize.LANCZOS3
        return jpeg_round_trip(image) if published else image

    @torch.inference_mode()
    def predict(
        self, images: Tensor, input_ids: Tensor, proprio: Tensor, mark: Callable[[str], None] = lambda _: None
    ) -> Tensor:
        """Images uint8 (images, size, size, 3), ids (P,), proprioception (S,) to actions, float32 (H, A).

        `mark` is called with the name of each stage, as in `InferenceEngine.predict`.
        """
        device = self.network.device
        patches = self.vision(self._preprocessor.pixels(images)[None].to(device))
        mark("vision")
        conditions = self.language(patches, input_ids.to(device))
        mark("llm")
        actions = self.head(conditions, proprio.to(device)).cpu()
        mark("head")
        return actions

    def vision(self, pixel_values: Tensor) -> Tensor:
        """Pixel values (1, images, C, h, w) to patch tokens (1, N, hidden)."""
        network, pixel_values = self.network, pixel_values.to(self.network.dtype)
        if network.config.stem:  # published models have none
            return network.patch_tokens(pixel_values)
        views = []
        for image in pixel_values.split(1, dim=1):
            towers = []
            for i, vit in enumerate(network.config.vits):
                tower = getattr(network.vision_backbone, vit.key)
                towers.append(tower(image[:, :, 3 * i : 3 * i + 3])[:, 0])
                self._unread_block(tower, towers[-1])
            views.append(torch.cat(towers, dim=-1))
        return network.projector(torch.cat(views, dim=1))

    @staticmethod
    def _unread_block(tower: Vit, features: Tensor) -> None:
        """The published code runs the last block as well, and drops what comes out."""
        prefix = features[:, :1].expand(-1, tower.prefix_tokens, -1)
        tower.blocks[-1](torch.cat([prefix, features], dim=1))

    def language(self, patches: Tensor, input_ids: Tensor) -> Conditions:
        """Patch tokens (1, N, hidden) and prompt ids (P,) to the stacked hidden states."""
        network, config = self.network, self.network.config
        model, n, p, q = network.language_model, config.num_patches, len(input_ids), config.num_queries
        words = model.model.embed_tokens(input_ids)[None].to(patches.dtype)
        queries = network.action_queries.weight[None].to(patches.dtype)
        stop = model.model.embed_tokens(input_ids.new_full((1, 1), STOP_TOKEN)).to(patches.dtype)
        if config.token_order == TokenOrder.TEXT_FIRST:
            sequence = torch.cat([words, patches, queries], dim=1)
            task_start, action_start = p, p + n
        else:
            sequence = torch.cat([words[:, :1], patches, words[:, 1:], queries, stop], dim=1)
            task_start, action_start = 0, n + p - 1
        states = model(sequence)
        F.linear(states[-1], model.model.embed_tokens.weight).float()  # word scores, which nobody reads
        stacked = torch.stack(states, dim=1)
        return Conditions(
            task=stacked[:, :, task_start : task_start + n].contiguous(),
            action=stacked[:, :, action_start : action_start + q].contiguous(),
        )

    def head(self, conditions: Conditions, proprio: Tensor) -> Tensor:
        """Hidden states and normalized proprioception (S,) to normalized actions, float32 (H, A)."""
        return self.network.head_actions(conditions, proprio[None])[0]
