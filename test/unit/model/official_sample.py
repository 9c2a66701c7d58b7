"""A small official checkpoint with random weights, for tests that need no reference data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, pre_tokenizers

from vla_adapter_ros.contract import Contract, parse_contract, read_contract
from vla_adapter_ros.contract.schema import TOOL_COLUMNS, ActionDimension, Kinematics
from vla_adapter_ros.model import (
    Statistics,
    Tokenizer,
    VlaAdapter,
    VlaAdapterConfig,
    VlaAdapterPolicy,
    preset,
)
from vla_adapter_ros.model.config_parts import LlmConfig
from vla_adapter_ros.model.official import NUM_TASK_TOKENS, PLATFORMS, SIGLIP_MLP_RATIO

WORDS = ("<|endoftext|>", "<unk>", "What", "action", "should", "the", "robot", "take", "to", "lift", "it?")


def official_config(head: str = "pro", platform: str = "libero") -> VlaAdapterConfig:
    """The published configuration with narrow layers and a platform's constants."""
    robot = PLATFORMS[platform]
    full = preset(
        "0.5b", action_dim=robot.action_dim, proprio_dim=robot.proprio_dim, chunk=robot.chunk,
        num_images=robot.num_images, head=head,
    )  # fmt: skip
    dino, siglip = full.vits
    return dataclasses.replace(
        full,
        num_task_tokens=NUM_TASK_TOKENS,
        head=dataclasses.replace(full.head, rope_tables="match"),
        llm=LlmConfig(hidden=16, intermediate=24, layers=24, heads=2, kv_heads=1, vocab_size=len(WORDS)),
        vits=(
            dataclasses.replace(dino, width=16, depth=2, heads=2, mlp_width=64),
            dataclasses.replace(siglip, width=16, depth=2, heads=2, mlp_width=int(SIGLIP_MLP_RATIO * 16)),
        ),
    )


def vector(width: int, low: float = -1.0, high: float = 1.0) -> dict[str, list[float]]:
    """Statistics of a vector whose dimensions are all alike."""
    numbers = {"min": low, "q01": low, "max": high, "q99": high, "mean": (low + high) / 2, "std": 0.5}
    return {name: [number] * width for name, number in numbers.items()}


def official_policy(head: str = "pro", seed: int = 0, platform: str = "libero") -> VlaAdapterPolicy:
    """A policy of that configuration, weights rounded to bf16."""
    torch.manual_seed(seed)
    config = official_config(head, platform)
    network = VlaAdapter(config).bfloat16().float().eval()
    raw = RawTokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    width = config.action_dim
    grippers = [column % width for column in PLATFORMS[platform].gripper_columns]
    action = vector(width, 0.0, 1.0) | {"mask": [n not in grippers for n in range(width)]}
    proprio = vector(config.proprio_dim)
    entry = {"action": action, "proprio": proprio, "num_transitions": 10, "num_trajectories": 2}
    statistics = Statistics.from_dict("drawer", entry)
    return VlaAdapterPolicy(network, config, Tokenizer(raw, "qwen_chat"), statistics)


def write_official(folder: Path, head: str = "pro", platform: str = "libero") -> Path:
    """Write it as the published code would have: without the files of this package."""
    official_policy(head, platform=platform).save_pretrained(folder, dtype=torch.bfloat16)
    (folder / "vla_adapter.json").unlink()
    return folder


def fitting_contract(rate_hz: float = 20.0) -> Contract:
    """The shipped arm, moved by changes of its tool: seven actions and eight states."""
    full = read_contract("franka_sim")
    units = dict(zip(TOOL_COLUMNS, ("m",) * 3 + ("rad",) * 3, strict=True))
    dimensions = [ActionDimension(name, unit) for name, unit in units.items()]
    action = dataclasses.replace(
        full.action, space="ee_delta", dimensions=(*dimensions, full.action.dimensions[-1])
    )
    return dataclasses.replace(
        full, name="seven", rate_hz=rate_hz, state=full.state[:8], action=action,
        kinematics=Kinematics("robot_description", "base", "fr3_hand_tcp"),
    )  # fmt: skip


def two_arm_contract() -> Contract:
    """Two arms of six joints with a gripper each, in the order of ALOHA's 14 actions and states."""
    joints = [f"{arm}_{joint}" for arm in ("left", "right") for joint in (*range(6), "gripper")]
    arms = [joint for joint in joints if not joint.endswith("gripper")]
    camera = {"topic": "/image", "width": 64, "height": 48}
    topic = "/joint_states"
    return parse_contract(
        {
            "schema": 1, "name": "two_arms", "robot_type": "aloha", "rate_hz": 25, "reference_camera": "high",
            "cameras": {name: camera | {"topic": f"/{name}"} for name in ("high", "left", "right")},
            "topics": {topic: {"type": "joint_state"}},
            "state": [
                {"name": n, "topic": topic, "field": "position", "joint": n, "unit": "rad"} for n in joints
            ],
            "action": {
                "space": "joint_position", "topic": "/command",
                "dimensions": [{"name": n, "unit": "rad" if n in arms else "1"} for n in joints],
            },
            "grippers": [
                {
                    "dimension": f"{arm}_gripper", "joint": f"{arm}_gripper", "open_position": 1.49,
                    "closed_position": -0.62, "topic": f"/{arm}/gripper",
                }
                for arm in ("left", "right")
            ],
            "teleop": {"topic": "/leader"},
            "command": {
                "type": "joint_trajectory", "command_delay_s": 0.1,
                "groups": [
                    {"topic": f"/{arm}/command", "joints": [n for n in arms if n.startswith(arm)]}
                    for arm in ("left", "right")
                ],
            },
            "limits": {n: {"position": [-3.1, 3.1], "velocity": 3.1, "acceleration": 8.0} for n in arms},
        }
    )  # fmt: skip
