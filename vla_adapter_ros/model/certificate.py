"""A certificate: how far a policy's actions are from exact ones, with these files on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError

from vla_adapter_ros import __version__
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.files import write_file
from vla_adapter_ros.model.checkpoint_files import CONFIG, STATISTICS
from vla_adapter_ros.model.familiarity import FILE as FAMILIARITY
from vla_adapter_ros.system_info import describe_torch_system
from vla_adapter_ros.untrusted import read_json

FILE = "certificate.json"
_PARTS = (CONFIG, STATISTICS, "config.json", "preprocessor_config.json", "tokenizer.json")
_SETUP = ("processor", "gpu", "cuda", "torch")
"""Facts of a machine by which products may differ; numbers of threads change the last bit alone."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Deviation:
    """How far one action value was from the reference.

    Attributes:
        name: Of the value in the contract.
        unit: rad, m, or `gripper`, which has the contract's values of open and closed.
        largest, p99: Largest difference and 99th percentile, over all rows of all chunks.
        spread: Width of the range that the checkpoint's statistics give the value, in the same unit.
    """

    name: str
    unit: str
    largest: float
    p99: float
    spread: float

    @property
    def line(self) -> str:
        """For people."""
        return f"  {self.name:<24}largest {self.largest:.3g}, 99 % {self.p99:.3g} {self.unit}"


@dataclass(frozen=True)
class Certificate:
    """What was compared, and what came out.

    Attributes:
        files: SHA-256 of every file of the checkpoint that decides its actions, by name.
        setup: Machine, versions and type of the weights.
        dataset: Name of the data set.
        rows: How many of its rows were compared.
        rows_hash: SHA-256 of their images, states and instructions.
        made: When, in UTC.
        deviations: Of each action value.
    """

    files: dict[str, str]
    setup: dict[str, str]
    dataset: str
    rows: int
    rows_hash: str
    made: str
    deviations: tuple[Deviation, ...]

    def save(self, folder: Path) -> Path:
        """Write `FILE` into a checkpoint.

        Raises:
            CheckpointError: the folder cannot be written to.
        """
        text = json.dumps({"format": 1, **dataclasses.asdict(self)}, indent=2) + "\n"
        try:
            write_file(folder / FILE, lambda path: path.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(f"{folder / FILE} cannot be written: {error}") from None
        return folder / FILE


_CERTIFICATE = TypeAdapter(Certificate)


def read_certificate(folder: Path) -> Certificate | None:
    """That of a checkpoint; None where it was never certified.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / FILE
    try:
        data = read_json(path)
        if data.pop("format") != 1:
            raise ValueError("another format than 1")
        return _CERTIFICATE.validate_python(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: {reason}; `vla-adapter checkpoint certify` writes it anew") from None


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint that decides its actions, by name."""
    sums = {}
    for path in sorted(folder.iterdir()):
        weights = path.suffix in (".safetensors", ".pt") and path.name != FAMILIARITY
        if path.is_file() and (weights or path.name in _PARTS):
            found = hashlib.sha256()
            with open(path, "rb") as file:
                while block := file.read(_BLOCK):
                    found.update(block)
            sums[path.name] = found.hexdigest()
    return sums


def describe_setup(device: torch.device, dtype: torch.dtype, *, compiled: bool) -> dict[str, str]:
    """What besides the files decides how products are rounded."""
    facts = {name: str(value) for name, value in describe_torch_system(device).items() if name in _SETUP}
    return {
        **facts,
        "device": device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "compiled": "yes" if compiled else "no",
        "vla_adapter_ros": __version__,
    }


def certificate_problem(folder: Path, setup: dict[str, str]) -> str:
    """Why the certificate of a checkpoint does not hold, in a sentence; empty if it holds.

    Args:
        folder: The checkpoint.
        setup: In which it is to run, see `describe_setup`.
    """
    try:
        certificate = read_certificate(folder)
    except CheckpointError as error:
        return str(error)
    if certificate is None:
        return f"{folder} has no certificate: `vla-adapter checkpoint certify` makes one"
    files = hash_files(folder)
    if changed := sorted(n for n in {*files, *certificate.files} if files.get(n) != certificate.files.get(n)):
        return f"the certificate of {folder} is not of these files: {', '.join(changed)} changed since"
    given = certificate.setup
    differing = [
        f"{name} {given.get(name, 'none')} then, {setup.get(name, 'none')} now"
        for name in sorted({*setup, *given})
        if given.get(name) != setup.get(name)
    ]
    if differing:
        return f"the certificate of {folder} is not of this set-up: {'; '.join(differing)}"
    return ""
