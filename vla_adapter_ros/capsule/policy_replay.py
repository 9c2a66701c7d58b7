"""Lets a policy predict from the frames of a capsule again, and compares the chunks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.capsule.contents import PolicyRecord
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import CapsuleError, VlaAdapterError
from vla_adapter_ros.observation.images import decode_image
from vla_adapter_ros.untrusted import short

AS_PREDICTED = "as_predicted"
"""Frame id of pictures that hold the pixels which the policy saw, without loss."""

Predict = Callable[[Sequence[np.ndarray], str, np.ndarray, np.ndarray | None], np.ndarray]
"""Images uint8 (H, W, 3), instruction, state (S,) and rows before the chunk (D, A) to rows (H, A)."""


@dataclass(frozen=True)
class ChunkReplay:
    """How far the chunks of a replay were the same.

    Attributes:
        chunks: That were predicted again.
        identical: Of them those that are the same to the last bit.
        largest: Largest difference of a value.
        skipped: Chunks whose pictures are not in the capsule.
        text: What differs first; empty: nothing does.
    """

    chunks: int
    identical: int
    largest: float = 0.0
    skipped: int = 0
    text: str = ""

    def __str__(self) -> str:
        same = f"identical: {self.identical} of {self.chunks} chunks"
        if self.text:
            same += f". {self.text}; largest difference of any value: {self.largest:.3g}"
        return f"{same}; {self.skipped} without pictures" if self.skipped else same


@dataclass(frozen=True)
class _Picture:
    """A compressed image as `decode_image` takes it."""

    format: str
    data: bytes


def replay_policy(
    contract: Contract, records: Iterable[tuple[PolicyRecord, Mapping[str, bytes]]], predict: Predict
) -> ChunkReplay:
    """Predict from each frame again.

    Args:
        contract: Of the robot that the frames are of.
        records: From `Capsule.policy_records`.
        predict: Of the policy.

    Raises:
        CapsuleError: a picture cannot be decoded, or the policy refuses a frame.
    """
    chunks = identical = skipped = 0
    largest, text = 0.0, ""
    for record, pictures in records:
        if set(contract.camera_names) - set(pictures):
            skipped += 1
            continue
        try:
            images = [decode_captured(pictures[name], contract, name) for name in contract.camera_names]
            rows = np.asarray(predict(images, record.instruction, record.state, record.committed))
        except VlaAdapterError as error:
            raise CapsuleError(f"frame of {record.stamp:.3f} s: {error}") from None
        chunks += 1
        if rows.shape == record.rows.shape and np.array_equal(rows, record.rows):
            identical += 1
            continue
        if rows.shape != record.rows.shape:
            shapes = f"{record.rows.shape} in the capsule, {rows.shape} here"
            text = text or f"Chunk of {record.stamp:.3f} s has shape {shapes}"
            continue
        apart = np.abs(rows - record.rows)
        largest = max(largest, float(apart.max()))
        if not text:
            place = tuple(int(i) for i in np.argwhere(rows != record.rows)[0])
            text = (
                f"Chunk of {record.stamp:.3f} s: row {place[0]}, {contract.action_names[place[1]]} is "
                f"{record.rows[place]:.9g} in the capsule, {rows[place]:.9g} here"
            )
    return ChunkReplay(chunks, identical, largest, skipped, text)


def decode_captured(message: bytes, contract: Contract, camera: str) -> np.ndarray:
    """The image that the policy saw, uint8 (H, W, 3) RGB, of a sensor_msgs/CompressedImage in CDR.

    Raises:
        CapsuleError: no such message.
        ImageError: see `decode_image`.
    """
    frame_id, picture = _compressed_image(message)
    described = contract.cameras[camera]
    if frame_id == AS_PREDICTED:
        return decode_image(picture, 0, described.size)
    return decode_image(picture, described.rotation, described.size, described.encoding, None, described.fit)


def _compressed_image(message: bytes) -> tuple[str, Any]:
    """Frame id and picture of a sensor_msgs/CompressedImage in CDR."""
    try:
        order = "<" if message[1] & 1 else ">"
        place = 12  # four bytes of CDR, then the stamp
        texts = []
        for _ in range(2):
            place += -place % 4
            (length,) = struct.unpack_from(f"{order}I", message, place)
            texts.append(message[place + 4 : place + 3 + length].decode())
            place += 4 + length
        place += -place % 4
        (length,) = struct.unpack_from(f"{order}I", message, place)
        data = message[place + 4 : place + 4 + length]
        if len(data) != length:
            raise ValueError("it ends too early")
    except (IndexError, ValueError, struct.error) as error:
        raise CapsuleError(f"no compressed image: {short(str(error), 100)}") from None
    return texts[0], _Picture(texts[1], data)
