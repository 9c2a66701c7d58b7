"""`vla-adapter finetune`: a data set and a start to a checkpoint that drives the robot."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pydantic.fields import FieldInfo

from vla_adapter_ros.choices import Choice, PlatformName, Preset
from vla_adapter_ros.cli.arguments import (
    DEVICE_HELP,
    SEED,
    UsageError,
    any_path,
    output_folder,
    whole,
    wrong_arguments,
)
from vla_adapter_ros.cli.checkpoint_command import add_changes, read_settings
from vla_adapter_ros.errors import ParameterError, TrainingError
from vla_adapter_ros.texts import comma_list
from vla_adapter_ros.training.memory_presets import MEMORIES
from vla_adapter_ros.training.recipes import Recipe, recipe_settings
from vla_adapter_ros.training.setting_words import LoraTargets, PolicyPart
from vla_adapter_ros.training.settings import GROUPS, SOURCES, make_settings, setting_fields

if TYPE_CHECKING:
    from vla_adapter_ros.training.starting import Start


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
    tune.add_argument("--seed", type=SEED, default=0, help="of everything that is random")
    tune.add_argument("--wandb", default="", metavar="PROJECT", help="also report to Weights & Biases")
    tune.add_argument("--memory", type=int, choices=MEMORIES, metavar="GB",
                      help="settings of the published model (0.5B) for a GPU of this memory: "
                      + ", ".join(map(str, MEMORIES)) + "; single ones may be changed")  # fmt: skip

    tune.add_argument("--recipe", default=Recipe.DEFAULT.value, choices=Recipe.words(),
                      help="all settings at once: default: as this package trains; paper: as the published "
                      "code does; single ones may be changed")  # fmt: skip

    start = tune.add_argument_group("where to start")
    start.add_argument(
        "--init",
        help="checkpoint of this package (a shipped one by its name), official checkpoint, Prismatic or "
        "OpenVLA backbone; a path, a hub id, or `prismatic`, which fetches the published one; default: the "
        "shipped grounded backbone",
    )
    start.add_argument("--preset", choices=Preset.words(),
                       help="sizes: alone, from scratch; with --init, of a published backbone")  # fmt: skip
    start.add_argument("--tokenizer", type=any_path, help="folder with tokenizer.json, where --init has none")
    add_changes(start)
    start.add_argument("--platform", help=f"of an official checkpoint: {', '.join(PlatformName.words())}")

    for group, title in GROUPS.items():
        options = tune.add_argument_group(title)
        for name, field in setting_fields(group).items():
            _add_setting(options, name, field)
    tune.set_defaults(run=_finetune)


def _add_setting(options: Any, name: str, field: FieldInfo) -> None:
    """Add the option of one setting. Without it the value is None, so that a recipe may set it."""
    default = recipe_settings().get(name, field.default)
    text = (field.description or "").replace("%", "%%")
    more: dict[str, Any]
    if name == "source_weights":
        more = {"type": _source_weights, "metavar": "human=1,policy=0.2"}
        text += "; default: human=1"
    elif name == "lora_targets":
        more = {"type": _lora_targets}
    elif name == "freeze":
        more = {"nargs": "+", "choices": PolicyPart.words()}
    elif name == "image_cache":
        more = {"metavar": "FOLDER"}
    elif isinstance(default, bool):
        more = {"action": argparse.BooleanOptionalAction}
    elif isinstance(default, Choice):
        more = {"choices": type(default).words()}
    else:
        more = {"type": int if field.annotation is int else float}
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        text += f"; default: {default}"
    options.add_argument("--" + name.replace("_", "-"), help=text, default=None, **more)


def _lora_targets(text: str) -> str | tuple[str, ...]:
    return text if text in LoraTargets.words() else tuple(comma_list(text))


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
    """Settings as given: those of the recipe, over them the memory's, over them single ones.

    Raises:
        UsageError: a value makes no sense, or `--memory` where it means nothing.
    """
    from vla_adapter_ros.training.data.data_sources import parse_source
    from vla_adapter_ros.training.starting import Start

    names = [name for name in setting_fields() if name != "seed"]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    start = Start(options.init, options.preset)
    if options.memory and start.is_tiny:
        raise UsageError(
            f"--memory {options.memory} sets batches and adapters for the published model, and this trains "
            f"the tiny one ({start.name}), which needs none: leave it out, or "
            "name a published start, such as --init prismatic"
        )
    chosen = recipe_settings(options.recipe, options.memory) | given
    with wrong_arguments(TrainingError):
        make_settings(**chosen)
        for source in options.dataset:
            parse_source(source)
    return chosen


def _start(options: argparse.Namespace) -> Start:
    from vla_adapter_ros.training.starting import Start

    changes = read_settings(options.set)
    if changes and options.init is None:
        raise UsageError("--set: allowed is with --init")
    return Start(options.init, options.preset, options.tokenizer, options.platform, changes or None)


def _finetune(options: argparse.Namespace) -> int:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.evaluation.finetuning import finetune_and_evaluate
    from vla_adapter_ros.model.device import resolve_device
    from vla_adapter_ros.training.distributed import several_processes

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
    _, report = finetune_and_evaluate(
        options.dataset,
        options.output,
        start=_start(options),
        seed=options.seed,
        resume=options.resume,
        device=options.device,
        threads=options.threads,
        contract=read_contract(options.contract) if options.contract else None,
        wandb=options.wandb,
        **settings,
    )
    # A launcher takes any other status of one process for a crash, and ends the others.
    return 0 if several_processes() or report is None else report.exit_status


def _check(options: argparse.Namespace, settings: dict[str, Any]) -> int:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.training.data.preflight import PAGE
    from vla_adapter_ros.training.finetune_plan import make_plan

    page = options.output.with_name(options.output.name + PAGE)
    plan = make_plan(
        options.dataset,
        make_settings(seed=options.seed, **settings),
        _start(options),
        read_contract(options.contract) if options.contract else None,
    )
    print("\n".join((*plan.check(page).lines, f"page: {page}")))
    return 0
