"""Camera images to pixel values: half turn, JPEG round trip, resize, center crop, mean and std.

Which steps run is a setting. The official chain (JPEG, Lanczos, crop) was written from its
description and is checked against images made with TensorFlow.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vla_adapter_ros.errors import ImageError, ObservationError
from vla_adapter_ros.model.config_enums import Resize
from vla_adapter_ros.model.config_parts import PreprocessingConfig

LANCZOS_RADIUS = 3.0
JPEG_QUALITY = 95


class Preprocessor:
    """The image chain of one checkpoint; `device` is where `pixels` mostly works."""

    def __init__(self, config: PreprocessingConfig, device: str | torch.device = "cpu") -> None:
        self.config = config
        groups = (config.means, config.stds)
        self._mean, self._std = (
            torch.tensor([v for group in values for v in group], dtype=torch.float32, device=device).view(
                -1, 1, 1
            )
            for values in groups
        )

    def resize(self, images: np.ndarray) -> np.ndarray:
        """Bring images to the model's size, cropped, still as bytes.

        Training may keep these instead of the camera images: `pixels(resize(x))` is all there is.
        Images that already have the model's size are not resized again (official rule), but turned
        and cropped; so the result is not to be fed in a second time.

        Args:
            images: uint8 RGB (..., h, w, 3).

        Returns:
            uint8 (..., size, size, 3).

        Raises:
            ObservationError: another type or shape.
            ImageError: the JPEG step is configured and its package is missing.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim < 3 or images.shape[-1] != 3 or 0 in images.shape:
            raise ObservationError(
                f"image of type {images.dtype} and shape {images.shape}: needed is uint8 (..., H, W, 3)"
            )
        flat = images.reshape(-1, *images.shape[-3:])
        if self.config.rotate_180:
            flat = np.ascontiguousarray(flat[:, ::-1, ::-1])
        size = self.config.size
        if flat.shape[1:3] != (size, size):
            if self.config.jpeg_round_trip:
                flat = np.stack([jpeg_round_trip(image) for image in flat])
            flat = (
                area_resize(flat, size) if self.config.resize == Resize.AREA else lanczos_resize(flat, size)
            )
        if self.config.center_crop < 1.0:
            flat = center_crop(flat, self.config.center_crop)
        return flat.reshape(*images.shape[:-3], size, size, 3)

    def pixels(self, images: Tensor | np.ndarray) -> Tensor:
        """Bytes, or brightness in [0, 1], to pixel values.

        Args:
            images: (..., size, size, 3), uint8, or float in [0, 1] (after augmentation).

        Returns:
            float32 (..., C, size, size), C = 3 per tower.
        """
        tensor = torch.as_tensor(images)
        unit = tensor.float().div(255.0) if tensor.dtype == torch.uint8 else tensor.float()
        unit = unit.movedim(-1, -3)
        repeated = torch.cat([unit] * len(self.config.means), dim=-3)
        return (repeated - self._mean.to(unit.device)) / self._std.to(unit.device)


def area_resize(images: np.ndarray, size: int) -> np.ndarray:
    """Average over the area of each output pixel; uint8 (B, H, W, 3) to (B, size, size, 3)."""
    planes = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    small = F.interpolate(planes, size=(size, size), mode="area")
    return small.round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


@lru_cache(maxsize=16)
def _lanczos_weights(before: int, after: int) -> np.ndarray:
    """Weights float32 (after, before): Lanczos-3, half-pixel centers, stretched when shrinking."""
    scale = before / after
    stretch = max(scale, 1.0)
    centers = (np.arange(after)[:, None] + 0.5) * scale
    x = np.abs((np.arange(before)[None, :] + 0.5 - centers) / stretch)
    weights = np.where(x < LANCZOS_RADIUS, np.sinc(x) * np.sinc(x / LANCZOS_RADIUS), 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def lanczos_resize(images: np.ndarray, size: int) -> np.ndarray:
    """Lanczos-3 with antialiasing in float32, rounded half to even; aspect ratio is not kept.

    Within 1 level of TensorFlow's `resize(..., "lanczos3", antialias=True)` on less than 0.1 % of values.
    """
    rows, columns = (torch.from_numpy(_lanczos_weights(before, size)) for before in images.shape[1:3])
    planes = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    out = rows @ (planes @ columns.T)  # (B, 3, size, size)
    return out.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def center_crop(images: np.ndarray, area: float) -> np.ndarray:
    """Keep the central box of this area and stretch it back, bilinear with aligned corners.

    Float32 in the order of TensorFlow's `crop_and_resize`, so the bytes are equal.

    Args:
        images: uint8 (B, n, n, 3).
        area: Fraction of the area that is kept, in (0, 1).
    """
    size = images.shape[1]
    one = np.float32(1.0)
    side = np.clip(np.sqrt(np.float32(area)), np.float32(0), one)
    start = (one - side) / np.float32(2)
    end = start + side
    step = (end - start) * np.float32(size - 1) / np.float32(size - 1)
    at = start * np.float32(size - 1) + np.arange(size, dtype=np.float32) * step
    low = np.floor(at).astype(int)
    high = np.minimum(np.ceil(at).astype(int), size - 1)
    weight = (at - low).astype(np.float32)
    unit = images.astype(np.float32) * np.float32(1 / 255)
    left, right = unit[:, :, low], unit[:, :, high]
    rows = left + (right - left) * weight[None, None, :, None]
    top, bottom = rows[:, low], rows[:, high]
    out = np.clip(top + (bottom - top) * weight[None, :, None, None], 0, 1)
    return np.minimum(out * np.float32(255.5), 255).astype(np.uint8)


def jpeg_round_trip(image: np.ndarray) -> np.ndarray:
    """Encode as JPEG and decode with libjpeg-turbo's fast DCT, as the official evaluation does.

    The bytes equal TensorFlow's. OpenCV and Pillow decode with the accurate DCT, which differs by up
    to 14 levels, so no other decoder stands in; simplejpeg's own encoder differs, so OpenCV encodes.

    Args:
        image: uint8 RGB (H, W, 3); the result has the same shape.

    Raises:
        ImageError: the package `simplejpeg` is missing.
    """
    try:
        import simplejpeg
    except ImportError:
        raise ImageError(
            "this checkpoint's preprocessing has a JPEG round trip with the fast DCT, which needs "
            f"the package 'simplejpeg'; without it only images of the model's own size fit, not {image.shape}"
        ) from None
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)
    return simplejpeg.decode_jpeg(data.tobytes(), fastdct=True, fastupsample=False)
