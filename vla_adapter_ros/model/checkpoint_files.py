"""The files of a checkpoint directory: the official layout, with what it lacks in `vla_adapter.json`.

config.json, preprocessor_config.json, generation_config.json   as published
model.safetensors (or its index, shards)   towers, projector, language model, queries
action_head--*checkpoint.pt                policy head; absent in a grounded backbone
proprio_projector--*checkpoint.pt          proprioception projector; absent in a backbone
dataset_statistics.json                    absent in a backbone
tokenizer.json ...                         tokenizer
vla_adapter.json                           not official: the whole `VlaAdapterConfig`
contract.yaml                              not official: the robot it was trained for, if known
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from vla_adapter_ros.errors import CheckpointError, ModelConfigError
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_reader import config_from_dict
from vla_adapter_ros.untrusted import read_json

COMPONENTS = ("action_head", "proprio_projector")
CONFIG, STATISTICS, CONTRACT = "vla_adapter.json", "dataset_statistics.json", "contract.yaml"
_END_BYTES = 1 << 16
IGNORED_WEIGHTS = ("language_model.lm_head.weight",)  # tied to the embedding, and never read


def find_components(folder: Path) -> dict[str, Path]:
    """The files of head and proprioception projector; empty for a backbone, which has no statistics either.

    Official rule: the one file whose name holds the component's name and "checkpoint".

    Raises:
        CheckpointError: several files for a component, or some of what belongs together is missing.
    """
    found: dict[str, Path] = {}
    for name in COMPONENTS:
        files = component_files(folder, name)
        if len(files) > 1:
            raise CheckpointError(f"{folder} holds several files for {name}: {[p.name for p in files]}")
        if files:
            found[name] = files[0]
    needed = {f"{name}--*checkpoint.pt": name in found for name in COMPONENTS}
    needed[STATISTICS] = (folder / STATISTICS).is_file()
    if len(set(needed.values())) != 1:
        missing = [name for name, there in needed.items() if not there]
        raise CheckpointError(f"{folder} is incomplete: it lacks {' and '.join(missing)}")
    return found


def component_files(folder: Path, name: str) -> list[Path]:
    """All files of a component; more than one is a mistake."""
    return sorted(p for p in folder.iterdir() if p.is_file() and name in p.name and "checkpoint" in p.name)


def read_own_config(path: Path) -> VlaAdapterConfig:
    """Read `vla_adapter.json`.

    Raises:
        CheckpointError: damaged, or with unknown keys or values that are not allowed: all, a line each.
    """
    try:
        return config_from_dict(read_json(path))
    except (OSError, ValueError, ModelConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def checkpoint_name(folder: Path) -> str:
    """What a checkpoint is called in logs of trials: `name@fingerprint`.

    The name is that of its folder; of a step of a training (`OUTPUT/checkpoints/step_00000500`) with that of
    the training, of a download that of its repository. The fingerprint is that of weights, statistics and
    configuration: their names, sizes, and both ends, so that a large checkpoint takes no time. The end of a
    file has the checksums of what is in it, or weights that every training changes.
    """
    folder = folder.resolve()
    sums = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and _defines_policy(p)):
        size = path.stat().st_size
        sums.update(f"{path.name} {size} ".encode())
        with open(path, "rb") as file:
            sums.update(file.read(_END_BYTES))
            file.seek(max(0, size - _END_BYTES))
            sums.update(file.read(_END_BYTES))
    above = [place.name for place in folder.parents]
    name = folder.name
    if name.startswith("step_"):
        name = f"{above[1] if above[0] == 'checkpoints' else above[0]}/{name}"
    elif above[0] == "snapshots":
        name = above[1].rpartition("--")[2]
    return f"{name}@{sums.hexdigest()[:8]}"


def _defines_policy(path: Path) -> bool:
    return path.suffix in (".safetensors", ".pt") or path.name in (CONFIG, STATISTICS)
