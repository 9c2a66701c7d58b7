"""`vla-adapter finetune`: a data set and a start to a checkpoint that drives the robot."""

from __future__ import annotations

import argparse
from typing import Any

from vla_adapter_ros.cli.arguments import (
    DEVICE_HELP,
    SEED,
    UsageError,
    any_path,
    output_folder,
    whole,
    wrong_arguments,
)
from vla_adapter_ros.errors import ParameterError, TrainingError
from vla_adapter_ros.texts import comma_list
from vla_adapter_ros.training.presets import MEMORIES, memory_preset
from vla_adapter_ros.training.settings import (
    AUGMENTATIONS,
    PADDINGS,
    POLICY_PARTS,
    PRECISIONS,
    SCHEDULES,
    SOURCES,
    TAKES,
    TARGETS,
    make_settings,
)

_SETTINGS = (  # options that are passed on only if they are given, so that a memory preset may set them
    "steps", "batch", "lr", "accumulation", "backbone_lr_factor", "lora_rank", "lora_alpha", "lora_dropout",
    "lora_targets", "freeze", "warmup", "schedule", "clip", "weight_decay", "ema", "precision", "frozen_bf16",
    "checkpointing", "compile", "waypoint_weight", "holdout", "save_every", "keep", "evaluate_every", "take",
    "augmentation", "padding", "idle_threshold", "source_weights", "workers",
)  # fmt: skip
_DEFAULTS = {"steps": 1600}


def add_finetune_command(commands: Any) -> None:
    """Add `finetune` to the parser's commands."""
    tune = commands.add_parser("finetune", help="train a checkpoint on a LeRobot data set")
    tune.add_argument(
        "--dataset", action="append", required=True, metavar="PATH[=WEIGHT][,mapping=FILE]",
        help="LeRobot data set of format v3.0, v2.1 or v2.0, a folder or a hub id; again for further ones",
    )  # fmt: skip
    tune.add_argument(
        "--check-only", action="store_true", help="check the data, write OUTPUT.data.html, and do not train"
    )
    tune.add_argument("--output", type=output_folder, required=True, help="checkpoint directory to write")
    tune.add_argument("--contract", help="for a data set that carries none: shipped name or path")
    tune.add_argument("--resume", action="store_true", help="go on from the output's last state")
    tune.add_argument("--device", default="auto", help=DEVICE_HELP)
    tune.add_argument("--threads", type=whole(), default=1, help="CPU threads; 0: torch's choice")
    tune.add_argument("--seed", type=SEED, default=0)
    tune.add_argument("--wandb", default="", metavar="PROJECT", help="also report to Weights & Biases")

    start = tune.add_argument_group("where to start")
    start.add_argument(
        "--init",
        help="checkpoint of this package, official checkpoint, Prismatic or OpenVLA backbone; a path, a "
        "hub id, or `prismatic`, which fetches the published one; default: the shipped grounded backbone",
    )
    start.add_argument("--preset", choices=("tiny", "0.5b", "llama2-7b", "openvla-7b"),
                       help="sizes: alone, from scratch; with --init, of a published backbone")  # fmt: skip
    start.add_argument("--tokenizer", type=any_path, help="folder with tokenizer.json, where --init has none")
    start.add_argument("--platform", help="of an official checkpoint: libero, calvin, aloha, bridge")

    what = tune.add_argument_group("what trains")
    what.add_argument("--memory", type=int, choices=MEMORIES, metavar="GB",
                      help="settings of the published model (0.5B) for a GPU of this memory: "
                      + ", ".join(map(str, MEMORIES)))  # fmt: skip
    what.add_argument("--lora-rank", type=int, help="train adapters of this rank; 0: the weights")
    what.add_argument("--lora-alpha", type=float, help="scale of the adapters; default: twice the rank")
    what.add_argument("--lora-dropout", type=float)
    what.add_argument(
        "--lora-targets", type=_lora_targets, help="all-linear, used-linear, or layers such as q_proj,v_proj"
    )
    what.add_argument("--backbone-lr-factor", type=float, help="of the backbone; 0 freezes it")
    what.add_argument("--freeze", nargs="+", choices=POLICY_PARTS, help="parts of the policy that stay")

    how = tune.add_argument_group("how")
    how.add_argument("--steps", type=int, help="optimizer steps; default 1600")
    how.add_argument("--batch", type=int, help="samples per step over all processes; default 32")
    how.add_argument("--accumulation", type=int, help="parts of a process's share, one after the other")
    how.add_argument("--lr", type=float, help="largest learning rate; default 1e-3")
    how.add_argument("--schedule", choices=SCHEDULES)
    how.add_argument("--warmup", type=int, help="steps of the rising learning rate")
    how.add_argument("--weight-decay", type=float)
    how.add_argument("--clip", type=float, help="largest norm of the gradient")
    how.add_argument("--ema", type=float, help="decay of a running mean of the weights; 0: none")
    how.add_argument("--waypoint-weight", type=float, help="of the extra loss; 0: none")
    how.add_argument("--precision", choices=PRECISIONS, help="of products; weights that train are float32")
    how.add_argument("--frozen-bf16", action=argparse.BooleanOptionalAction)
    how.add_argument("--checkpointing", action=argparse.BooleanOptionalAction,
                     help="compute activations again: less memory, more time")  # fmt: skip
    how.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile")

    kept = tune.add_argument_group("what is kept")
    kept.add_argument("--holdout", type=float, help="share of the episodes for the report; default 0.05")
    kept.add_argument("--save-every", type=int, help="steps between saves; default 500")
    kept.add_argument("--keep", type=int, help="newest checkpoints beside the best one; default 2, 0: none")
    kept.add_argument("--evaluate-every", type=int, help="steps between held-out losses; 0: at every save")
    kept.add_argument("--take", choices=TAKES, help="which checkpoint becomes the output; default last")

    data = tune.add_argument_group("what is learned from")
    data.add_argument("--augmentation", choices=AUGMENTATIONS,
                      help="of images; auto: light for tiny, official for the published models")  # fmt: skip
    data.add_argument("--padding", choices=PADDINGS, help="chunks past the end of an episode; default repeat")
    data.add_argument("--idle-threshold", type=float, metavar="RAD_OR_M",
                      help="leave out rows whose chunk moves nothing farther; default 0: none")  # fmt: skip
    data.add_argument("--source-weights", type=_source_weights, metavar="human=1,policy=0.2",
                      help="how often rows are drawn by who was in control; default human=1")  # fmt: skip
    data.add_argument("--workers", type=int, help="processes that decode images ahead; default: as needed")
    tune.set_defaults(run=_finetune)


def _lora_targets(text: str) -> str | tuple[str, ...]:
    return text if text in TARGETS else tuple(comma_list(text))


def _source_weights(text: str) -> tuple[float, ...]:
    """`human=1,policy=0.2` as weights of none, human, policy."""
    weights = dict.fromkeys(SOURCES, 0.0)
    for part in comma_list(text):
        name, _, value = map(str.strip, part.partition("="))
        if name not in weights:
            raise argparse.ArgumentTypeError(f"{name!r}: allowed are {', '.join(SOURCES)}")
        try:
            weights[name] = float(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{part!r}: allowed is {name}=NUMBER") from None
    return tuple(weights.values())


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Settings as given: the defaults, over them the memory preset's, over them single ones.

    Raises:
        UsageError: a value makes no sense, or `--memory` where it means nothing.
    """
    from vla_adapter_ros.training.sources import parse_source
    from vla_adapter_ros.training.starting import is_tiny_start, start_name

    given = {name: getattr(options, name) for name in _SETTINGS if getattr(options, name) is not None}
    preset = memory_preset(options.memory) if options.memory else {}
    if options.memory and is_tiny_start(options.init, options.preset):
        raise UsageError(
            f"--memory {options.memory} sets batches and adapters for the published model, and this trains "
            f"the tiny one ({start_name(options.init, options.preset)}), which needs none: leave it out, or "
            "name a published start, such as --init prismatic"
        )
    chosen = {**_DEFAULTS, **preset, **given}
    with wrong_arguments(TrainingError):
        make_settings(**chosen)
        for source in options.dataset:
            parse_source(source)
    return chosen


def _finetune(options: argparse.Namespace) -> int:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.model.device import resolve_device
    from vla_adapter_ros.training.distributed import several_processes
    from vla_adapter_ros.training.finetune import finetune

    settings = chosen_settings(options)
    if options.check_only:
        return _check(options, settings)
    with wrong_arguments(ParameterError):
        device = resolve_device(options.device)
    if options.memory and options.device == "auto" and device.type == "cpu":
        raise TrainingError(
            f"--memory {options.memory} is for a GPU, and torch sees none: --device cpu trains without one, "
            "slowly"
        )
    result = finetune(
        options.dataset,
        options.output,
        init=options.init,
        preset=options.preset,
        tokenizer=options.tokenizer,
        platform=options.platform,
        seed=options.seed,
        resume=options.resume,
        device=options.device,
        threads=options.threads,
        contract=read_contract(options.contract) if options.contract else None,
        wandb=options.wandb,
        **settings,
    )
    # A launcher takes any other status of one process for a crash, and ends the others.
    return 0 if several_processes() else result.report.exit_status


def _check(options: argparse.Namespace, settings: dict[str, Any]) -> int:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.training.inspection import PAGE, check_data

    page = options.output.with_name(options.output.name + PAGE)
    found = check_data(
        options.dataset,
        page,
        init=options.init,
        preset=options.preset,
        tokenizer=options.tokenizer,
        platform=options.platform,
        contract=read_contract(options.contract) if options.contract else None,
        seed=options.seed,
        **settings,
    )
    print("\n".join((*found.lines, f"page: {page}")))
    return 0
