"""Fine-tune a VLA-Adapter on a recorded data set: the head's own loss on chunks of actions."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.contract import Contract, checkpoints_folder, require_same
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.recording.reader import DatasetReader
from vla_adapter_ros.training.adapters import add_lora, has_lora, merge_lora
from vla_adapter_ros.training.batches import make_batch, pick_rows, split_rows
from vla_adapter_ros.training.data import Samples, compute_statistics, load_samples
from vla_adapter_ros.training.optimizer import build_optimizer, learning_rate_factor, set_learning_rate
from vla_adapter_ros.training.progress import progress_bar
from vla_adapter_ros.training.report import Report, format_report, make_report
from vla_adapter_ros.training.settings import FinetuneSettings
from vla_adapter_ros.training.state import load_state, read_settings, save_state

BACKBONE = "grounded_tiny"
RESULT = "training.json"  # inside the checkpoint


@dataclass(frozen=True)
class TrainingResult:
    """What came out.

    Attributes:
        output: The checkpoint directory.
        losses: Loss of every step, those before an interruption included.
        seconds: Wall time of the steps made now [s].
        report: Errors on held-out episodes.
    """

    output: Path
    losses: tuple[float, ...]
    seconds: float
    report: Report


class Trainee(nn.Module):
    """The network, and the extra output that foretells the state in which the gripper closes."""

    def __init__(self, policy: VlaAdapterPolicy) -> None:
        super().__init__()
        self.network = policy.network
        self.waypoint = nn.Linear(policy.config.llm.hidden, policy.config.proprio_dim)

    def forward(
        self, ids: Tensor, mask: Tensor, pixels: Tensor, proprio: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The head's loss on target chunks (B, H, A), and the normalised state at the waypoint (B, S)."""
        conditions = self.network.conditions(ids, mask, pixels)
        loss = self.network.head_loss(conditions, proprio, target)
        return loss, self.waypoint(conditions.action[:, -1, -1])


def finetune(
    dataset: str | Path,
    output: str | Path,
    *,
    init: str | Path | None = None,
    steps: int,
    batch: int = 32,
    lr: float = 1e-3,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
    device: str = "cpu",
    threads: int = 1,
    contract: Contract | None = None,
    on_step: Callable[[int, float], None] | None = None,
    **more: Any,
) -> TrainingResult:
    """Fine-tune on a recorded data set and write a checkpoint directory.

    While it runs, its state lies beside the output (`<output>.training`), so that an interrupted run
    goes on with `resume` as if nothing had happened.

    Args:
        dataset: LeRobot v3.0 data set, best one recorded by the recorder node.
        output: Checkpoint directory to write; appears when it is complete.
        init: Checkpoint to start from; default: the grounded tiny backbone of this package. A head of
            the same shape is kept, otherwise a new one is made.
        steps, batch, lr, seed: See `FinetuneSettings`.
        resume: Go on with an interrupted run of the same settings, if there is one.
        progress: Show a progress bar and print the report.
        device: Where to train, in torch's words.
        threads: CPU threads; two were slower than one on two busy cores. 0 leaves torch's own choice.
        contract: For data sets that carry none.
        on_step: Called with (step, loss) after each step.
        **more: Further fields of `FinetuneSettings`.

    Raises:
        TrainingError: a setting, the data set or the output does not fit, or the loss is not finite.
        ContractMismatch: the checkpoint to start from was trained for another robot.
        DatasetError, CheckpointError: damaged or missing.
    """
    try:
        settings = FinetuneSettings(steps=steps, batch=batch, lr=lr, seed=seed, **more)
    except TypeError as error:
        raise TrainingError(f"unknown setting: {error}") from None
    if threads:
        torch.set_num_threads(threads)
    output, init = Path(output), Path(init or checkpoints_folder() / BACKBONE)
    state_file = output.with_name(output.name + ".training")
    if resume and (output / RESULT).is_file():
        return _read_result(output)
    _check_output(output, state_file, resume)
    reader = DatasetReader(dataset)
    robot = reader.contract or contract
    if robot is None:
        raise TrainingError(f"{dataset} carries no contract: name the robot's")
    recorded = {"episodes": reader.num_episodes, "frames": reader.num_frames, "init": init.name}
    key = {**dataclasses.asdict(settings), **recorded}
    resumes = state_file.is_file()
    if resumes:
        _require_same_run(read_settings(state_file), key)
    with torch.random.fork_rng(), progress_bar(progress) as show:
        torch.manual_seed(settings.seed)
        backbone = VlaAdapterPolicy.from_pretrained(init, device=device)
        _check_backbone(backbone, robot, init)
        samples = load_samples(
            reader, robot, backbone.resize_images, backbone.config.preprocessing.size,
            progress=lambda done, total: show("read", done, total, ""),
        )  # fmt: skip
        policy = _prepare(backbone, samples, robot, reader.root.resolve().name)
        if settings.lora_rank:
            add_lora(policy.network, settings.lora_rank)
        model = Trainee(policy).to(device)
        optimizer = build_optimizer(model, settings)
        losses = load_state(state_file, model, optimizer) if resumes else []
        train_rows, report_rows, held_out = split_rows(samples, settings)
        start = time.monotonic()
        try:
            _train(
                model,
                policy,
                samples,
                train_rows,
                settings,
                optimizer,
                losses,
                show,
                state_file,
                key,
                on_step,
            )
        except KeyboardInterrupt:
            save_state(state_file, model, optimizer, losses, key)
            raise
        seconds = time.monotonic() - start
        if has_lora(policy.network):
            policy.network = merge_lora(policy.network)
        policy.network.eval()
        report = make_report(
            policy, samples, report_rows, robot.action_names, held_out=held_out, seed=settings.seed
        )
    result = TrainingResult(output, tuple(losses), seconds, report)
    _write(policy, result, key)
    state_file.unlink(missing_ok=True)
    if progress:
        print(format_report(report))
    return result


def _train(
    model: Trainee,
    policy: VlaAdapterPolicy,
    samples: Samples,
    rows: np.ndarray,
    settings: FinetuneSettings,
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    show: Callable[[str, int, int, str], None],
    state_file: Path,
    key: dict[str, Any],
    on_step: Callable[[int, float], None] | None,
) -> None:
    """Make the steps that are missing; every random draw follows from the seed and the step."""
    model.train()
    device = policy.network.device
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(len(losses), settings.steps):
        torch.manual_seed(settings.seed * 1_000_003 + step)
        batch = make_batch(policy, samples, pick_rows(rows, step, settings), settings)
        inputs, target, waypoint, before = (_to(part, device) for part in batch)
        set_learning_rate(optimizer, learning_rate_factor(step, settings))
        with _autocast(device):
            loss, foretold = model(*inputs, target)
        value = loss.item()
        if settings.waypoint_weight > 0 and bool(before.any()):
            loss = loss + settings.waypoint_weight * F.l1_loss(foretold.float()[before], waypoint[before])
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"the loss is {loss.item()} at step {step}: try a smaller lr than {settings.lr}; "
                f"what was saved before can be resumed"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        losses.append(value)
        show("train", step + 1, settings.steps, f"loss {np.mean(losses[-50:]):.4f}")
        if on_step is not None:
            on_step(step, value)
        if (step + 1) % settings.save_every == 0 and step + 1 < settings.steps:
            save_state(state_file, model, optimizer, losses, key)


def _to(part: Any, device: torch.device) -> Any:
    return tuple(t.to(device) for t in part) if isinstance(part, tuple) else part.to(device)


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    """bf16 where the hardware has it; elsewhere it would be emulated and slow."""
    has_it = device.type == "cuda" or (device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device.type, dtype=torch.bfloat16) if has_it else nullcontext()


def _prepare(backbone: VlaAdapterPolicy, samples: Samples, robot: Contract, name: str) -> VlaAdapterPolicy:
    """The policy to train: statistics and contract of the data set, head kept or new."""
    statistics, config = compute_statistics(name, samples, robot), backbone.config
    shape = {"action_dim": len(robot.action_names), "proprio_dim": len(robot.state_names)}
    if backbone.statistics is None or shape != {k: getattr(config, k) for k in shape}:
        return backbone.with_new_head(**shape, chunk=config.chunk, statistics=statistics, contract=robot)
    return VlaAdapterPolicy(backbone.network, config, backbone.tokenizer, statistics, robot)


def _check_output(output: Path, state_file: Path, resume: bool) -> None:
    if output.exists():
        raise TrainingError(f"{output} is there already: choose another output, or remove it")
    if state_file.exists() and not resume:
        raise TrainingError(f"{state_file}: an interrupted training: resume it, or remove the file")
    output.parent.mkdir(parents=True, exist_ok=True)


def _check_backbone(backbone: VlaAdapterPolicy, robot: Contract, init: Path) -> None:
    if backbone.contract is not None:
        require_same(robot, backbone.contract, f"checkpoint {init}")
    if backbone.config.num_images != len(robot.cameras):
        raise TrainingError(
            f"{init} sees {backbone.config.num_images} cameras, the contract has {len(robot.cameras)}"
        )


def _require_same_run(saved: dict[str, Any], key: dict[str, Any]) -> None:
    names = sorted(n for n in {*saved, *key} if n != "save_every" and saved.get(n) != key.get(n))
    if names:
        lines = "\n  ".join(f"{n}: {saved.get(n)!r} then, {key.get(n)!r} now" for n in names)
        raise TrainingError(f"the interrupted training differs from this one:\n  {lines}")


def _write(policy: VlaAdapterPolicy, result: TrainingResult, key: dict[str, Any]) -> None:
    """Write the checkpoint beside, then let it appear at once."""
    temporary = result.output.with_name(result.output.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    largest = max(float(p.detach().abs().max()) for p in policy.network.parameters())
    fits = largest < torch.finfo(torch.float16).max
    policy.save_pretrained(temporary, dtype=torch.float16 if fits else torch.bfloat16)
    facts = {
        "settings": key,
        "losses": [float(f"{loss:.5g}") for loss in result.losses],
        "seconds": result.seconds,
        "report": dataclasses.asdict(result.report),
    }
    (temporary / RESULT).write_text(json.dumps(facts) + "\n", encoding="utf-8")
    temporary.rename(result.output)


def _read_result(output: Path) -> TrainingResult:
    """Result of a run that had finished before."""
    facts = json.loads((output / RESULT).read_text(encoding="utf-8"))
    lists = {k: tuple(v) if isinstance(v, list) else v for k, v in facts["report"].items()}
    return TrainingResult(output, tuple(facts["losses"]), facts["seconds"], Report(**lists))
