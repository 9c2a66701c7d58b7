"""The steps of a training: forward, backward, optimizer, and what is saved and shown in between."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.loss import mean_of_valid
from vla_adapter_ros.training.batches import BatchMaker
from vla_adapter_ros.training.checkpoints import CheckpointManager
from vla_adapter_ros.training.data import Samples
from vla_adapter_ros.training.distributed import Processes
from vla_adapter_ros.training.ema import RunningMean
from vla_adapter_ros.training.interrupt import StopRequest
from vla_adapter_ros.training.loading import Loaded, load_batches, worker_count
from vla_adapter_ros.training.memory import recomputed_activations
from vla_adapter_ros.training.metric_logger import MetricLogger
from vla_adapter_ros.training.optimizer import learning_rate_factor, set_learning_rate
from vla_adapter_ros.training.presets import what_needs_less
from vla_adapter_ros.training.progress import Display
from vla_adapter_ros.training.selection import pick_rows
from vla_adapter_ros.training.settings import FinetuneSettings, Padding, Precision
from vla_adapter_ros.training.state import save_state

_RECENT = 50  # steps over which what is shown is averaged
_VALIDATION_BATCH = 32


class TrainingModule(nn.Module):
    """The network, and the extra output that predicts the state in which the gripper closes."""

    def __init__(self, policy: VlaAdapterPolicy) -> None:
        super().__init__()
        self.network = policy.network
        self.waypoint = nn.Linear(policy.config.llm.hidden, policy.config.proprio_dim)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        pixels: Tensor,
        proprio: Tensor,
        target: Tensor,
        valid: Tensor | None,
        noise: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, predicted waypoint and absolute errors of a part of a batch.

        Args:
            ids, mask, pixels, proprio: As of `VlaAdapter.forward`.
            target: Normalized chunks (B, H, A).
            valid: Chunk rows that count, bool (B, H); None: all.
            noise: Action tokens to start from (H, A * hidden); None: zeros.

        Returns:
            The head's loss, a scalar; the normalized state at the waypoint (B, S); errors (B, H, A) of the
            normalized actions without gradient, empty for a head that does not predict them in training.
        """
        network = self.network
        conditions = network.conditions(ids, mask, pixels)
        predicted = self.waypoint(conditions.action[:, -1, -1])
        if not network.action_head.kind.is_bridge:
            loss = network.head_loss(conditions, proprio, target, valid=valid)
            return loss, predicted, loss.detach().new_zeros(0)
        errors = (network.head_actions(conditions, proprio, noise) - target.float()).abs()
        loss = errors.mean() if valid is None else mean_of_valid(errors, valid)
        return loss, predicted, errors.detach()


class ValidationResult(NamedTuple):
    """Validation loss, and the mean absolute error of each action dimension in its unit (A,), if known."""

    loss: float
    errors: np.ndarray | None


class TrainingLoop:
    """Makes the steps that are missing. Every random draw follows from the seed and the step.

    Args:
        model: The prepared `TrainingModule`.
        optimizer: The prepared optimizer.
        policy: Preprocessing, tokenizer and statistics; its network is the model's.
        samples: The data set.
        rows: Rows to train on.
        validation_rows: Rows of the validation loss; None: there are none.
        settings: How to train.
        processes: Those that train together.
        folder: Where the running training lies.
        key: Settings and facts that are stored with it.
        losses: Of the steps made so far; added to.
        mean: Moving average of the weights.
        fill: Writes a checkpoint of the model as it is now into a folder; every process calls it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        policy: VlaAdapterPolicy,
        samples: Samples,
        rows: np.ndarray,
        validation_rows: np.ndarray | None,
        settings: FinetuneSettings,
        processes: Processes,
        folder: Path,
        key: dict[str, Any],
        losses: list[float],
        mean: RunningMean,
        fill: Callable[[Path], None],
    ) -> None:
        self.model, self.optimizer, self.policy, self.samples = model, optimizer, policy, samples
        self.rows, self.validation_rows, self.settings, self.processes = (
            rows, validation_rows, settings, processes,
        )  # fmt: skip
        self.folder, self.key, self.losses, self.mean, self._fill = folder, key, losses, mean, fill
        self.checkpoints = CheckpointManager(folder / "checkpoints", settings.save_total_limit)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._parts = processes.split_batch(settings.batch_size, settings.gradient_accumulation_steps)
        self._maker = BatchMaker(policy, samples, settings)
        self.last_validation: ValidationResult | None = None  # of the weights after the last step
        one, zero = np.ones(policy.config.action_dim), np.zeros(policy.config.action_dim)
        self._scale = np.abs(policy.unnormalize_actions(one) - policy.unnormalize_actions(zero))
        self._scale *= [dimension.scale for dimension in policy.contract.action.dimensions]
        self._times: deque[float] = deque(maxlen=_RECENT)
        self._errors: deque[np.ndarray] = deque(maxlen=_RECENT)

    def run(self, show: Display, logger: MetricLogger, on_step: Callable[[int, float], None] | None) -> None:
        """Train to the last step.

        Raises:
            TrainingError: a loss or gradient is not finite, or memory ran out.
            KeyboardInterrupt: a stop was asked for; the training is saved, and can be resumed.
        """
        settings = self.settings
        if self.processes.is_first:
            self.checkpoints.remove_after(len(self.losses))
        self.model.train()
        recompute = recomputed_activations(self.model, settings.gradient_checkpointing)
        with StopRequest() as stop, recompute, _memory_advice(self):
            try:
                batches, within = self.batches(), False
                for step in range(len(self.losses), settings.steps):
                    start = time.perf_counter()
                    within = True
                    value, norm, stopped = self.step(step, bool(stop.wanted), batches)
                    self.losses.append(value)
                    within = False
                    self._times.append(time.perf_counter() - start)
                    self._show(step, norm, show, logger)
                    if on_step is not None:
                        on_step(step, value)
                    self._validate_and_save(step, show, logger)
                    stopped = stopped or (self.processes.count == 1 and bool(stop.wanted))
                    if stopped and step + 1 < settings.steps:
                        raise KeyboardInterrupt(stop.wanted)
            except KeyboardInterrupt as reason:
                if within:  # asked twice: half a step is not worth saving
                    show.print_line(
                        f"stopped within a step: --resume goes on from what was saved in {self.folder}"
                    )
                    raise
                self.save()
                done = f"{len(self.losses)} of {settings.steps} steps"
                why = str(reason) or "interrupted"
                show.print_line(f"stopped ({why}) after {done}, saved in {self.folder}: --resume goes on")
                raise

    def save(self) -> None:
        """Write the running training; all processes together."""
        model = self.processes.inner(self.model)
        path, first = self.folder / STATE, self.processes.is_first
        save_state(path, model, self.optimizer, self.losses, self.key, self.mean, write=first)
        self.processes.wait()

    def batches(self) -> Iterator[Loaded]:
        """This process's parts of the batches of the steps that are missing."""
        settings, weight = self.settings, self.samples.weight[self.rows]
        return load_batches(
            self._maker, partial(pick_rows, self.rows, settings=settings, weight=weight), self._parts,
            range(len(self.losses), settings.steps), settings, device=self.processes.device,
            workers=worker_count(settings, in_memory=self.samples.images.in_memory),
        )  # fmt: skip

    def step(self, step: int, stop: bool, batches: Iterator[Loaded]) -> tuple[float, float, bool]:
        """One step: loss, norm of the gradient, and whether any process wants to stop."""
        settings, processes, device = self.settings, self.processes, self.processes.device
        set_learning_rate(self.optimizer, learning_rate_factor(step, settings))
        self.optimizer.zero_grad(set_to_none=True)
        sums = torch.zeros(3 + self.policy.config.action_dim, dtype=torch.float64)
        self._seed(step, 0)
        noise = self._noise()
        for number, part in enumerate(self._parts):
            rows, batch = next(batches)
            valid = batch.valid if settings.padding == Padding.MASK else None
            last = number + 1 == len(self._parts)
            fraction = batch.fraction
            self._seed(step, 1 + part.start)  # for dropout, which must differ from part to part
            with nullcontext() if last else processes.without_sync(self.model):
                with autocast(settings, device):
                    loss, predicted, errors = self.model(*batch[:5], valid, noise)
                total = loss * fraction
                if settings.waypoint_weight > 0 and batch.waypoints:
                    distance = ((predicted.float() - batch.waypoint).abs() * batch.before[:, None]).sum()
                    count = batch.waypoints * batch.waypoint.shape[1]
                    total = total + settings.waypoint_weight * distance / count
                value = total.item()
                if not math.isfinite(value):
                    self._raise_not_finite(value, step, rows[part], errors)
                (total * processes.count).backward()  # gradients are averaged over processes
            sums[0] += loss.item() * fraction
            if errors.numel():
                counted = batch.valid.sum().clamp(min=1)
                by_dimension = (errors * batch.valid[..., None]).sum(dim=(0, 1)) / counted
                sums[3:] += by_dimension.double().cpu() * fraction
        norm = processes.clip_gradients(self._parameters, settings.grad_clip_norm)
        if not math.isfinite(norm):
            self._raise_not_finite(norm, step, rows, None)
        self.optimizer.step()
        self.mean.update(step + 1)
        sums[1] = float(stop)
        sums = processes.sum(sums.float().to(device)).cpu().double() if processes.count > 1 else sums
        self._errors.append(sums[3:].numpy() * self._scale)
        return float(sums[0]), norm, bool(sums[1] > 0)

    def _noise(self) -> Tensor | None:
        """The head's training noise, the same for all parts of a step (H, A * hidden)."""
        head = self.policy.network.action_head
        if not head.kind.is_bridge or head.noise_std <= 0:
            return None
        shape = (head.model.chunk, head.model.fc1.in_features)
        return (torch.randn(shape) * head.noise_std).to(self.processes.device)

    def _seed(self, step: int, what: int) -> None:
        torch.manual_seed((self.settings.seed * 1_000_003 + step) * 65_537 + what)

    def _raise_not_finite(self, value: float, step: int, rows: np.ndarray, errors: Tensor | None) -> None:
        """Name the rows of the step: only those with errors that are not finite, if there are any."""
        if errors is not None and errors.numel():
            bad = ~errors.isfinite().flatten(1).all(dim=1).cpu().numpy()
            rows = rows[bad] if bad.any() else rows
        episodes = sorted({int(number) for number in self.samples.episode[rows]})
        what = "loss" if errors is not None else "gradient's norm"
        raise TrainingError(
            f"the {what} is {value} at step {step}, rows {sorted(int(r) for r in rows)} of episodes "
            f"{episodes}: look at them, or try a smaller lr than {self.settings.lr}; what was saved before "
            f"can be resumed"
        )

    def validate(self) -> ValidationResult | None:
        """The validation loss, with the moving average of the weights if there is one; None: no rows."""
        if self.validation_rows is None:
            return None
        count = self.processes.count
        order = np.arange(-(-len(self.validation_rows) // count) * count)
        own, real = (
            order[self.processes.rank :: count] % len(self.validation_rows),
            order < len(self.validation_rows),
        )
        real = real[self.processes.rank :: count]
        sums = torch.zeros(2 + self.policy.config.action_dim, dtype=torch.float64)
        self.model.eval()
        self._seed(0, 0)
        with self.mean.in_place(), torch.no_grad(), autocast(self.settings, self.processes.device):
            for start in range(0, len(own), _VALIDATION_BATCH):
                rows = self.validation_rows[own[start : start + _VALIDATION_BATCH]]
                weight = torch.from_numpy(real[start : start + _VALIDATION_BATCH]).double()
                batch = self._maker.make_tensors(self._maker.prepare_arrays(rows), self.processes.device)
                loss, _, errors = self.model(*batch[:5], None, None)
                if errors.numel():
                    by_row = errors.mean(dim=1).double().cpu()
                    sums[0] += (by_row.mean(dim=1) * weight).sum()
                    sums[2:] += (by_row * weight[:, None]).sum(dim=0)
                else:
                    sums[0] += loss.item() * weight.sum()
                sums[1] += weight.sum()
        self.model.train()
        if count > 1:
            sums = self.processes.sum(sums.float().to(self.processes.device)).cpu().double()
        known = self.policy.network.action_head.kind.is_bridge
        errors = (sums[2:] / sums[1]).numpy() * self._scale if known else None
        return ValidationResult(float(sums[0] / sums[1]), errors)

    def _validate_and_save(self, step: int, show: Display, logger: MetricLogger) -> None:
        settings, result = self.settings, None
        if settings.evaluates_after(step) and (result := self.validate()) is not None:
            names = self._units()
            text = f"step {step + 1}: validation loss {result.loss:.4f}"
            figures = {"validation/loss": result.loss}
            if result.errors is not None:
                pairs = [(n, u, float(e)) for (n, u), e in zip(names, result.errors, strict=True)]
                text += ": " + ", ".join(f"{name} {error:.4g} {unit}" for name, unit, error in pairs)
                figures |= {f"validation/{name} [{unit}]": error for name, unit, error in pairs}
            show.print_line(text)
            logger.log(step + 1, figures)
        if step + 1 == settings.steps:  # these weights become the output
            self.last_validation = result
            return
        best = self.checkpoints.best
        better = result is not None and (best is None or result.loss < best[1])
        if settings.save_total_limit and (better or settings.saves_after(step)):
            loss = result.loss if result else None
            if self.processes.is_first:
                self.checkpoints.save(step + 1, loss, self.write_checkpoint)
            elif self.processes.sharded:
                self.write_checkpoint(self.checkpoints.path(step + 1))
            self.checkpoints.register(step + 1, loss)
            self.processes.wait()
        if settings.saves_after(step):
            self.save()

    def write_checkpoint(self, folder: Path) -> None:
        """Write a checkpoint of the weights as they are validated: their moving average, if there is one."""
        if self.processes.is_first or self.processes.sharded:
            with self.mean.in_place():
                self._fill(folder)

    def _units(self) -> list[tuple[str, str]]:
        return [(dimension.name, dimension.unit) for dimension in self.policy.contract.action.dimensions]

    def _show(self, step: int, norm: float, show: Display, logger: MetricLogger) -> None:
        rate = self.settings.batch_size / float(np.median(self._times))
        errors = np.mean(self._errors, axis=0)
        memory = 0.0
        if self.processes.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(self.processes.device) / 1e9
        by_unit: dict[str, list[float]] = {}
        for (_, unit), error in zip(self._units(), errors, strict=True):
            by_unit.setdefault(unit, []).append(float(error))
        parts = [f"loss {np.mean(self.losses[-_RECENT:]):.4f}"]
        parts += [f"{np.mean(values):.3g} {unit}" for unit, values in by_unit.items() if any(values)]
        parts += [f"{rate:.3g} samples/s"] + ([f"{memory:.1f} GB"] if memory else [])
        show("train", step + 1, self.settings.steps, "  ".join(parts))
        figures = {
            "train/loss": self.losses[-1],
            "train/gradient_norm": norm,
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "speed/samples_per_s": rate,
        }
        if memory:
            figures["speed/gpu_memory_gb"] = memory
        for (name, unit), error in zip(self._units(), self._errors[-1], strict=True):
            figures[f"error/{name} [{unit}]"] = float(error)
        logger.log(step + 1, figures)


STATE = "state.safetensors"


class _memory_advice:
    """A context that turns running out of memory into an error that says what to try."""

    def __init__(self, loop: TrainingLoop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if error is not None and ran_out_of_memory(error):
            settings, processes = self._loop.settings, self._loop.processes
            part = settings.batch_size // (settings.gradient_accumulation_steps * processes.count)
            raise TrainingError(
                f"out of memory at step {len(self._loop.losses)} with {part} samples at once: try "
                f"{what_needs_less(settings, processes.count)}; what was saved before can be resumed"
            ) from error


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether this is a lack of memory, of the GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def autocast(settings: FinetuneSettings, device: torch.device) -> AbstractContextManager[Any]:
    """A context with products in bf16: if the settings ask for it or, with `auto`, where bf16 is fast."""
    wanted = settings.precision == Precision.BF16 or (
        settings.precision == Precision.AUTO and has_bf16(device)
    )
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bf16."""
    return device.type == "cuda" or (
        device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )
