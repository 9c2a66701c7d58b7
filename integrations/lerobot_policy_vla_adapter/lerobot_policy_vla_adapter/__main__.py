"""Write a checkpoint as a folder that LeRobot's `--policy.path` takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from lerobot_policy_vla_adapter.configuration_vla_adapter import VlaAdapterConfig
from lerobot_policy_vla_adapter.modeling_vla_adapter import VlaAdapterPolicy
from lerobot_policy_vla_adapter.processor_vla_adapter import make_vla_adapter_pre_post_processors


def write_folder(checkpoint: str, folder: Path, platform: str = "") -> None:
    """Write LeRobot's files, with the checkpoint beside them.

    Args:
        checkpoint: Directory, hub id or shipped name.
        folder: To write.
        platform: Of an official checkpoint.
    """
    config = VlaAdapterConfig(checkpoint=checkpoint, platform=platform, device="cpu", push_to_hub=False)
    policy = VlaAdapterPolicy(config)
    config.checkpoint = ""
    policy.save_pretrained(folder)
    for pipeline in make_vla_adapter_pre_post_processors(config):
        pipeline.save_pretrained(folder)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="python -m lerobot_policy_vla_adapter", description=__doc__)
    parser.add_argument("checkpoint", help="directory, hub id or shipped name")
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("--platform", default="", help="of an official checkpoint; default: it is none")
    options = parser.parse_args()
    write_folder(options.checkpoint, options.folder, options.platform)
    print(f"next: lerobot-eval --policy.path={options.folder} --env.type=vla_adapter_sim")


if __name__ == "__main__":
    main()
