"""The steps of a training: forward, backward, optimizer, and what is saved and shown in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model.head import BridgePolicy
from vla_adapter_ros.training.checkpoints import CheckpointManager
from vla_adapter_ros.training.data.batches import Batch, BatchMaker, Loaded, load_batches, worker_count
from vla_adapter_ros.training.data.selection import pick_rows
from vla_adapter_ros.training.finetune_plan import TrainingBundle
from vla_adapter_ros.training.interrupt import StopRequest
from vla_adapter_ros.training.learner import Learner
from vla_adapter_ros.training.metric_logger import MetricLogger
from vla_adapter_ros.training.module import autocast
from vla_adapter_ros.training.optimizations import recomputed_activations
from vla_adapter_ros.training.optimizer import learning_rate_factor, set_learning_rate
from vla_adapter_ros.training.out_of_memory import advise_on_memory
from vla_adapter_ros.training.progress import Display
from vla_adapter_ros.training.setting_words import Padding
from vla_adapter_ros.training.state import STATE_FILE
from vla_adapter_ros.training.step_figures import StepFigures
from vla_adapter_ros.training.validation import ValidationResult, validate

OnStep = Callable[[int, float], None]
"""Called with (step, loss) after each step."""


class StepResult(NamedTuple):
    """A step over all processes: loss, norm of the gradient, errors (A,), whether one wants to stop."""

    loss: float
    norm: float
    errors: np.ndarray
    stopped: bool


class TrainingLoop:
    """Makes the steps that are missing. Every random draw follows from the seed and the step.

    Args:
        bundle: Data, policy and settings.
        learner: What learns; its losses say how many steps were made.
        folder: Where the running training lies.
    """

    def __init__(self, bundle: TrainingBundle, learner: Learner, folder: Path) -> None:
        self.bundle, self.learner, self.folder = bundle, learner, folder
        self.settings, self.processes = bundle.settings, learner.processes
        self.checkpoints = CheckpointManager(folder / "checkpoints", self.settings.save_total_limit)
        self.last_validation: ValidationResult | None = None  # of the weights after the last step
        settings, policy = self.settings, bundle.policy
        self._parts = self.processes.split_batch(settings.batch_size, settings.gradient_accumulation_steps)
        self._maker = BatchMaker(policy, bundle.samples, settings)
        dimensions = bundle.samples.contract.action.dimensions
        self._figures = StepFigures(dimensions, settings.batch_size, self.processes.device, learner.losses)
        one, zero = np.ones(policy.config.action_dim), np.zeros(policy.config.action_dim)
        self._scale = np.abs(policy.unnormalize_actions(one) - policy.unnormalize_actions(zero))
        self._scale *= [dimension.scale for dimension in dimensions]

    def run(self, show: Display, logger: MetricLogger, on_step: OnStep | None) -> None:
        """Train to the last step.

        Raises:
            TrainingError: a loss or gradient is not finite, or memory ran out.
            KeyboardInterrupt: a stop was asked for; the training is saved, and can be resumed.
        """
        settings, losses, model = self.settings, self.learner.losses, self.learner.model
        if self.processes.is_first:
            self.checkpoints.remove_after(len(losses))
        model.train()
        recompute = recomputed_activations(model, settings.gradient_checkpointing)
        memory = advise_on_memory(settings, self.processes.count, lambda: len(losses))
        with StopRequest() as stop, recompute, memory:
            try:
                batches, within = self.batches(), False
                for step in range(len(losses), settings.steps):
                    start = time.perf_counter()
                    within = True
                    result = self.step(step, bool(stop.wanted), batches)
                    losses.append(result.loss)
                    within = False
                    self._figures.add_step(result.loss, result.errors, time.perf_counter() - start)
                    show("train", step + 1, settings.steps, self._figures.line())
                    rate = self.learner.optimizer.param_groups[0]["lr"]
                    logger.log(step + 1, self._figures.metrics(result.norm, rate))
                    if on_step is not None:
                        on_step(step, result.loss)
                    self._validate_and_save(step, show, logger)
                    stopped = result.stopped or (self.processes.count == 1 and bool(stop.wanted))
                    if stopped and step + 1 < settings.steps:
                        raise KeyboardInterrupt(stop.wanted)
            except KeyboardInterrupt as reason:
                if within:  # asked twice: half a step is not worth saving
                    show.print_line(
                        f"stopped within a step: --resume goes on from what was saved in {self.folder}"
                    )
                    raise
                self.save()
                done = f"{len(losses)} of {settings.steps} steps"
                why = str(reason) or "interrupted"
                show.print_line(f"stopped ({why}) after {done}, saved in {self.folder}: --resume goes on")
                raise

    def save(self) -> None:
        """Write the running training; all processes together."""
        self.learner.save(self.folder / STATE_FILE, self.bundle.record)

    def batches(self) -> Iterator[Loaded]:
        """This process's parts of the batches of the steps that are missing."""
        settings, samples, rows = self.settings, self.bundle.samples, self.bundle.rows.train
        return load_batches(
            self._maker, partial(pick_rows, rows, settings=settings, weight=samples.weight[rows]),
            self._parts, range(len(self.learner.losses), settings.steps), settings,
            device=self.processes.device, workers=worker_count(settings, in_memory=samples.images.in_memory),
        )  # fmt: skip

    def step(self, step: int, stop: bool, batches: Iterator[Loaded]) -> StepResult:
        """One step.

        Args:
            step: Its number, from 0.
            stop: Whether this process wants to stop.
            batches: From `batches`; its next parts are of this step.

        Raises:
            TrainingError: a loss or gradient is not finite.
        """
        learner, processes, device = self.learner, self.processes, self.processes.device
        set_learning_rate(learner.optimizer, learning_rate_factor(step, self.settings))
        learner.optimizer.zero_grad(set_to_none=True)
        sums = torch.zeros(3 + len(self._scale), dtype=torch.float64)
        self._seed(step, 0)
        noise = self._noise()
        for number, part in enumerate(self._parts):
            rows, batch = next(batches)
            self._seed(step, 1 + part.start)  # for dropout, which must differ from part to part
            last = number + 1 == len(self._parts)
            with nullcontext() if last else processes.without_sync(learner.model):
                total, loss, errors = self._loss(batch, noise)
                if not math.isfinite(value := total.item()):
                    self._raise_not_finite(value, step, rows[part], errors)
                scaled = total * processes.count  # gradients are averaged over processes
                scaled.backward()
            sums[0] += loss.item() * batch.fraction
            if errors.numel():
                counted = batch.valid.sum().clamp(min=1)
                by_dimension = (errors * batch.valid[..., None]).sum(dim=(0, 1)) / counted
                sums[3:] += by_dimension.double().cpu() * batch.fraction
        norm = processes.clip_gradients(learner.parameters, self.settings.grad_clip_norm)
        if not math.isfinite(norm):
            self._raise_not_finite(norm, step, rows, None)
        learner.optimizer.step()
        learner.mean.update(step + 1)
        sums[1] = float(stop)
        sums = processes.sum(sums.float().to(device)).cpu().double() if processes.count > 1 else sums
        return StepResult(float(sums[0]), norm, sums[3:].numpy() * self._scale, bool(sums[1] > 0))

    def _loss(self, batch: Batch, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What a part of a batch adds to the step's loss, the head's own loss on it, and errors (B, H, A)."""
        settings = self.settings
        valid = batch.valid if settings.padding == Padding.MASK else None
        with autocast(settings, self.processes.device):
            loss, predicted, errors = self.learner.model(*batch.inputs, valid, noise)
        total = loss * batch.fraction
        if settings.waypoint_weight > 0 and batch.waypoints:
            distance = ((predicted.float() - batch.waypoint).abs() * batch.before[:, None]).sum()
            count = batch.waypoints * batch.waypoint.shape[1]
            total = total + settings.waypoint_weight * distance / count
        return total, loss, errors

    def _noise(self) -> Tensor | None:
        """The head's training noise, the same for all parts of a step (H, A * hidden)."""
        head = self.bundle.policy.network.action_head
        if not head.kind.is_bridge or head.noise_std <= 0:
            return None
        assert isinstance(head.model, BridgePolicy)
        shape = (head.model.chunk, head.model.fc1.in_features)
        return (torch.randn(shape) * head.noise_std).to(self.processes.device)

    def _seed(self, step: int, what: int) -> None:
        torch.manual_seed((self.settings.seed * 1_000_003 + step) * 65_537 + what)

    def _raise_not_finite(self, value: float, step: int, rows: np.ndarray, errors: Tensor | None) -> None:
        """Name the rows of the step: only those with errors that are not finite, if there are any."""
        if errors is not None and errors.numel():
            bad = ~errors.isfinite().flatten(1).all(dim=1).cpu().numpy()
            rows = rows[bad] if bad.any() else rows
        episodes = sorted({int(number) for number in self.bundle.samples.episode[rows]})
        what = "loss" if errors is not None else "gradient's norm"
        raise TrainingError(
            f"the {what} is {value} at step {step}, rows {sorted(int(r) for r in rows)} of episodes "
            f"{episodes}: look at them, or try a smaller lr than {self.settings.lr}; what was saved before "
            f"can be resumed"
        )

    def validate(self) -> ValidationResult | None:
        """The validation loss as of now; None if no rows are kept for it."""
        rows = self.bundle.rows.validation
        if rows is None:
            return None
        self._seed(0, 0)
        return validate(self.learner, self._maker, rows, self.settings, self._scale)

    def _validate_and_save(self, step: int, show: Display, logger: MetricLogger) -> None:
        settings, result = self.settings, None
        if settings.evaluates_after(step) and (result := self.validate()) is not None:
            line, metrics = self._figures.describe_validation(step + 1, result)
            show.print_line(line)
            logger.log(step + 1, metrics)
        if step + 1 == settings.steps:  # these weights become the output
            self.last_validation = result
            return
        best = self.checkpoints.best
        better = result is not None and (best is None or result.loss < best[1])
        if settings.save_total_limit and (better or settings.saves_after(step)):
            loss = result.loss if result else None
            if self.processes.is_first:
                self.checkpoints.save(step + 1, loss, self.learner.write_checkpoint)
            elif self.processes.sharded:
                self.learner.write_checkpoint(self.checkpoints.path(step + 1))
            self.checkpoints.register(step + 1, loss)
            self.processes.wait()
        if settings.saves_after(step):
            self.save()
