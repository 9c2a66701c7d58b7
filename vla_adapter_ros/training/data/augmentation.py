"""Image augmentation: what a step does to the images that it trains on.

Draws and their use are apart. Draws are a few numbers per image and follow from the seed and the step
alone; they are made on the CPU, for a whole batch. Using them is arithmetic on whole batches, on any
device, with the images as brightness in [0, 1].
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_parts import PreprocessingConfig
from vla_adapter_ros.training.setting_words import Augmentation
from vla_adapter_ros.training.settings import FinetuneSettings

CROP_AREA = 0.9
BRIGHTNESS = 0.2
CONTRAST = SATURATION = (0.8, 1.2)
HUE = 0.05  # of the full circle
BYTE_SCALE = 255.5  # the published chain makes bytes by truncating value * 255.5

Draws = dict[str, Tensor]
"""Name of a draw to its values, float32 (B, C)."""


def resolve_augmentation(name: str, config: VlaAdapterConfig) -> Augmentation:
    """What `auto` stands for: `light` for models with a convolution stem (tiny), else `official`.

    Raises:
        TrainingError: unknown name.
    """
    chosen = Augmentation.check("augmentation", name, TrainingError)
    if chosen != Augmentation.AUTO:
        return chosen
    return Augmentation.LIGHT if config.stem else Augmentation.OFFICIAL


def evaluation_preprocessing(name: str, config: PreprocessingConfig) -> PreprocessingConfig:
    """The preprocessing that the checkpoint must have after training with augmentation `name`.

    A policy trained on random crops of 90 % of the area has to see the central 90 % when it runs.
    Otherwise the preprocessing stays as it was, a crop that was there already included.
    """
    return dataclasses.replace(config, center_crop=CROP_AREA) if name == Augmentation.OFFICIAL else config


def prepare_preprocessing(policy: VlaAdapterPolicy, settings: FinetuneSettings) -> VlaAdapterPolicy:
    """The policy with the preprocessing that it needs after training with the settings' augmentation."""
    config = policy.config
    name = resolve_augmentation(settings.augmentation, config)
    preprocessing = evaluation_preprocessing(name, config.preprocessing)
    if preprocessing == config.preprocessing:
        return policy
    return policy.replace(config=dataclasses.replace(config, preprocessing=preprocessing))


def draw(
    name: str, batch: int, cameras: int, generator: torch.Generator, *, gain: float = 0.0, offset: float = 0.0
) -> Draws:
    """Draw for a batch; every image of every camera gets numbers of its own.

    Args:
        name: `official`, `light` or `none`.
        batch: Samples B.
        cameras: Cameras C.
        generator: A CPU generator.
        gain, offset: Of `light`: largest relative change, and largest shift (of 1).
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, cameras, generator=generator)

    if name == Augmentation.LIGHT:
        return {"gain": uniform(1 - gain, 1 + gain), "offset": uniform(-offset, offset)}
    if name == Augmentation.OFFICIAL:
        return {
            "place": uniform(0.0, 1.0),
            "brightness": uniform(-BRIGHTNESS, BRIGHTNESS),
            "contrast": uniform(*CONTRAST),
            "saturation": uniform(*SATURATION),
            "hue": uniform(-HUE, HUE),
        }
    return {}


def augment(name: str, images: Tensor, draws: Draws) -> Tensor:
    """Change images as drawn.

    Args:
        name: `official`, `light` or `none`.
        images: uint8 (B, C, h, w, 3), not cropped for `official`.
        draws: What `draw` gave for B samples and C cameras; moved to the images' device.

    Returns:
        float32 (B, C, h, w, 3) in [0, 1]; for `official` whole bytes, as the published code makes them.
    """
    unit = images.float() / 255.0
    factors = {key: value.to(unit.device)[..., None, None, None] for key, value in draws.items()}
    if name == Augmentation.LIGHT:
        return (unit * factors["gain"] + factors["offset"]).clamp(0, 1)
    if name == Augmentation.NONE:
        return unit
    unit = random_crop(unit, draws["place"].to(unit.device))
    unit = (unit + factors["brightness"]).clamp(0, 1)
    mean = unit.mean(dim=(-3, -2), keepdim=True)  # of each channel
    unit = ((unit - mean) * factors["contrast"] + mean).clamp(0, 1)
    unit = saturate(unit, factors["saturation"]).clamp(0, 1)
    unit = shift_hue(unit, factors["hue"]).clamp(0, 1)  # rounding leaves the range
    return (unit * BYTE_SCALE).floor().clamp(max=255) / 255.0


def random_crop(images: Tensor, place: Tensor, area: float = CROP_AREA) -> Tensor:
    """Cut a square of this fraction of the area out, and stretch it back, bilinear with aligned corners.

    One number decides both offsets, so crops lie on the diagonal: the published code draws height and
    width offset with one seed.

    Args:
        images: float32 (B, C, h, w, 3).
        place: From 0 (upper left) to 1 (lower right), (B, C).
        area: Fraction of the area, in (0, 1].
    """
    out = images
    side = math.sqrt(area)
    for axis in (2, 3):
        last = images.shape[axis] - 1
        steps = torch.arange(last + 1, device=images.device, dtype=images.dtype) * side
        at = (place[..., None] * ((1 - side) * last) + steps).clamp(0, last)  # (B, C, n)
        low = at.floor()
        shape = [*at.shape[:2], 1, 1, 1]
        shape[axis] = last + 1
        weight = (at - low).view(shape)
        size = [*out.shape]
        first = out.gather(axis, low.long().view(shape).expand(size))
        second = out.gather(axis, at.ceil().long().view(shape).expand(size))
        out = first + (second - first) * weight
    return out.clamp(0, 1)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply the saturation of the HSV model, at most to 1; images (..., 3) in [0, 1]."""
    value = images.amax(dim=-1, keepdim=True)
    chroma = value - images.amin(dim=-1, keepdim=True)
    max_factor = value / chroma.clamp(min=1e-12)  # 1 / saturation
    return value - (value - images) * torch.minimum(factor.expand_as(value), max_factor)


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Shift the hue of the HSV model; images (..., 3) in [0, 1], `shift` as a fraction of the full circle."""
    red, green, blue = images.unbind(dim=-1)
    value = images.amax(dim=-1)
    chroma = value - images.amin(dim=-1)
    divisor = chroma.clamp(min=1e-12)
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    hue = hue + 6 * shift.squeeze(-1)  # in sixths of the circle
    channels = []
    for n in (5, 3, 1):
        k = (n + hue) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=-1)
