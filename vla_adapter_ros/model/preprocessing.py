"""Camera images to pixel values: half turn, JPEG round trip, resize, center crop, mean and std.

Which steps run is a setting. The official chain (JPEG, Lanczos, crop) was written from its
description and is checked against images made with TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from vla_adapter_ros.errors import ImageError, ObservationError
from vla_adapter_ros.model import resampling
from vla_adapter_ros.model.config_enums import Resize
from vla_adapter_ros.model.config_parts import PreprocessingConfig

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
        images = _checked(images)
        size, flat = self.config.size, self.turn_and_encode(images.reshape(-1, *images.shape[-3:]))
        if flat.shape[1:3] != (size, size):
            flat = (
                area_resize(flat, size) if self.config.resize == Resize.AREA else lanczos_resize(flat, size)
            )
        if self.config.center_crop < 1.0:
            flat = center_crop(flat, self.config.center_crop)
        return flat.reshape(*images.shape[:-3], size, size, 3)

    def turn_and_encode(self, images: np.ndarray) -> np.ndarray:
        """The first steps of `resize`, which only a CPU does: half turn and JPEG; uint8 (B, h, w, 3).

        Raises:
            As `resize`.
        """
        images = _checked(images)
        if self.config.rotate_180:
            images = np.stack([cv2.rotate(np.ascontiguousarray(image), cv2.ROTATE_180) for image in images])
        size = self.config.size
        if self.config.jpeg_round_trip and images.shape[1:3] != (size, size):
            images = np.stack([jpeg_round_trip(image) for image in images])
        return images

    def fit(self, images: Tensor) -> Tensor:
        """The other steps of `resize` on any device, as operators that a graph can hold.

        Args:
            images: What `turn_and_encode` gives, uint8 (B, h, w, 3).

        Returns:
            uint8 (B, size, size, 3).
        """
        config, size = self.config, self.config.size
        if images.shape[1:3] != (size, size):
            resize = resampling.area if config.resize == Resize.AREA else resampling.lanczos
            images = resize(images, size)
        return resampling.crop_center(images, config.center_crop) if config.center_crop < 1.0 else images

    def resize_all(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Camera images, uint8 RGB (h, w, 3) each of its own size, to uint8 (images, size, size, 3).

        Faster than one after the other where they are of one size.

        Raises:
            As `resize`.
        """
        if len({image.shape for image in images}) == 1:
            return self.resize(np.stack(images))
        return np.stack([self.resize(image) for image in images])

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


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim < 3 or images.shape[-1] != 3 or 0 in images.shape:
        raise ObservationError(
            f"image of type {images.dtype} and shape {images.shape}: needed is uint8 (..., H, W, 3)"
        )
    return images


def area_resize(images: np.ndarray, size: int) -> np.ndarray:
    """Average over the area of each output pixel; uint8 (B, H, W, 3) to (B, size, size, 3)."""
    return resampling.area(_tensor(images), size).numpy()


def lanczos_resize(images: np.ndarray, size: int) -> np.ndarray:
    """As TensorFlow does it, see `resampling.lanczos`; uint8 (B, H, W, 3) to (B, size, size, 3)."""
    return resampling.lanczos(_tensor(images), size).numpy()


def center_crop(images: np.ndarray, area: float) -> np.ndarray:
    """Keep the central box of this area and stretch it back, see `resampling.crop_center`.

    Args:
        images: uint8 (B, n, n, 3).
        area: Fraction of the area that is kept, in (0, 1).
    """
    return resampling.crop_center(_tensor(images), area).numpy()


def _tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images))


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
