"""Every malformed image is one sentence; what is unusual but good is taken; nothing huge is decoded."""

from __future__ import annotations

import time
import tracemalloc
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from malformed_images import BAD_IMAGES, BadImage, jpeg_of, picture, png_of, raw

from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.recording.image_headers import picture_size
from vla_adapter_ros.recording.images import ENCODINGS, decode_image


def test_there_are_enough_of_them() -> None:
    assert len(BAD_IMAGES) >= 150 and len({bad.name for bad in BAD_IMAGES}) == len(BAD_IMAGES)


@pytest.mark.parametrize("bad", BAD_IMAGES, ids=lambda bad: bad.name)
def test_a_malformed_image_is_one_sentence(bad: BadImage) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(SimpleNamespace(**bad.fields))
    sentence = str(caught.value)
    assert bad.words in sentence, sentence
    assert "\n" not in sentence and len(sentence) < 500
    assert "allowed" in sentence or "damaged" in sentence, sentence


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_padding_and_further_data_are_good(encoding: str) -> None:
    fields = raw(encoding)
    step = fields["step"] + 5
    image = decode_image(SimpleNamespace(**fields | {"step": step, "data": bytes(step * 6 + 4096)}))
    assert image.shape == (6, 8, 3)


def test_an_image_of_another_size_is_not_decoded_and_tells_its_size(monkeypatch) -> None:
    def fail(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", fail)
    monkeypatch.setattr(cv2, "cvtColor", fail)
    for data in (png_of(30000, 30000), jpeg_of(30000, 30000)):
        image = decode_image(SimpleNamespace(format="png", data=data), 0, (64, 48))
        assert image.shape == (30000, 30000, 3)
    assert decode_image(SimpleNamespace(**raw("bgr8")), 90, (8, 6)).shape == (8, 6, 3)
    with pytest.raises(ImageError, match="cannot be decoded: decoded"):
        decode_image(SimpleNamespace(**raw("bgr8")), 90, (6, 8))


@pytest.mark.slow
def test_a_huge_png_costs_nothing() -> None:
    """The real one: 2.6 MB that would unfold to 2.7 GB."""
    packer = zlib.compressobj(1)
    row = bytes(1 + 3 * 30000)
    data = b"".join([packer.compress(row) for _ in range(30000)]) + packer.flush()
    message = SimpleNamespace(format="png", data=png_of(30000, 30000).replace(zlib.compress(b""), data))
    tracemalloc.start()
    started = time.process_time()
    assert decode_image(message, 0, (64, 48)).shape == (30000, 30000, 3)
    with pytest.raises(ImageError, match="30000x30000: allowed are at most"):
        decode_image(message)
    assert time.process_time() - started < 0.5 and tracemalloc.get_traced_memory()[1] < 10 * len(data)
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (333, 5)])
def test_sizes_are_read_from_headers(kind: str, size: tuple[int, int]) -> None:
    assert picture_size(picture(kind, *size)) == size


def test_sizes_of_other_jpegs() -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    for flags in ([cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]):
        assert picture_size(cv2.imencode(".jpg", pixels, flags)[1].tobytes()) == (64, 48)
    assert picture_size(cv2.imencode(".jpg", pixels[..., 0])[1].tobytes()) == (64, 48)
    padded = picture("jpg", 64, 48) + bytes(1000)  # as some cameras send it
    assert decode_image(SimpleNamespace(format="jpeg", data=padded)).shape == (48, 64, 3)


def test_any_damage_is_an_image_error_or_an_image() -> None:
    random = np.random.default_rng(1)
    for kind in ("png", "jpg"):
        good = picture(kind, 64, 48)
        for _ in range(200):
            data = bytearray(good)
            for at in random.integers(0, len(data), random.integers(1, 20)):
                data[at] = random.integers(256)
            try:
                image = decode_image(SimpleNamespace(format=kind, data=bytes(data)), 0, (64, 48))
            except ImageError:
                continue
            assert image.ndim == 3 and image.dtype == np.uint8
