"""The published checkpoints' own configuration files, in and out."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model.config import (
    HeadConfig,
    LlmConfig,
    NormalizationConfig,
    PreprocessingConfig,
    VitConfig,
    VlaAdapterConfig,
)
from vla_adapter_ros.model.presets import DINOV2_LARGE, OFFICIAL_PREPROCESSING, SIGLIP_SO400M

NUM_QUERIES = 64
NUM_TASK_TOKENS = 512
HEAD_BLOCKS = 24
SIGLIP_MLP_RATIO = 3.7362

TOWERS = {
    "vit_large_patch14_reg4_dinov2.lvd142m": DINOV2_LARGE,
    "vit_so400m_patch14_siglip_224": SIGLIP_SO400M,
}
_QWEN2_DEFAULTS = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
}  # fmt: skip
"""The library's defaults at the time: stored configurations leave out values equal to these."""


@dataclass(frozen=True)
class Platform:
    """What an official checkpoint does not store about the robot that it was trained for."""

    chunk: int
    num_images: int
    ranges: str


PLATFORMS = {
    "libero": Platform(chunk=8, num_images=2, ranges="q01_q99"),
    "aloha": Platform(chunk=25, num_images=3, ranges="min_max"),
    "bridge": Platform(chunk=5, num_images=1, ranges="q01_q99"),
    "calvin": Platform(chunk=8, num_images=2, ranges="q01_q99"),
}


def find_platform(name: str | None, hint: str) -> Platform:
    """The platform by name, or by the first known name that occurs in `hint` (a data set's name).

    Raises:
        CheckpointError: unknown.
    """
    wanted = (name or hint).lower()
    for key, platform in PLATFORMS.items():
        if key in wanted:
            return platform
    raise CheckpointError(f"platform {name or hint!r} is unknown: give one of {list(PLATFORMS)}")


def read_official_config(
    folder: Path, platform: Platform, *, head_kind: str, film_weights: bool, action_dim: int, proprio_dim: int
) -> VlaAdapterConfig:
    """Build our configuration from `config.json` and `preprocessor_config.json`.

    Args:
        folder: The checkpoint.
        platform: Chunk, images and ranges, which are not stored.
        head_kind: `base` or `pro`, told by the head's keys.
        film_weights: Whether the head file carries `film_gen`.
        action_dim: Width told by the head's weights.
        proprio_dim: Width told by the projector's weights.

    Raises:
        CheckpointError: another layout or an unknown tower.
    """
    data = _read_json(folder / "config.json")
    try:
        text, tower_ids = data["text_config"], data["timm_model_ids"]
    except KeyError as error:
        raise CheckpointError(f"{folder / 'config.json'} lacks {error}: no VLA-Adapter checkpoint") from None
    extra = data.get("timm_model_kwargs") or [{}] * len(tower_ids)
    return VlaAdapterConfig(
        name="official",
        num_images=platform.num_images,
        action_dim=action_dim,
        proprio_dim=proprio_dim,
        chunk=platform.chunk,
        num_queries=NUM_QUERIES,
        num_task_tokens=NUM_TASK_TOKENS,
        token_order="official",
        projector="gelu3",
        prompt="qwen_chat",
        llm=_read_llm(text),
        head=HeadConfig(kind=head_kind, blocks=HEAD_BLOCKS, film_weights=film_weights, train_noise_std=0.02),
        preprocessing=_read_preprocessing(folder / "preprocessor_config.json"),
        vits=tuple(_read_tower(*pair) for pair in zip(tower_ids, extra, strict=True)),
        normalization=NormalizationConfig(
            action=platform.ranges, proprio=platform.ranges, zero_range_to_zero=False
        ),
    )


def _read_llm(text: dict[str, Any]) -> LlmConfig:
    if text.get("model_type", "qwen2") != "qwen2":
        raise CheckpointError(f"language model {text['model_type']!r}: only 'qwen2' is supported")
    value = {key: text.get(key, default) for key, default in _QWEN2_DEFAULTS.items()}
    return LlmConfig(
        hidden=value["hidden_size"], intermediate=value["intermediate_size"],
        layers=value["num_hidden_layers"], heads=value["num_attention_heads"],
        kv_heads=value["num_key_value_heads"], vocab_size=value["vocab_size"],
        rope_theta=float(value["rope_theta"]), rms_norm_eps=float(value["rms_norm_eps"]),
        max_positions=value["max_position_embeddings"],
    )  # fmt: skip


def _read_tower(tower_id: str, changes: dict[str, Any]) -> VitConfig:
    if tower_id not in TOWERS:
        raise CheckpointError(f"vision tower {tower_id!r}: supported are {list(TOWERS)}")
    known = {"embed_dim": "width", "depth": "depth", "num_heads": "heads"}
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise CheckpointError(f"vision tower {tower_id!r}: unknown settings {unknown}")
    tower = TOWERS[tower_id]
    sizes = {known[key]: value for key, value in changes.items()}
    width = sizes.get("width", tower.width)
    ratio = SIGLIP_MLP_RATIO if tower is SIGLIP_SO400M else tower.mlp_width / tower.width
    return dataclasses.replace(tower, **sizes, mlp_width=int(ratio * width))


def _read_preprocessing(path: Path) -> PreprocessingConfig:
    data = _read_json(path)
    stored = data.get("tvf_normalize_params")
    if stored:  # the rounded numbers, which override the full-precision ones in the published code
        means, stds = [entry["mean"] for entry in stored], [entry["std"] for entry in stored]
    else:
        means, stds = data["means"], data["stds"]
    return dataclasses.replace(
        OFFICIAL_PREPROCESSING, means=tuple(map(tuple, means)), stds=tuple(map(tuple, stds))
    )


def official_files(config: VlaAdapterConfig) -> dict[str, bytes]:
    """`config.json` and `preprocessor_config.json` for a model that did not come with its own."""
    llm, pre = config.llm, config.preprocessing
    settings: dict[str, Any] = {
        "model_type": "vla_adapter_ros",
        "text_config": {
            "model_type": "qwen2", "vocab_size": llm.vocab_size, "hidden_size": llm.hidden,
            "intermediate_size": llm.intermediate, "num_hidden_layers": llm.layers,
            "num_attention_heads": llm.heads, "num_key_value_heads": llm.kv_heads,
            "max_position_embeddings": llm.max_positions, "rms_norm_eps": llm.rms_norm_eps,
            "rope_theta": llm.rope_theta, "tie_word_embeddings": True,
        },
    }  # fmt: skip
    names = {tower: name for name, tower in TOWERS.items()}
    if config.vits and all(vit in names for vit in config.vits):
        settings |= {
            "model_type": "openvla",
            "architectures": ["OpenVLAForActionPrediction"],
            "arch_specifier": "no-align+fused-gelu-mlp",
            "vision_backbone_id": "dinosiglip-vit-so-224px",
            "llm_backbone_id": "qwen25-0_5b-extra",
            "use_fused_vision_backbone": True,
            "image_resize_strategy": "resize-naive",
            "image_sizes": [vit.image_size for vit in config.vits],
            "timm_model_ids": [names[vit] for vit in config.vits],
            "timm_override_act_layers": [None] * len(config.vits),
            "n_action_bins": 256,
        }
    pairs = zip(pre.means, pre.stds, strict=True)
    processor = {
        "image_processor_type": "PrismaticImageProcessor",
        "input_sizes": [[3, pre.size, pre.size]] * len(pre.means),
        "means": [list(mean) for mean in pre.means],
        "stds": [list(std) for std in pre.stds],
        "tvf_normalize_params": [
            {"inplace": False, "mean": list(mean), "std": list(std)} for mean, std in pairs
        ],
    }
    return {
        name: (json.dumps(data, indent=2) + "\n").encode()
        for name, data in (("config.json", settings), ("preprocessor_config.json", processor))
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is no valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: a mapping is needed")
    return data
