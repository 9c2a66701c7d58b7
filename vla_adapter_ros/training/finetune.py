"""Fine-tune a VLA-Adapter on a recorded data set: the head's own loss on chunks of actions."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.files import missing_folders, remove_empty
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.device import describe_device
from vla_adapter_ros.paths import locate
from vla_adapter_ros.training.adapters import add_lora, frozen_to_bf16, plain_copy
from vla_adapter_ros.training.batches import prepare_preprocessing, training_images
from vla_adapter_ros.training.data import Samples, compute_statistics
from vla_adapter_ros.training.distributed import Processes, whole
from vla_adapter_ros.training.ema import RunningMean
from vla_adapter_ros.training.inspection import PAGE, inspect_data
from vla_adapter_ros.training.loop import STATE, TrainingLoop, TrainingModule, has_bf16
from vla_adapter_ros.training.memory import apply_training_optimizations, compile_layers
from vla_adapter_ros.training.metric_logger import MetricLogger
from vla_adapter_ros.training.old_records import rename_old_keys
from vla_adapter_ros.training.optimizer import build_optimizer, freeze_parts
from vla_adapter_ros.training.progress import Display, progress_bar
from vla_adapter_ros.training.report import Report, format_report, make_report
from vla_adapter_ros.training.report_page import draw_pictures, write_page
from vla_adapter_ros.training.rope import settle_rope_tables
from vla_adapter_ros.training.selection import split_rows
from vla_adapter_ros.training.settings import FREE, FinetuneSettings, Precision, make_settings
from vla_adapter_ros.training.sources import Source, open_sources
from vla_adapter_ros.training.space import (
    bytes_needed,
    explain_writing,
    only_one,
    require_space,
    require_writable,
)
from vla_adapter_ros.training.starting import start_name, starting_point
from vla_adapter_ros.training.state import load_state, read_settings
from vla_adapter_ros.untrusted import read_json

RESULT = "training.json"  # inside the checkpoint
REPORT_PAGE = ".report.html"  # beside it


@dataclass(frozen=True)
class TrainingResult:
    """What came out.

    Attributes:
        output: The checkpoint directory.
        losses: Loss of every step, those before an interruption included.
        seconds: Wall time of the steps made now [s].
        report: Errors on the validation episodes.
    """

    output: Path
    losses: tuple[float, ...]
    seconds: float
    report: Report


def finetune(
    dataset: str | Path | Source | Sequence[str | Path | Source],
    output: str | Path,
    *,
    init: str | Path | None = None,
    preset: str | None = None,
    tokenizer: str | Path | None = None,
    platform: str | None = None,
    steps: int,
    batch_size: int = 32,
    lr: float = 1e-3,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
    device: str = "auto",
    threads: int = 1,
    contract: Contract | None = None,
    wandb: str = "",
    pages: bool = True,
    on_step: Callable[[int, float], None] | None = None,
    **more: Any,
) -> TrainingResult:
    """Fine-tune on a recorded data set and write a checkpoint directory.

    What is found in the data before the first step stands in `<output>.data.html`. Beside the output lies a
    folder `<output>.training`: the running state, so that an interrupted run goes on with `resume` as if
    nothing had happened; the newest and the best checkpoints; TensorBoard's files.
    Under `accelerate launch` all processes call this with the same arguments.

    Args:
        dataset: LeRobot data set, best one recorded by the recorder node; or several, with weights and
            mappings, see `sources.parse_source`.
        output: Checkpoint directory to write; appears when it is complete.
        init, preset, tokenizer, platform: Where to start, see `starting.starting_point`. A head of the same
            shape is kept, otherwise a new one is made.
        steps, batch_size, lr, seed: See `FinetuneSettings`.
        resume: Go on with an interrupted run of the same settings, if there is one; of one that has
            finished, the result is given.
        progress: Show a progress bar, say what is trained where, and print the report.
        device: Where to train, see `resolve_device`.
        threads: CPU threads; two were slower than one on two busy cores. 0 leaves torch's own choice.
        contract: For data sets that carry none.
        wandb: Project at Weights & Biases; "" is none.
        pages: Write two pages beside the output: about the data, and the report.
        on_step: Called with (step, loss) after each step.
        **more: Further fields of `FinetuneSettings`.

    Raises:
        TrainingError: a setting, the data set or the output does not fit, the loss is not finite, or memory
            or disk space ran out.
        ContractMismatch: the checkpoint to start from was trained for another robot.
        DatasetError, CheckpointError: damaged or missing.
        KeyboardInterrupt: a stop was asked for (Ctrl-C, SIGTERM); what was done is saved.
    """
    settings = make_settings(steps=steps, batch_size=batch_size, lr=lr, seed=seed, **more)
    if threads:
        torch.set_num_threads(threads)
    processes = Processes(device)
    processes.split_batch(settings.batch_size, settings.gradient_accumulation_steps)
    if settings.frozen_bf16 and settings.precision == Precision.AUTO and not has_bf16(processes.device):
        raise TrainingError("frozen_bf16 without bf16 units here: ask for precision 'bf16', or leave it out")
    output = locate(output)
    folder = output.with_name(output.name + ".training")
    if resume and (output / RESULT).is_file():
        result, saved = _read_result(output)
        _require_same_run(saved, {**saved, **_as_json(settings), "init": start_name(init, preset)})
        if progress and processes.is_first:
            print(
                f"{output} is finished: nothing is left to resume. To train on, take it as --init, with "
                "another --output."
            )
            print(format_report(result.report))
        return result
    made = missing_folders(folder)
    try:
        _check_output(output, folder, resume)
        with only_one(folder, processes.is_first):
            _check_output(output, folder, resume)  # the one before may just have ended
            return _train(
                dataset, contract, settings, processes, output, folder, init, preset, tokenizer, platform,
                progress, wandb, pages, on_step,
            )  # fmt: skip
    finally:
        remove_empty(made)  # of a training that was refused


def _train(
    dataset: str | Path | Source | Sequence[str | Path | Source],
    contract: Contract | None,
    settings: FinetuneSettings,
    processes: Processes,
    output: Path,
    folder: Path,
    init: str | Path | None,
    preset: str | None,
    tokenizer: str | Path | None,
    platform: str | None,
    progress: bool,
    wandb: str,
    pages: bool,
    on_step: Callable[[int, float], None] | None,
) -> TrainingResult:
    """What `finetune` does once no other process writes to the output."""
    sources, robot = open_sources(dataset, contract)
    recorded = {
        "datasets": [
            source.name if source.weight == 1 else f"{source.name}={source.weight:g}" for source in sources
        ],
        "episodes": sum(source.data.num_episodes for source in sources),
        "frames": sum(source.data.num_frames for source in sources),
        "init": start_name(init, preset),
    }
    key = {**_as_json(settings), **recorded}
    resumes = (folder / STATE).is_file()
    if resumes:
        _require_same_run(read_settings(folder / STATE), key)
    processes.wait()
    # Without names, the generators of all GPUs are kept, and so each of them is started.
    gpus = [processes.device] if processes.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), progress_bar(progress and processes.is_first) as show:
        torch.manual_seed(settings.seed)
        sentences = [task for source in sources for task in source.data.tasks]
        backbone = starting_point(
            init, robot, sentences, preset_name=preset, tokenizer=tokenizer, platform=platform,
            device=processes.device,
        )  # fmt: skip
        weights = sum(p.numel() for p in backbone.network.parameters())
        show.print_line(
            f"starts from {recorded['init']}, {weights / 1e6:,.1f} million parameters, "
            f"{describe_device(processes.device)}"
        )
        backbone = prepare_preprocessing(backbone, settings)
        page = output.with_name(output.name + PAGE) if pages and processes.is_first else None
        preflight, samples = inspect_data(sources, robot, backbone, settings, page)
        for line in preflight.issues:
            show.print_line(line)
        images = training_images(
            sources, robot, backbone, settings,
            progress=lambda done, total: show("read", done, total, ""),
        )  # fmt: skip
        samples = Samples.join(samples, images)
        rows = split_rows(samples, settings, backbone.config.chunk)
        policy, line = _prepare(backbone, samples, robot, "+".join(samples.names), rows[0])
        if line:
            show.print_line(line)
        del backbone
        loop = _build_loop(policy, samples, rows, settings, processes, folder, key, resumes)
        logger = MetricLogger(
            folder / "logs", wandb=wandb, settings=key, first_step=len(loop.losses), active=processes.is_first
        )
        start = time.monotonic()
        with explain_writing(folder):
            try:
                loop.run(show, logger, on_step)
            finally:
                logger.close()
            result = _finish(loop, output, time.monotonic() - start, show, pages)
    if progress and processes.is_first:
        print(format_report(result.report))
    return result


def _build_loop(
    policy: VlaAdapterPolicy,
    samples: Samples,
    rows: tuple[np.ndarray, np.ndarray, bool],
    settings: FinetuneSettings,
    processes: Processes,
    folder: Path,
    key: dict[str, Any],
    resumes: bool,
) -> TrainingLoop:
    """Model, optimizer and their state, ready to go on; the disk is large enough."""
    train_rows, report_rows, is_validation = rows
    weights = sum(p.numel() for p in policy.network.parameters())
    if settings.lora_rank:
        add_lora(
            policy.network, settings.lora_rank, settings.lora_alpha, settings.lora_dropout,
            settings.lora_targets,
        )  # fmt: skip
    module = TrainingModule(policy).to(processes.device)
    freeze_parts(module, settings)
    if settings.frozen_bf16:
        frozen_to_bf16(policy.network)
    if processes.is_first:
        needed = bytes_needed(
            module, weights, settings.save_total_limit, ema=settings.ema_decay > 0, validates=is_validation
        )
        require_space(folder.parent, needed)
    whole_copy = copy.deepcopy(module).cpu() if processes.sharded and processes.is_first else None
    apply_training_optimizations(module, processes.device)
    if settings.compile:
        compile_layers(module)
    model = processes.prepare(module)
    inner = processes.inner(model)
    optimizer = build_optimizer(inner, settings)
    mean = RunningMean(inner, settings.ema_decay)
    losses = load_state(folder / STATE, inner, optimizer, mean) if resumes else []

    def fill(target: Path) -> None:
        plain = _plain_policy(policy, inner, whole_copy, processes)
        if plain is not None:
            _save(plain, target)

    return TrainingLoop(
        model, optimizer, policy, samples, train_rows, report_rows if is_validation else None, settings,
        processes, folder, key, losses, mean, fill,
    )  # fmt: skip


def _plain_policy(
    policy: VlaAdapterPolicy, inner: nn.Module, whole_copy: nn.Module | None, processes: Processes
) -> VlaAdapterPolicy | None:
    """The policy on the CPU as it is now, without adapters; None in processes that only give their part."""
    if processes.sharded:
        state = {name: whole(value.detach()).cpu() for name, value in inner.state_dict().items()}
        if whole_copy is None:
            return None
        whole_copy.load_state_dict(state)
        inner = whole_copy
    return VlaAdapterPolicy(
        plain_copy(inner.network), policy.config, policy.tokenizer, policy.statistics, policy.contract,
        kept_files=policy.kept_files,
    )  # fmt: skip


def _prepare(
    backbone: VlaAdapterPolicy, samples: Samples, robot: Contract, name: str, rows: np.ndarray
) -> tuple[VlaAdapterPolicy, str]:
    """The policy to train, and a line about its rotary tables, see `settle_rope_tables`.

    It has the data sets' contract, the training rows' statistics, and a head that is kept or new.
    """
    statistics, config = compute_statistics(name, samples, robot, rows), backbone.config
    shape = {"action_dim": len(robot.action_names), "proprio_dim": len(robot.state_names)}
    if backbone.statistics is None or shape != {k: getattr(config, k) for k in shape}:
        return backbone.with_new_head(**shape, chunk=config.chunk, statistics=statistics, contract=robot), ""
    backbone, line = settle_rope_tables(backbone)
    policy = VlaAdapterPolicy(
        backbone.network, backbone.config, backbone.tokenizer, statistics, robot,
        kept_files=backbone.kept_files,
    )  # fmt: skip
    return policy, line


def _check_output(output: Path, folder: Path, resume: bool) -> None:
    if output.exists():
        raise TrainingError(f"{output} is there already: choose another output, or remove it")
    if (folder / STATE).exists() and not resume:
        raise TrainingError(f"{folder}: an interrupted training: resume it, or remove the folder")
    require_writable(output.parent)
    require_writable(folder)


def _as_json(settings: FinetuneSettings) -> dict[str, Any]:
    """Settings as they come back from a file."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def _require_same_run(saved: dict[str, Any], key: dict[str, Any]) -> None:
    names = sorted(n for n in {*saved, *key} if n not in FREE and saved.get(n) != key.get(n))
    if names:
        lines = "\n  ".join(f"{n}: {saved.get(n)!r} then, {key.get(n)!r} now" for n in names)
        raise TrainingError(f"the training before differs from this one:\n  {lines}")


def _finish(loop: TrainingLoop, output: Path, seconds: float, show: Display, pages: bool) -> TrainingResult:
    """Choose the weights, evaluate them, and let the checkpoint appear at once."""
    processes, best, last = loop.processes, loop.checkpoints.best, loop.last_validation
    best_is_earlier = best is not None and (last is None or best[1] < last.loss)
    if best_is_earlier:
        show.print_line(f"the checkpoint after {best[0]} steps has the lowest validation loss: {best[1]:.4f}")
    loads_best = loop.settings.load_best and best_is_earlier
    temporary = output.with_name(output.name + ".tmp")
    if processes.is_first:
        shutil.rmtree(temporary, ignore_errors=True)
    if loads_best and processes.is_first:
        shutil.copytree(loop.checkpoints.path(best[0]), temporary)
    elif not loads_best:
        loop.write_checkpoint(temporary)
    if processes.is_first:
        policy = VlaAdapterPolicy.from_pretrained(temporary, device=processes.device)
        _, rows, is_validation = split_rows(loop.samples, loop.settings, policy.config.chunk)
        report = make_report(
            policy, loop.samples, rows, policy.contract.action_names, is_validation=is_validation,
            seed=loop.settings.seed,
        )  # fmt: skip
        result = TrainingResult(output, tuple(loop.losses), seconds, report)
        steps = best[0] if loads_best else loop.settings.steps
        _write_result(temporary, result, loop.key, steps)
        if pages:
            pictures = draw_pictures(report, policy, loop.samples, policy.contract.rate_hz)
            facts = {"checkpoint": output, "data": " + ".join(loop.samples.names), "steps": steps}
            write_page(report, pictures, output.with_name(output.name + REPORT_PAGE), facts=facts)
        temporary.rename(output)
        (loop.folder / STATE).unlink(missing_ok=True)
    processes.wait()
    return result if processes.is_first else _read_result(output)[0]


def _save(policy: VlaAdapterPolicy, folder: Path) -> None:
    largest = max(float(p.detach().abs().max()) for p in policy.network.parameters())
    fits = largest < torch.finfo(torch.float16).max
    policy.save_pretrained(folder, dtype=torch.float16 if fits else torch.bfloat16)


def _write_result(folder: Path, result: TrainingResult, key: dict[str, Any], steps: int) -> None:
    facts = {
        "settings": key,
        "taken_after_steps": steps,
        "losses": [float(f"{loss:.5g}") for loss in result.losses],
        "seconds": result.seconds,
        "report": dataclasses.asdict(result.report),
    }
    (folder / RESULT).write_text(json.dumps(facts) + "\n", encoding="utf-8")


def _read_result(output: Path) -> tuple[TrainingResult, dict[str, Any]]:
    """Result and settings of a run that has finished."""
    try:
        facts = read_json(output / RESULT)
        lists = {
            k: tuple(v) if isinstance(v, list) else v
            for k, v in rename_old_keys("report", facts["report"]).items()
        }
        result = TrainingResult(output, tuple(facts["losses"]), facts["seconds"], Report(**lists))
        return result, rename_old_keys("settings", facts["settings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{output / RESULT}: no result of a training: {error}") from error
