"""Every malformed image is one sentence; what is unusual but good is taken; nothing huge is decoded."""

from __future__ import annotations

import time
import tracemalloc
import zlib
from collections.abc import Iterator
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import simplejpeg
from malformed_images import BAD_IMAGES, BadImage, jpeg_of, lines_of, picture, png_of, raw

from vla_adapter_ros.contract.encodings import PIXELS
from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.observation.image_headers import picture_header
from vla_adapter_ros.observation.images import decode_image, decode_picture


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


@pytest.mark.parametrize("encoding", PIXELS)
def test_padding_and_further_data_are_good(encoding: str) -> None:
    fields = raw(encoding)
    step = fields["step"] + 5
    image = decode_image(
        SimpleNamespace(**fields | {"step": step, "data": bytes(step * lines_of(encoding) + 4096)})
    )
    assert image.shape == (6, 8, 3)


def test_an_image_of_another_size_is_not_decoded_and_tells_its_size(monkeypatch) -> None:
    def fail(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", fail)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", fail)
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
    header = picture_header(picture(kind, *size))
    assert ((header.width, header.height), header.gray, header.bits) == (size, False, 8)


def test_headers_of_other_jpegs() -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    for flags in ([cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]):
        header = picture_header(cv2.imencode(".jpg", pixels, flags)[1].tobytes())
        assert (header.width, header.height, header.gray) == (64, 48, False)
    header = picture_header(cv2.imencode(".jpg", pixels[..., 0])[1].tobytes())
    assert (header.width, header.height, header.gray) == (64, 48, True)
    header = picture_header(cv2.imencode(".png", pixels[..., 0].astype(np.uint16))[1].tobytes())
    assert (header.gray, header.bits) == (True, 16)
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


def damaged_jpegs(flags: list[int], bad: int, count: int) -> Iterator[tuple[np.ndarray, bytes]]:
    """What a good JPEG shows, and the same JPEG with `bad` bytes inside that are others."""
    random = np.random.default_rng(7)
    coarse = random.integers(0, 256, (12, 16, 3), np.uint8)
    pixels = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(pixels + random.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    good = cv2.imencode(".jpg", pixels, flags)[1].tobytes()
    shown = decode_picture(good)
    for _ in range(count):
        data, at = bytearray(good), int(random.integers(1000, len(good) - bad - 2))
        data[at : at + bad] = random.integers(0, 256, bad, np.uint8).tobytes()
        yield shown, bytes(data)


@pytest.mark.parametrize(
    "flags",
    [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 40]],
    ids=["baseline", "progressive", "restarts"],
)
def test_a_jpeg_with_bad_bytes_inside_is_refused_and_not_shown_half(flags: list[int]) -> None:
    refused = 0
    for shown, data in damaged_jpegs(flags, 400, 20):
        try:
            image = decode_image(SimpleNamespace(format="jpeg", data=data))
        except ImageError as error:
            assert "is damaged: " in str(error)
            refused += 1
        else:  # what no decoder can know is small: nothing after it has moved
            assert (image != shown).any(axis=2).mean() < 0.02
    assert refused >= 19


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_picture_that_is_cut_off_but_has_an_end_is_refused(kind: str, share: float) -> None:
    good = picture(kind, 320, 240)
    end = {"jpg": good[-2:], "png": good[-12:]}[kind]
    with pytest.raises(ImageError, match="is damaged: "):
        decode_image(SimpleNamespace(format=kind, data=good[: int(share * len(good))] + end))


def test_a_png_with_one_bad_byte_is_refused() -> None:
    good = picture("png", 64, 48)
    for at in np.linspace(50, len(good) - 20, 20).astype(int):
        data = bytearray(good)
        data[at] ^= 0x10
        with pytest.raises(ImageError, match=r"damaged|cut off"):
            decode_image(SimpleNamespace(format="png", data=bytes(data)))
