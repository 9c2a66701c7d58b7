"""Image steps with one thing changed. With nothing changed they equal ours (tested)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Step = Callable[..., np.ndarray]


def broken_crop(scale: float = 255.5, half: float = 0.0, aligned: bool = True) -> Step:
    """The central crop with another factor to bytes, `half` added before truncation, or pixel centers."""

    def crop(images: np.ndarray, area: float) -> np.ndarray:
        size, one = images.shape[1], np.float32(1)
        side = np.sqrt(np.float32(area))
        start = (one - side) / np.float32(2)
        step = (start + side - start) * np.float32(size - 1) / np.float32(size - 1)
        at = start * np.float32(size - 1) + np.arange(size, dtype=np.float32) * step
        if not aligned:
            at = start * np.float32(size) + (np.arange(size, dtype=np.float32) + np.float32(0.5)) * side
            at = at - np.float32(0.5)
        low = np.floor(at).astype(int)
        high = np.minimum(np.ceil(at).astype(int), size - 1)
        share = (at - low).astype(np.float32)
        unit = images.astype(np.float32) * np.float32(1 / 255)

        def across(rows: np.ndarray) -> np.ndarray:
            left, right = unit[:, rows][:, :, low], unit[:, rows][:, :, high]
            return left + (right - left) * share[None, None, :, None]

        top, bottom = across(low), across(high)
        out = np.clip(top + (bottom - top) * share[None, :, None, None], 0, 1)
        return np.minimum(out * np.float32(scale) + np.float32(half), 255).astype(np.uint8)

    return crop


def broken_lanczos(antialias: bool = True, aligned: bool = False, truncate: bool = False) -> Step:
    """Lanczos-3 without the wider kernel for shrinking, with aligned corners, or truncated to bytes."""

    def weights(before: int, after: int) -> np.ndarray:
        scale = before / after
        stretch = max(scale, 1.0) if antialias else 1.0
        centers = (np.arange(after) + 0.5) * scale - 0.5
        if aligned:
            centers = np.arange(after) * (before - 1) / (after - 1)
        x = np.abs((np.arange(before)[None] - centers[:, None]) / stretch)
        found = np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0)
        return (found / found.sum(axis=1, keepdims=True)).astype(np.float32)

    def resize(images: np.ndarray, size: int) -> np.ndarray:
        rows, columns = (weights(n, size) for n in images.shape[1:3])
        out = np.einsum("ih,bhwc,jw->bijc", rows, images.astype(np.float32), columns, optimize=True)
        return np.clip(np.floor(out) if truncate else np.rint(out), 0, 255).astype(np.uint8)

    return resize
