"""Training steps: the published recipe against the training loop, on the same model, data and machine."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, pre_tokenizers

from vla_adapter_ros.benchmarks.device_meter import (
    peak_memory_bytes,
    reset_peak_memory,
    synchronize,
)
from vla_adapter_ros.benchmarks.inference import random_network
from vla_adapter_ros.benchmarks.training_reference import ReferenceTraining, decode
from vla_adapter_ros.choices import Preset
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model import Tokenizer, VlaAdapterPolicy, preset
from vla_adapter_ros.model.device import resolve_device
from vla_adapter_ros.model.preprocessing import Preprocessor
from vla_adapter_ros.system_info import describe_torch_system
from vla_adapter_ros.training.adapters import add_lora, frozen_to_bf16
from vla_adapter_ros.training.data.augmentation import prepare_preprocessing, resolve_augmentation
from vla_adapter_ros.training.data.samples import Rows, Samples, compute_statistics
from vla_adapter_ros.training.data.selection import RowSplit
from vla_adapter_ros.training.distributed import Processes
from vla_adapter_ros.training.ema import RunningMean
from vla_adapter_ros.training.finetune_plan import TrainingBundle
from vla_adapter_ros.training.learner import Learner
from vla_adapter_ros.training.loop import TrainingLoop
from vla_adapter_ros.training.module import TrainingModule, has_bf16
from vla_adapter_ros.training.optimizations import (
    apply_training_optimizations,
    compile_layers,
    recomputed_activations,
)
from vla_adapter_ros.training.optimizer import build_optimizer, freeze_parts
from vla_adapter_ros.training.setting_words import Precision
from vla_adapter_ros.training.settings import FinetuneSettings

CAMERA = 256  # side of the stored images, as in the published data sets [px]
ROWS, EPISODE = 256, 64
SAMPLES_OF_A_TRAINING = 100_000
INSTRUCTIONS = {  # the tiny model's demo has five words; the published prompts have about 56 tokens
    "tiny": "pick up the red cube",
    "small": "pick up the red cube",
    "0.5b": " ".join(["pick up the red cube and put it on the plate"] * 3),
}
_QUALITY = 95


class _Frames:
    """Decoded images by row, as the loop's image store has them when they fit memory."""

    in_memory = True

    def __init__(self, images: np.ndarray) -> None:
        self._images = images

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self._images[rows]

    uncropped = __getitem__


def made_data(contract: Contract, instruction: str, seed: int = 0) -> tuple[list[list[bytes]], Rows]:
    """Rows with smooth pictures, as JPEG by row and camera, and random motion."""
    rng = np.random.default_rng(seed)
    cameras, states, actions = len(contract.cameras), len(contract.state_names), len(contract.action_names)
    frames = []
    for _ in range(ROWS):
        small = rng.integers(0, 256, (cameras, 16, 16, 3), dtype=np.uint8)
        images = [cv2.resize(image, (CAMERA, CAMERA), interpolation=cv2.INTER_CUBIC) for image in small]
        options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        frames.append([cv2.imencode(".jpg", image, options)[1].tobytes() for image in images])
    number = np.arange(ROWS)
    last = number // EPISODE * EPISODE + EPISODE - 1
    rows = Rows(
        state=rng.normal(size=(ROWS, states)), action=rng.normal(size=(ROWS, actions)),
        episode=number // EPISODE, dataset=np.zeros(ROWS, np.int64), task=np.zeros(ROWS, np.int64),
        first=last - EPISODE + 1, last=last, until=last, waypoint=np.minimum(number + 10, last),
        weight=np.ones(ROWS), tasks=(instruction,), names=("made",), contract=contract,
    )  # fmt: skip
    return frames, rows


def run_training_benchmark(
    name: str = "tiny",
    *,
    device: str = "auto",
    batches: tuple[int, ...] = (32,),
    lora_rank: int = 0,
    gradient_checkpointing: bool = False,
    compile_layers_too: bool = False,
    steps: int = 10,
    threads: int = 1,
) -> dict[str, Any]:
    """Time both, one after the other.

    Args:
        name: Preset of the sizes; the weights are random, which does not change the work.
        device: See `resolve_device`.
        batches: Samples per step; each is measured.
        lora_rank: Of the adapters in every linear layer; 0: all weights train.
        gradient_checkpointing: Let our loop compute activations again.
        compile_layers_too: Let our loop compile its layers.
        steps: Timed steps of each.
        threads: CPU threads.

    Returns:
        Per batch `reference` and `loop` with samples/s, CPU seconds per sample, peak memory, the fraction of
        the time that waits for data, and hours per 100,000 samples; `speedup`; `machine`.

    Raises:
        ParameterError: there is no such device.
        ModelConfigError: unknown preset.
    """
    if name not in Preset.light():
        raise ModelConfigError(f"preset = {name!r}: allowed is one of {Preset.light()}")
    place = resolve_device(device)
    torch.set_num_threads(threads)
    half = has_bf16(place)
    result: dict[str, Any] = {
        "preset": name, "device": str(place), "lora_rank": lora_rank, "steps": steps, "rows": ROWS,
        "camera_images": f"{CAMERA}x{CAMERA}", "gradient_checkpointing": gradient_checkpointing,
        "compile": compile_layers_too, "products": "bf16" if half else "fp32", "batches": {},
    }  # fmt: skip
    for batch in batches:
        settings = FinetuneSettings(
            steps=2 * steps + 4, batch_size=batch, lr=2e-4, lora_rank=lora_rank, save_total_limit=0,
            holdout=0.0,
            precision=Precision.BF16 if half else Precision.FP32, frozen_bf16=half and lora_rank > 0,
            gradient_checkpointing=gradient_checkpointing, compile=compile_layers_too, save_every=10**9,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            result["batches"][str(batch)] = _measure(name, settings, place, steps, Path(folder))
    result["machine"] = describe_torch_system(place)
    return result


def _measure(
    name: str, settings: FinetuneSettings, device: torch.device, steps: int, folder: Path
) -> dict[str, Any]:
    contract = read_contract("franka_sim")
    frames, rows = made_data(contract, INSTRUCTIONS[name])
    config = preset(
        name,
        num_images=len(contract.cameras),
        action_dim=len(contract.action_names),
        proprio_dim=len(contract.state_names),
    )
    network = random_network(config, device, torch.float32).train().requires_grad_(True)
    statistics = compute_statistics("made", rows, contract)
    policy = VlaAdapterPolicy(network, config, _tokenizer(name), statistics, contract)
    if settings.lora_rank:
        add_lora(network, settings.lora_rank)
    policy = prepare_preprocessing(policy, settings)
    start = time.perf_counter()
    # Random crops come later, and a decoded JPEG needs no second one.
    preprocessing = dataclasses.replace(
        policy.config.preprocessing, center_crop=1.0, jpeg_round_trip=False
    )  # fmt: skip
    resize = Preprocessor(preprocessing).resize
    kept = np.stack([[resize(decode(data)) for data in row] for row in frames])
    filling_s = time.perf_counter() - start
    module = TrainingModule(policy)
    freeze_parts(module, settings)
    if settings.frozen_bf16:
        frozen_to_bf16(network)
    module = module.to(device).train()
    augmentation = resolve_augmentation(settings.augmentation, config)
    tasks = [rows.tasks[task] for task in rows.task]
    chunks = rows.chunks(np.arange(ROWS), config.chunk)
    reference = ReferenceTraining(
        module, policy, resize, frames, tasks, rows.state, chunks, augmentation, settings
    )
    found = {"reference": _Meter(device), "loop": _Meter(device)}
    images: Any = _Frames(kept)  # has what the loop asks of an `ImageStore`
    rng = np.random.default_rng(1)
    # One after the other: both optimizers together would count in each one's memory.
    for number in range(-2, steps):
        found["reference"].time(partial(reference.step, rng.integers(0, ROWS, settings.batch_size)), number)
    reference.optimizer.state.clear()
    apply_training_optimizations(module, device)
    if settings.compile:
        compile_layers(module)
    split = RowSplit(np.arange(ROWS), np.arange(ROWS), False, np.arange(ROWS))
    bundle = TrainingBundle(settings, {}, policy, Samples.join(rows, images), split)
    learner = Learner(
        policy, module, build_optimizer(module, settings), RunningMean(module, 0.0), Processes(str(device))
    )
    loop = TrainingLoop(bundle, learner, folder)
    waiting = _Waiting(loop.batches())
    with recomputed_activations(module, settings.gradient_checkpointing):
        for number in range(-2, steps):
            before = waiting.seconds
            found["loop"].time(partial(loop.step, number + 2, False, waiting), number)
            if number >= 0:
                found["loop"].waited += waiting.seconds - before
    figures = {key: meter.figures(settings.batch_size) for key, meter in found.items()}
    measured, baseline = figures["loop"], figures["reference"]
    measured["reading_ms_per_row_once"] = round(1e3 * filling_s / ROWS, 2)
    return {
        **figures,
        "speedup": round(measured["samples_per_s"] / baseline["samples_per_s"], 3),
        "speedup_cpu_time": round(baseline["cpu_s_per_sample"] / measured["cpu_s_per_sample"], 3),
        "trained_parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
    }


class _Meter:
    """Times of the steps of the reference or of the loop."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.memory, self.waited = device, 0, 0.0
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def time(self, work: Any, number: int) -> None:
        """Do it; steps with a negative number are a warm-up."""
        reset_peak_memory(self.device)
        synchronize(self.device)
        start, busy = time.perf_counter(), time.process_time()
        work()
        synchronize(self.device)
        if number >= 0:
            self.wall.append(time.perf_counter() - start)
            self.cpu.append(time.process_time() - busy)
            self.memory = max(self.memory, peak_memory_bytes(self.device))

    def figures(self, batch: int) -> dict[str, float]:
        step = float(np.median(self.wall))
        return {
            "step_p50_ms": round(1e3 * step, 2),
            "samples_per_s": round(batch / step, 3),
            "cpu_s_per_sample": round(float(np.median(self.cpu)) / batch, 5),
            "peak_memory_gb": round(self.memory / 1e9, 3),
            "waiting_for_data": round(self.waited / sum(self.wall), 4),
            "hours_per_100k_samples": round(SAMPLES_OF_A_TRAINING * step / batch / 3600, 3),
        }


class _Waiting:
    """An iterator that adds up how long it took to give the next item."""

    def __init__(self, items: Any) -> None:
        self._items, self.seconds = items, 0.0

    def __iter__(self) -> _Waiting:
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        item = next(self._items)
        self.seconds += time.perf_counter() - start
        return item


def _tokenizer(name: str) -> Tokenizer:
    """Words as tokens; of the published model's prompt all are unknown ones, but as many."""
    if Preset(name).has_word_list:
        return Tokenizer.from_words()
    raw = RawTokenizer(models.WordLevel({"<|endoftext|>": 0, "<unk>": 1}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Tokenizer(raw, "qwen_chat")


def format_result(result: dict[str, Any]) -> str:
    """A table for people."""
    what = f"LoRA rank {result['lora_rank']}" if result["lora_rank"] else "all weights"
    lines = [
        f"{result['preset']}, {what}, {result['products']} products on {result['device']}, "
        f"{result['steps']} steps of each, images of {result['camera_images']}",
        f"{'batch':>5} {'path':<10}{'samples/s':>11}{'CPU-s/sample':>14}{'peak memory':>13}{'for data':>10}"
        f"{'h/100k':>9}{'speed-up':>10}{'by CPU time':>13}",
    ]
    for batch, part in result["batches"].items():
        for path in ("reference", "loop"):
            f = part[path]
            ratio = f"{part['speedup']:>10}{part['speedup_cpu_time']:>13}" if path == "loop" else ""
            wait = f"{f['waiting_for_data']:.1%}" if path == "loop" else "-"
            lines.append(
                f"{batch:>5} {path:<10}{f['samples_per_s']:>11}{f['cpu_s_per_sample']:>14}"
                f"{f['peak_memory_gb']:>10} GB{wait:>10}{f['hours_per_100k_samples']:>9}{ratio}"
            )
    lines.append(", ".join(f"{key} {value}" for key, value in result["machine"].items()))
    return "\n".join(lines)
