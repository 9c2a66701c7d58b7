"""RGB images as the planes that a video encoder takes, such that decoders give the same colors back.

FFmpeg's swscale, with which PyAV, torchcodec and LeRobot turn decoded videos into RGB, rounds each of its
terms down (BT.601, values 16 to 235):

    R = floor(1.164 (Y - 16)) + floor(1.596 (V - 128))
    G = floor(1.164 (Y - 16)) + floor(-0.392 (U - 128)) + floor(-0.813 (V - 128))
    B = floor(1.164 (Y - 16)) + floor(2.017 (U - 128))

A correctly rounded conversion to YUV therefore comes back darker, by 0.5 levels where it is gray and by 0.9
to 1.4 where it is colored, and once more after every further encoding. The planes made here are lighter by
what those roundings take (measured with FFmpeg 7 and 8 on x86-64: the table above is exact).
"""

from __future__ import annotations

import cv2
import numpy as np

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114  # of BT.601
_LUMA = 255 / 219
_V_RED, _U_BLUE = 2 * (1 - _RED) * 255 / 224, 2 * (1 - _BLUE) * 255 / 224
_V_GREEN, _U_GREEN = _V_RED * _RED / _GREEN, _U_BLUE * _BLUE / _GREEN
_FINE = 16  # chroma is computed in sixteenths before it is rounded
_SPARE = 32  # sixteenths that a lift may go beyond what chroma can be
_FIRST = 2**15 - 128 * _FINE - _SPARE  # the least that OpenCV's chroma of 16 bits can be, less the spare
_SPREAD = 1.5  # standard deviation of what an encoder changes in U and V
_LIFT = 64  # what is added to Y is looked up in units of 1/64


def _lost(factor: float) -> np.ndarray:
    """What rounding down takes from `factor * (c - 128)` for every c, (256,), 0 to 1.

    It jumps from one c to the next, and an encoder does not keep c: the mean over neighbors is what counts.
    Only a gray surface stays exactly gray.
    """
    exact = factor * (np.arange(256) - 128.0)
    lost = exact - np.floor(exact)
    weights = np.exp(-0.5 * (np.arange(-8, 9) / _SPREAD) ** 2)
    mean = np.convolve(np.pad(lost, 8, mode="edge"), weights / weights.sum(), "valid")
    mean[128] = lost[128]
    return mean


def _build_tables() -> tuple[np.ndarray, ...]:
    """Cb in sixteenths -> U, and Cr -> V; U, and V -> lift of Y [1/64]; U -> lift [Cr], and V -> lift [Cb].

    Y is lifted by what the three channels lose together, weighted as they are in Y. Blue and red are then
    brought right by U and V: of all values the one that comes back nearest is taken.
    """
    steps = np.arange(-_SPARE, 256 * _FINE + _SPARE)
    fine = (steps / _FINE - 128) * 224 / 255  # U - 128 and V - 128 that are wanted
    places, lifts = [], []
    for factor, weight, green in ((_U_BLUE, _BLUE, _U_GREEN), (_V_RED, _RED, _V_GREEN)):
        lost = _lost(factor)
        lifts.append(weight * lost + _GREEN * _lost(-green))  # levels of RGB
        back = factor * (np.arange(256) - 128.0) - lost + lifts[-1]
        error = np.abs(back - factor * fine[:, np.newaxis])  # (4160, 256)
        places.append(error.argmin(axis=1).astype(np.uint8))
    of_y = [(lifts[0] + 0.5) / _LUMA * _LIFT, lifts[1] / _LUMA * _LIFT]
    step = 224 / 255 / _FINE
    of_chroma = [lifts[0] / (_V_RED * step), lifts[1] / (_U_BLUE * step)]
    return (*places, *(np.round(table).astype(np.uint8) for table in (*of_y, *of_chroma)))


_U_OF, _V_OF, _LIFT_BY_U, _LIFT_BY_V, _RED_BY_U, _BLUE_BY_V = _build_tables()


def yuv_planes(image: np.ndarray) -> np.ndarray:
    """The planes Y, U and V of an image, as PyAV takes them for yuv420p.

    Args:
        image: uint8 (H, W, 3) RGB, even sizes.

    Returns:
        uint8 (1.5 H, W).
    """
    height, width = image.shape[:2]
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    _, red, blue = cv2.split(cv2.cvtColor(half.astype(np.uint16) * _FINE, cv2.COLOR_RGB2YCrCb))
    red, blue = np.asarray(red, np.uint16) - _FIRST, np.asarray(blue, np.uint16) - _FIRST
    u = np.take(_U_OF, blue, mode="clip")
    v = np.take(_V_OF, red - np.asarray(cv2.LUT(u, _RED_BY_U), np.uint8), mode="clip")
    u = np.take(_U_OF, blue - np.asarray(cv2.LUT(v, _BLUE_BY_V), np.uint8), mode="clip")
    lift = cv2.add(cv2.LUT(u, _LIFT_BY_U), cv2.LUT(v, _LIFT_BY_V))
    lift = cv2.resize(lift, (width, height), interpolation=cv2.INTER_NEAREST)
    planes = np.empty((height + height // 2, width), np.uint8)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cv2.addWeighted(gray, 1 / _LUMA, lift, 1 / _LIFT, 16.0, dst=planes[:height])
    planes[height:].reshape(2, -1)[0] = u.ravel()
    planes[height:].reshape(2, -1)[1] = v.ravel()
    return planes
