"""Read the published checkpoints' own configuration files, and know what those files leave out."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_adapter_ros.choices import HeadKind, PlatformName
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import ProjectorKind, PromptKind, RopeTables, Scaling, TokenOrder
from vla_adapter_ros.model.config_parts import (
    HeadConfig,
    LlmConfig,
    NormalizationConfig,
    OutputConfig,
    PreprocessingConfig,
    VitConfig,
)
from vla_adapter_ros.model.config_presets import DINOV2_LARGE, OFFICIAL_PREPROCESSING, SIGLIP_SO400M
from vla_adapter_ros.untrusted import is_finite, read_json, short

OFFICIAL_NAME = "official-"
"""How the names of official configurations begin; the platform follows."""
NUM_QUERIES = 64
NUM_TASK_TOKENS = 512
HEAD_BLOCKS = 24
SIGLIP_MLP_RATIO = 3.7362

TOWERS = {
    "vit_large_patch14_reg4_dinov2.lvd142m": DINOV2_LARGE,
    "vit_so400m_patch14_siglip_224": SIGLIP_SO400M,
}
TOWER_SETTINGS = {"embed_dim": "width", "depth": "depth", "num_heads": "heads"}
_QWEN2_DEFAULTS = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
}  # fmt: skip
"""The library's defaults at the time: stored configurations leave out values equal to these."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Platform:
    """What an official checkpoint does not store about the robot that it was trained for.

    `scaling` is how values are normalized; `rate_hz` [rows/s] and `action_space` are those of the data
    set. The grippers' columns are never processed unless it is asked for.
    """

    chunk: int
    action_dim: int
    proprio_dim: int
    num_images: int
    scaling: Scaling
    rate_hz: float
    action_space: str
    rotate_180: bool = False
    jpeg_round_trip: bool = True
    center_crop: float = OFFICIAL_PREPROCESSING.center_crop
    gripper_columns: tuple[int, ...] = (-1,)


PLATFORMS = {
    PlatformName.LIBERO: Platform(
        chunk=8, action_dim=7, proprio_dim=8, num_images=2, scaling=Scaling.Q01_Q99,
        rate_hz=20.0, action_space="ee_delta", rotate_180=True,
    ),
    PlatformName.CALVIN: Platform(
        chunk=8, action_dim=7, proprio_dim=8, num_images=2, scaling=Scaling.Q01_Q99,
        rate_hz=30.0, action_space="ee_delta",
    ),
    PlatformName.ALOHA: Platform(
        chunk=25, action_dim=14, proprio_dim=14, num_images=3, scaling=Scaling.MIN_MAX,
        rate_hz=25.0, action_space="joint_position", gripper_columns=(6, 13),
    ),
    PlatformName.BRIDGE: Platform(
        chunk=5, action_dim=7, proprio_dim=7, num_images=1, scaling=Scaling.Q01_Q99,
        rate_hz=5.0, action_space="ee_delta",
    ),
}  # fmt: skip


def get_platform(name: str | None, folder: str | Path) -> Platform:
    """The platform that an official checkpoint was trained for; it is never guessed from names.

    Raises:
        CheckpointError: none given, or an unknown one.
    """
    if name is None:
        raise CheckpointError(
            f"{folder} is an official checkpoint, which does not store its platform: give one of "
            f"{list(PLATFORMS)}; `vla-adapter checkpoint convert --platform ...` stores it once and for all"
        )
    if name not in PLATFORMS:
        raise CheckpointError(f"platform {name!r} is unknown: give one of {list(PLATFORMS)}")
    return PLATFORMS[PlatformName(name)]


def read_official_config(
    folder: Path, name: str | None, robot: Platform, *, model: Shapes, head: Shapes, proprio: Shapes
) -> VlaAdapterConfig:
    """Build our configuration from the stored files, the weights' shapes and the platform.

    Args:
        folder: The checkpoint.
        name: Of the platform.
        robot: The platform, see `get_platform`; its constants may have been edited.
        model: Shapes of the tensors in `model.safetensors`.
        head: Shapes of the policy head's tensors.
        proprio: Shapes of the proprioception projector's tensors.

    Raises:
        CheckpointError: another layout, an unknown tower, weights that do not fit the files, or a
            platform whose widths are not the weights'.
    """
    data = _read_json(folder / "config.json")
    try:
        text, tower_ids = data["text_config"], data["timm_model_ids"]
    except KeyError as error:
        raise CheckpointError(f"{folder / 'config.json'} lacks {error}: no VLA-Adapter checkpoint") from None
    _require(isinstance(text, dict), folder, "text_config", text, "a mapping")
    _require(isinstance(tower_ids, list) and bool(tower_ids), folder, "timm_model_ids", tower_ids, "a list")
    extra = data.get("timm_model_kwargs") or [{}] * len(tower_ids)
    good = isinstance(extra, list) and all(isinstance(entry, dict) for entry in extra)
    _require(good, folder, "timm_model_kwargs", extra, "a list of mappings")
    sizes = data.get("image_sizes") or []
    _require(isinstance(sizes, list), folder, "image_sizes", sizes, "a list")
    if len(extra) != len(tower_ids):
        raise CheckpointError(f"{folder / 'config.json'}: {len(extra)} timm_model_kwargs for {tower_ids}")
    vits = tuple(_read_tower(*pair) for pair in zip(tower_ids, extra, strict=True))
    for size in sizes:
        if size != vits[0].image_size:
            raise CheckpointError(f"image size {size}: supported is {vits[0].image_size}")
    llm = _read_llm(text)
    layers = _count(r"language_model\.model\.layers\.(\d+)\.", model, "language model layers", folder)
    if layers != llm.layers:
        raise CheckpointError(f"{folder}: config.json has {llm.layers} layers, the weights {layers}")
    widths = {
        "action": (len_of(head, "model.fc2.bias", folder), robot.action_dim, "action_dim"),
        "proprioception": (len_of(proprio, "fc1.weight", folder, axis=1), robot.proprio_dim, "proprio_dim"),
    }
    for what, (stored, expected, key) in widths.items():
        if stored != expected:
            raise CheckpointError(
                f"{folder}: the weights' {what} is {stored} wide, that of platform {name!r} is {expected}; "
                f"if the constants were edited before its training, set {key}={stored}"
            )
    return VlaAdapterConfig(
        name=f"{OFFICIAL_NAME}{name}",
        num_images=robot.num_images,
        action_dim=robot.action_dim,
        proprio_dim=robot.proprio_dim,
        chunk=robot.chunk,
        num_queries=len_of(model, "action_queries.weight", folder),
        num_task_tokens=NUM_TASK_TOKENS,
        token_order=TokenOrder.OFFICIAL,
        projector=ProjectorKind.GELU3,
        prompt=PromptKind.QWEN_CHAT,
        llm=llm,
        head=HeadConfig(
            kind=head_kind(head, folder),
            blocks=_count(r"model\.mlp_resnet_blocks\.(\d+)\.", head, "blocks of the policy head", folder),
            film_weights=any(".film_gen." in key for key in head),
            train_noise_std=0.02,
            rope_tables=RopeTables.MATCH,
        ),
        preprocessing=dataclasses.replace(
            _read_preprocessing(folder / "preprocessor_config.json", len(vits)),
            rotate_180=robot.rotate_180,
            jpeg_round_trip=robot.jpeg_round_trip,
            center_crop=robot.center_crop,
        ),
        vits=vits,
        normalization=NormalizationConfig(
            action=robot.scaling, proprio=robot.scaling, zero_range_to_zero=False
        ),
        output=OutputConfig(gripper_columns=robot.gripper_columns),
    )


def head_kind(head: Shapes, folder: Path) -> HeadKind:
    """`pro` or `base`, told by the names of the head's weights.

    Raises:
        CheckpointError: neither.
    """
    parts = {HeadKind.PRO: ".k_task.", HeadKind.BASE: ".k_proj."}
    kinds = [kind for kind, part in parts.items() if any(part in key for key in head)]
    if len(kinds) != 1:
        raise CheckpointError(
            f"{folder}: the policy head has the weights of {kinds or 'neither'}: base or pro"
        )
    return kinds[0]


def len_of(shapes: Shapes, key: str, folder: Path, *, axis: int = 0) -> int:
    """Length of a stored tensor along an axis.

    Raises:
        CheckpointError: no such tensor, or too few axes.
    """
    if key not in shapes or len(shapes[key]) <= axis:
        raise CheckpointError(f"{folder}: the weights lack {key!r}: no VLA-Adapter checkpoint")
    return shapes[key][axis]


def _count(pattern: str, shapes: Shapes, what: str, folder: Path) -> int:
    """How many numbered parts there are; they must count from 0 without a gap."""
    found = {int(match.group(1)) for key in shapes if (match := re.match(pattern, key))}
    if not found or found != set(range(len(found))):
        raise CheckpointError(f"{folder}: {what} are numbered {sorted(found)}: 0, 1, ... is needed")
    return len(found)


def _read_llm(text: dict[str, Any]) -> LlmConfig:
    if text.get("model_type", "qwen2") != "qwen2":
        raise CheckpointError(f"language model {text['model_type']!r}: only 'qwen2' is supported")
    value = {key: text.get(key, default) for key, default in _QWEN2_DEFAULTS.items()}
    for key, default in _QWEN2_DEFAULTS.items():
        good = is_finite(value[key]) and (isinstance(default, float) or type(value[key]) is int)
        _require(good, "config.json", f"text_config.{key}", value[key], "a number such as " + str(default))
    return LlmConfig(
        hidden=value["hidden_size"], intermediate=value["intermediate_size"],
        layers=value["num_hidden_layers"], heads=value["num_attention_heads"],
        kv_heads=value["num_key_value_heads"], vocab_size=value["vocab_size"],
        rope_theta=float(value["rope_theta"]), rms_norm_eps=float(value["rms_norm_eps"]),
        max_positions=value["max_position_embeddings"],
    )  # fmt: skip


def _read_tower(tower_id: str, changes: dict[str, Any]) -> VitConfig:
    if not isinstance(tower_id, str) or tower_id not in TOWERS:
        raise CheckpointError(f"vision tower {tower_id!r}: supported are {list(TOWERS)}")
    unknown = sorted(set(changes) - set(TOWER_SETTINGS))
    if unknown:
        raise CheckpointError(f"vision tower {tower_id!r}: unknown settings {unknown}")
    for key, value in changes.items():
        _require(type(value) is int and 0 < value < 10**6, tower_id, key, value, "a whole number above 0")
    return resized(TOWERS[tower_id], {TOWER_SETTINGS[key]: value for key, value in changes.items()})


def resized(tower: VitConfig, sizes: dict[str, int]) -> VitConfig:
    """A published tower with other sizes; the width of its inner layers keeps its ratio."""
    ratio = SIGLIP_MLP_RATIO if tower is SIGLIP_SO400M else tower.mlp_width / tower.width
    changes: dict[str, Any] = {**sizes, "mlp_width": int(ratio * sizes.get("width", tower.width))}
    return dataclasses.replace(tower, **changes)


def _require(ok: bool, where: Any, key: str, value: Any, allowed: str) -> None:
    if not ok:
        raise CheckpointError(f"{where}: {key} = {short(value)}: allowed is {allowed}")


def _read_preprocessing(path: Path, towers: int) -> PreprocessingConfig:
    """Mean and standard deviation; the other keys describe steps that change nothing at the model's size."""
    data = _read_json(path)
    stored = data.get("tvf_normalize_params")
    try:
        if stored:  # the rounded numbers, which override the full-precision ones in the published code
            pairs = [(entry["mean"], entry["std"]) for entry in stored]
        else:
            pairs = list(zip(data["means"], data["stds"], strict=True))
        means, stds = (tuple(tuple(map(float, pair[i])) for pair in pairs) for i in (0, 1))
    except (KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: mean and standard deviation are needed, in tvf_normalize_params or in means and stds: "
            f"{type(error).__name__} {error}"
        ) from None
    numbers = [*means, *stds]
    if len(pairs) != towers or any(
        len(group) != 3 or not all(map(math.isfinite, group)) for group in numbers
    ):
        raise CheckpointError(f"{path}: means {means}, stds {stds}: three numbers per tower are needed")
    if any(value <= 0 for group in stds for value in group):
        raise CheckpointError(f"{path}: stds {stds}: only numbers above 0 are allowed")
    return dataclasses.replace(OFFICIAL_PREPROCESSING, means=means, stds=stds)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable: {error}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: a mapping is needed")
    return data
