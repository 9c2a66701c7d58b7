"""Fine-tune a VLA-Adapter on a recorded data set: the head's own loss on chunks of actions.

A plan (settings, sources, start) becomes a bundle (policy, samples, rows), and that a run of steps.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.paths import locate
from vla_adapter_ros.scene_check.store import write_references
from vla_adapter_ros.training.data.data_sources import Source
from vla_adapter_ros.training.data.preflight import PAGE
from vla_adapter_ros.training.data.samples import training_start_pose
from vla_adapter_ros.training.distributed import Processes
from vla_adapter_ros.training.finetune_plan import FinetunePlan, make_plan
from vla_adapter_ros.training.learner import build_learner
from vla_adapter_ros.training.loop import OnStep, TrainingLoop
from vla_adapter_ros.training.metric_logger import MetricLogger
from vla_adapter_ros.training.module import has_bf16
from vla_adapter_ros.training.progress import Display, progress_bar
from vla_adapter_ros.training.result import (
    Evaluate,
    TrainedPolicy,
    TrainingResult,
    read_result,
    write_result,
)
from vla_adapter_ros.training.run import TrainingRun, require_same_training
from vla_adapter_ros.training.scene_references import reference_views
from vla_adapter_ros.training.setting_words import Precision
from vla_adapter_ros.training.settings import make_settings
from vla_adapter_ros.training.space import explain_writing
from vla_adapter_ros.training.starting import Start


def finetune(
    dataset: str | Path | Source | Sequence[str | Path | Source],
    output: str | Path,
    *,
    start: Start | None = None,
    contract: Contract | None = None,
    resume: bool = False,
    device: str = "auto",
    threads: int = 1,
    progress: bool = True,
    pages: bool = True,
    wandb: str = "",
    on_step: OnStep | None = None,
    evaluate: Evaluate | None = None,
    **settings: Any,
) -> TrainingResult:
    """Fine-tune on a recorded data set and write a checkpoint directory.

    What is found in the data before the first step stands in `<output>.data.html`. Beside the output lies a
    folder `<output>.training`: the running state, so that an interrupted run goes on with `resume` as if
    nothing had happened; the newest and the best checkpoints; TensorBoard's files.
    Under `accelerate launch` all processes call this with the same arguments.

    Args:
        dataset: LeRobot data set, best one recorded by the recorder node; or several, with weights and
            mappings, see `data_sources.parse_source`.
        output: Checkpoint directory to write; appears when it is complete.
        start: Where the weights come from; default: the grounded tiny backbone of this package. A head of
            the same shape is kept, otherwise a new one is made.
        contract: For data sets that carry none.
        resume: Go on with an interrupted run of the same settings, if there is one; of one that has
            finished, the result is given.
        device: Where to train, see `resolve_device`.
        threads: CPU threads; two were slower than one on two busy cores. 0 leaves torch's own choice.
        progress: Show a progress bar, and say what is trained where.
        pages: Write a page about the data beside the output.
        wandb: Project at Weights & Biases; "" is none.
        on_step: Called with (step, loss) after each step.
        evaluate: Called in the first process before the checkpoint appears; what it returns is stored in it.
        **settings: Fields of `FinetuneSettings`; `steps` at least.

    Raises:
        TrainingError: a setting, the data set or the output does not fit, the loss is not finite, or memory
            or disk space ran out.
        ContractMismatch: the checkpoint to start from was trained for another robot.
        DatasetError, CheckpointError: damaged or missing.
        KeyboardInterrupt: a stop was asked for (Ctrl-C, SIGTERM); what was done is saved.
    """
    chosen, start = make_settings(**settings), start or Start()
    if threads:
        torch.set_num_threads(threads)
    processes = Processes(device)
    processes.split_batch(chosen.batch_size, chosen.gradient_accumulation_steps)
    if chosen.frozen_bf16 and chosen.precision == Precision.AUTO and not has_bf16(processes.device):
        raise TrainingError("frozen_bf16 without bf16 units here: ask for precision 'bf16', or leave it out")
    run = TrainingRun(locate(output), resume)
    if run.is_finished:
        result, record = read_result(run.output)
        require_same_training(record, {**record, **chosen.as_json(), "init": start.name})
        if progress and processes.is_first:
            print(
                f"{run.output} is finished: nothing is left to resume. To train on, take it as --init, with "
                "another --output."
            )
        return result
    with run.reserve(processes.is_first):
        plan = make_plan(dataset, chosen, start, contract)
        page = run.output.with_name(run.output.name + PAGE) if pages and processes.is_first else None
        # Without names, the generators of all GPUs are kept, and so each of them is started.
        gpus = [processes.device] if processes.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus), progress_bar(progress and processes.is_first) as show:
            torch.manual_seed(chosen.seed)
            loop = _build_loop(plan, run, processes, page, show)
            logger = MetricLogger(
                run.folder / "logs", wandb=wandb, settings=loop.bundle.record,
                first_step=len(loop.learner.losses), active=processes.is_first,
            )  # fmt: skip
            begun = time.monotonic()
            with explain_writing(run.folder):
                try:
                    loop.run(show, logger, on_step)
                finally:
                    logger.close()
                return _finish(loop, run, time.monotonic() - begun, show, evaluate)


def _build_loop(
    plan: FinetunePlan, run: TrainingRun, processes: Processes, page: Path | None, show: Display
) -> TrainingLoop:
    """The loop, ready to begin or to go on; the disk is large enough."""
    resumes = run.resumes(plan.record)
    processes.wait()
    bundle = plan.prepare(processes.device, page, show)
    learner = build_learner(bundle, processes, run.folder)
    if resumes:
        learner.load(run.state_file)
    return TrainingLoop(bundle, learner, run.folder)


def _finish(
    loop: TrainingLoop, run: TrainingRun, seconds: float, show: Display, evaluate: Evaluate | None
) -> TrainingResult:
    """Choose the weights, have them evaluated, and let the checkpoint appear at once."""
    bundle, learner, processes = loop.bundle, loop.learner, loop.processes
    steps, taken = bundle.settings.steps, None
    best, last = loop.checkpoints.best, loop.last_validation
    if best is not None and (last is None or best[1] < last.loss):
        show.print_line(f"the checkpoint after {best[0]} steps has the lowest validation loss: {best[1]:.4f}")
        if bundle.settings.load_best:
            steps, taken = best[0], loop.checkpoints.path(best[0])
    temporary = run.output.with_name(run.output.name + ".tmp")
    if processes.is_first:
        shutil.rmtree(temporary, ignore_errors=True)
    if taken is None:
        learner.write_checkpoint(temporary)
    elif processes.is_first:
        shutil.copytree(taken, temporary)
    if processes.is_first:
        report, train, rows = None, bundle.rows.train, bundle.rows.evaluated
        if evaluate is not None:
            policy = VlaAdapterPolicy.from_pretrained(temporary, device=processes.device)
            seed = bundle.settings.seed
            report = evaluate(
                TrainedPolicy(
                    policy, bundle.samples, rows, bundle.rows.is_validation, seed, run.output, steps
                )
            )
        result = TrainingResult(run.output, tuple(learner.losses), seconds, report)
        episodes = np.unique(bundle.samples.episode[rows]).tolist() if bundle.rows.is_validation else []
        write_result(
            temporary, result, bundle.record, steps=steps, validation_episodes=episodes,
            start_pose=training_start_pose(bundle.samples, train),
        )  # fmt: skip
        write_references(temporary, reference_views(bundle.samples, train))
        temporary.rename(run.output)
        run.state_file.unlink(missing_ok=True)
    processes.wait()
    return result if processes.is_first else read_result(run.output)[0]
