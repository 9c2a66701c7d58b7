"""Write the files that the published loader wants beside the weights."""

from __future__ import annotations

import json
from typing import Any

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import RopeTables
from vla_adapter_ros.model.config_parts import PreprocessingConfig
from vla_adapter_ros.model.normalization import Statistics
from vla_adapter_ros.model.official import (
    HEAD_BLOCKS,
    NUM_QUERIES,
    NUM_TASK_TOKENS,
    PLATFORMS,
    TOWER_SETTINGS,
    TOWERS,
    resized,
)
from vla_adapter_ros.untrusted import parse_json

TRANSFORMERS = "4.40.1"
OUTER_PAD_ID = 32000
"""Of the outer configuration; nothing reads it, and it exceeds small vocabularies."""


def official_differences(config: VlaAdapterConfig) -> list[str]:
    """Why the published code could not run this model, in words; empty if it could."""
    llm, head, normal = config.llm, config.head, config.normalization
    wanted = {
        "token_order": (config.token_order, "official"), "projector": (config.projector, "gelu3"),
        "projector_width": (config.projector_width, 0), "prompt": (config.prompt, "qwen_chat"),
        "num_queries": (config.num_queries, NUM_QUERIES),
        "num_task_tokens": (config.num_task_tokens, NUM_TASK_TOKENS),
        "llm.kind": (llm.kind, "qwen2"), "llm.bidirectional": (llm.bidirectional, False),
        "head.blocks": (head.blocks, HEAD_BLOCKS), "head.heads": (head.heads, 8),
        "head.film_weights": (head.film_weights, head.kind == HeadKind.PRO),
        "head.learned_rows": (head.learned_rows, False), "head.conditions": (head.conditions, "both"),
        "head.hidden_layers": (config.head_hidden_layers, tuple(range(1, head.blocks + 1))),
        "head.gate": (head.gate, None), "head.gate_per_head": (head.gate_per_head, False),
        "normalization.proprio": (normal.proprio, normal.action),
    }  # fmt: skip
    found = [
        f"{key} = {value!r}, not {published!r}" for key, (value, published) in wanted.items()
        if value != published
    ]  # fmt: skip
    if not head.kind.is_bridge:
        found.append(f"head.kind = {head.kind!r}, not 'base' or 'pro'")
    if head.kind == HeadKind.PRO and head.rope_tables == RopeTables.FP32:
        found.append("head.rope_tables = 'fp32', not 'bf16', in which the published code runs")
    if not normal.action.is_range:
        found.append("normalization.action = 'mean_std', not 'q01_q99' or 'min_max'")
    if _tower_settings(config) is None:
        found.append(f"vision towers {[vit.key for vit in config.vits]}, not {list(TOWERS)}")
    return found


def fitting_platforms(config: VlaAdapterConfig) -> list[str]:
    """Platforms whose constants in the published code are this model's."""
    constants = (config.chunk, config.action_dim, config.proprio_dim, config.normalization.action)
    return [
        name
        for name, p in PLATFORMS.items()
        if constants == (p.chunk, p.action_dim, p.proprio_dim, p.scaling)
    ]


def _tower_settings(config: VlaAdapterConfig) -> list[dict[str, int]] | None:
    """The towers as changes to the published ones, in their order; None if that is not possible."""
    if len(config.vits) != len(TOWERS):
        return None
    settings = []
    for vit, tower in zip(config.vits, TOWERS.values(), strict=True):
        sizes = {
            name: getattr(vit, name) for name in TOWER_SETTINGS.values() if vit.width != tower.width
            or getattr(vit, name) != getattr(tower, name)
        }  # fmt: skip
        if resized(tower, sizes) != vit and vit != tower:
            return None
        settings.append({key: sizes[name] for key, name in TOWER_SETTINGS.items() if name in sizes})
    return settings


def official_files(
    config: VlaAdapterConfig, statistics: Statistics | None, *, pad_id: int, dtype: str
) -> dict[str, bytes]:
    """`config.json`, `generation_config.json` and `preprocessor_config.json` for a model without its own.

    A model that the published code could not run gets another `model_type`, so that the code refuses it
    instead of computing something else.

    Args:
        config: The model.
        statistics: Written to `norm_stats`, too, as the published files have it.
        pad_id: Id of the padding token, which also ends a text.
        dtype: Name of the type of the stored weights, such as `bfloat16`.
    """
    text = _text_config(config, pad_id, dtype)
    files: dict[str, Any] = {"preprocessor_config.json": _processor(config.preprocessing)}
    if official_differences(config):
        files["config.json"] = {"model_type": "vla_adapter_ros", "text_config": text}
    else:
        files["config.json"] = _configuration(config, statistics, text, dtype)
        files["generation_config.json"] = {
            "_from_model_config": True, "bos_token_id": pad_id, "eos_token_id": pad_id,
            "pad_token_id": OUTER_PAD_ID, "transformers_version": TRANSFORMERS,
        }  # fmt: skip
    return {name: encode(data) for name, data in files.items()}


def with_dtype(config_json: bytes, dtype: str) -> bytes:
    """A stored `config.json` for weights of another type; the same bytes if the type is the same."""
    try:
        data = parse_json(config_json.decode())
    except ValueError:
        return config_json
    changed, parts = False, [data, data.get("text_config") if isinstance(data, dict) else None]
    for part in (part for part in parts if isinstance(part, dict)):
        if part.get("torch_dtype", dtype) != dtype:
            part["torch_dtype"], changed = dtype, True
    return encode(data) if changed else config_json


def encode(data: Any) -> bytes:
    """JSON as the files have it."""
    return (json.dumps(data, indent=2, sort_keys=True) + "\n").encode()


def _text_config(config: VlaAdapterConfig, pad_id: int, dtype: str) -> dict[str, Any]:
    llm = config.llm
    return {
        "model_type": llm.kind, "vocab_size": llm.vocab_size, "hidden_size": llm.hidden,
        "intermediate_size": llm.intermediate, "num_hidden_layers": llm.layers,
        "num_attention_heads": llm.heads, "num_key_value_heads": llm.kv_heads,
        "max_position_embeddings": llm.max_positions, "rms_norm_eps": llm.rms_norm_eps,
        "rope_theta": llm.rope_theta, "tie_word_embeddings": True, "max_window_layers": llm.layers,
        "sliding_window": llm.max_positions, "use_sliding_window": False, "use_mrope": False,
        "bos_token_id": pad_id, "eos_token_id": pad_id, "torch_dtype": dtype,
    }  # fmt: skip


def _configuration(
    config: VlaAdapterConfig, statistics: Statistics | None, text: dict[str, Any], dtype: str
) -> dict[str, Any]:
    data = {
        "model_type": "openvla",
        "architectures": ["OpenVLAForActionPrediction"],
        "auto_map": {
            "AutoConfig": "configuration_prismatic.OpenVLAConfig",
            "AutoModelForVision2Seq": "modeling_prismatic.OpenVLAForActionPrediction",
        },
        "arch_specifier": "no-align+fused-gelu-mlp",
        "vision_backbone_id": "dinosiglip-vit-so-224px",
        "llm_backbone_id": "qwen25-0_5b-extra",
        "hf_llm_id": "",
        "llm_max_length": 2048,
        "use_fused_vision_backbone": True,
        "image_resize_strategy": "resize-naive",
        "image_sizes": [vit.image_size for vit in config.vits],
        "timm_model_ids": list(TOWERS),
        "timm_override_act_layers": [None] * len(config.vits),
        "n_action_bins": 256,
        "norm_stats": {statistics.name: statistics.to_dict()} if statistics else {},
        "output_projector_states": False,
        "pad_to_multiple_of": 64,
        "pad_token_id": OUTER_PAD_ID,
        "text_config": text,
        "torch_dtype": dtype,
        "transformers_version": TRANSFORMERS,
    }
    settings = _tower_settings(config)
    if settings and any(settings):  # towers of other sizes: the published ones lack this key
        data["timm_model_kwargs"] = settings
    return data


def _processor(pre: PreprocessingConfig) -> dict[str, Any]:
    towers, size = len(pre.means), [pre.size, pre.size]
    return {
        "auto_map": {
            "AutoImageProcessor": "processing_prismatic.PrismaticImageProcessor",
            "AutoProcessor": "processing_prismatic.PrismaticProcessor",
        },
        "image_processor_type": "PrismaticImageProcessor",
        "processor_class": "PrismaticProcessor",
        "image_resize_strategy": "resize-naive",
        "use_fused_vision_backbone": towers > 1,
        "input_sizes": [[3, *size]] * towers,
        "interpolations": ["bicubic"] * towers,
        "means": [list(mean) for mean in pre.means],
        "stds": [list(std) for std in pre.stds],
        "tvf_crop_params": [{"output_size": size}] * towers,
        "tvf_do_letterbox": False,
        "tvf_letterbox_fill": None,
        "tvf_normalize_params": [
            {"inplace": False, "mean": list(mean), "std": list(std)}
            for mean, std in zip(pre.means, pre.stds, strict=True)
        ],
        "tvf_resize_params": [
            {"antialias": True, "interpolation": 3, "max_size": None, "size": size}
        ] * towers,
    }  # fmt: skip
