"""Makes one capsule of two halves, and capsules without pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.capsule.contents import IMAGE_TYPES, Capsule
from vla_adapter_ros.capsule.folder import Half, SavedBy, capsules, reserve_name
from vla_adapter_ros.capsule.mcap_file import McapWriter
from vla_adapter_ros.errors import CapsuleError
from vla_adapter_ros.files import write_file

_PARTNER_WITHIN_S = 60.0  # between the ends of two halves of one fault


def write_capsule(sources: Sequence[Capsule], path: Path, *, with_images: bool = True) -> Path:
    """Write a capsule that has everything of one or two others.

    Args:
        sources: Capsules of different halves.
        path: The file to write; what it held before is replaced.
        with_images: Whether pictures are copied.

    Returns:
        The file.

    Raises:
        CapsuleError: a half is in both, or one of them is damaged.
    """
    halves = [half for source in sources for half in source.facts]
    if len(set(halves)) < len(halves):
        raise CapsuleError(
            f"{' and '.join(str(source.path) for source in sources)}: both have the half of the "
            f"{halves[0]}: allowed are one of the controller and one of the policy"
        )

    def write(target: Path) -> None:
        with McapWriter(target) as writer:
            for source in sources:
                for name, values in source.file.metadata.items():
                    writer.add_metadata(name, values)
                for name, (kind, data) in source.file.attachments.items():
                    writer.add_attachment(name, kind, data)
                for message in source.file.messages():
                    topic = source.file.topics[message.topic]
                    if with_images or topic.schema.name not in IMAGE_TYPES:
                        writer.add_message(topic, message.time_ns, message.data)

    write_file(path, write)
    return path


def join_halves(one: Path, other: Path) -> Path:
    """Join the halves of one moment; they are removed once the whole is on disk.

    Raises:
        CapsuleError: see `write_capsule`.
    """
    stem = one.stem.replace(f"_{Half.CONTROLLER}", "").replace(f"_{Half.POLICY}", "")
    halves = [Capsule(one), Capsule(other)]
    whole = write_capsule(halves, reserve_name(one.parent, stem))
    for part in (one, other):
        part.unlink(missing_ok=True)
    return whole


def find_other_half(path: Path, half: Half, session: str) -> Path | None:
    """The newest capsule of a fault beside `path` that belongs to it; None while there is none.

    Args:
        path: A half.
        half: The other one.
        session: Of the policy; other robots may save into the same folder.
    """
    ending = f"_{SavedBy.FAULT}_{half}"
    for other in reversed(capsules(path.parent)):
        with contextlib.suppress(CapsuleError, OSError):  # it is damaged, or was removed
            near = abs(other.stat().st_mtime - path.stat().st_mtime) <= _PARTNER_WITHIN_S
            if ending in other.name and near and Capsule(other).facts[half].get("session") == session:
                return other
    return None
