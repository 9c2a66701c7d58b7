"""One chunk: the published code's path against the inference engine, on the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import nn

from vla_adapter_ros.benchmarks.device_meter import (
    measure_peaks,
    peak_memory_bytes,
    reset_peak_memory,
    synchronize,
)
from vla_adapter_ros.benchmarks.flops import count_flops
from vla_adapter_ros.benchmarks.reference import ReferencePath
from vla_adapter_ros.choices import LinearKind, WeightType
from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model import InferenceEngine, VlaAdapter, VlaAdapterConfig, preset
from vla_adapter_ros.model.device import resolve_device, torch_type
from vla_adapter_ros.model.preprocessing import Preprocessor
from vla_adapter_ros.system_info import describe_torch_system

STAGES = ("preprocess", "vision", "llm", "head", "total")
PROMPT_TOKENS = {"0.5b": 56, "tiny": 5, "small": 5}
CAMERA = (480, 640)
_SIZES = {"action_dim": 7, "proprio_dim": 8}


class Mark(NamedTuple):
    """When a stage was done: by the wall clock, and by the processor time of all threads [s]."""

    stage: str
    wall: float
    cpu: float


Marks = list[Mark]


def random_network(config: VlaAdapterConfig, device: torch.device, dtype: torch.dtype) -> VlaAdapter:
    """A network with repeatable random weights in which every part shows in the actions."""
    with torch.device("meta"):
        network = VlaAdapter(config)
    network = network.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            norm = "norm" in type(module).__name__.lower()
            for name, parameter in module.named_parameters(recurse=False):
                if norm and name == "weight":
                    parameter.fill_(1.0)
                elif name in ("scale_factor", "gating_factor"):
                    parameter.fill_(0.3)
                else:
                    std = 0.02 if parameter.ndim < 2 or isinstance(module, nn.Embedding) else None
                    parameter.normal_(std=std or parameter[0].numel() ** -0.5, generator=generator)
            for name, buffer in module.named_buffers(recurse=False):
                if "freq" not in name:
                    buffer.normal_(generator=generator)
    network.language_model.restore_frequencies()
    return network.eval().requires_grad_(False)


def run_inference_benchmark(
    name: str = "0.5b",
    *,
    device: str = "auto",
    dtype: str = "bf16",
    variant: str = "pro",
    repeats: int = 10,
    threads: int = 2,
    compile_stages: bool = False,
    linear: str = LinearKind.PACKED,
) -> dict[str, Any]:
    """Time both paths in turns.

    Args:
        name: Preset of the sizes; the weights are random, which does not change the work.
        device: See `resolve_device`.
        dtype: A word of `WeightType.fixed`.
        variant: Head, `base` or `pro`.
        repeats: Timed predictions of each path.
        threads: CPU threads.
        compile_stages: Give the engine torch.compile.
        linear: A word of `LinearKind` for the engine on a CPU; small networks in fp32 stay `plain`, as in the
            policy node, unless it is `int8`.

    Returns:
        `reference` and `engine` with the median and 99th percentile of every stage [ms], the median of its
        processor time [ms], CPU seconds, peak memory, work and its fraction of the measured peak; `speedup`;
        `max_action_difference`; `machine`. Memory is that without the other path's weights, where the engine
        has its own.

    Raises:
        ParameterError: there is no such device.
        ModelConfigError: unknown preset or type.
    """
    weight_type = torch_type(WeightType.check("dtype", dtype, ModelConfigError))
    if weight_type is None:
        raise ModelConfigError(f"dtype = {dtype!r}: allowed is one of {WeightType.fixed()}")
    place = resolve_device(device)
    torch.set_num_threads(threads)
    config = preset(name, head=variant, **_SIZES)
    kind = LinearKind.check("linear", linear, ModelConfigError)
    if place.type != "cpu" or compile_stages or (kind == LinearKind.PACKED and weight_type == torch.float32):
        kind = LinearKind.PLAIN
    network = random_network(config, place, weight_type)
    weight_bytes = sum(parameter.nbytes for parameter in network.parameters())
    # An engine with weights of its own leaves none to the other path.
    before = psutil.Process().memory_info().rss
    own = network if kind == LinearKind.PLAIN else random_network(config, place, weight_type)
    engine = InferenceEngine(own, compile_stages=compile_stages, linear=kind)
    engine_bytes = psutil.Process().memory_info().rss - before
    rng = np.random.default_rng(0)
    cameras = [rng.integers(0, 256, (*CAMERA, 3), dtype=np.uint8) for _ in range(config.num_images)]
    ids = torch.from_numpy(rng.integers(2, min(1000, config.llm.vocab_size), PROMPT_TOKENS.get(name, 56)))
    proprio = torch.from_numpy(rng.uniform(-1, 1, config.proprio_dim)).float()
    prepare = Preprocessor(config.preprocessing)
    reference = ReferencePath(network)
    steps: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]] = {
        "reference": (reference.prepare, reference.predict),
        "engine": (lambda images: torch.from_numpy(prepare.resize_all(images)), engine.predict),
    }
    runs: dict[str, list[Marks]] = {key: [] for key in steps}
    memory: dict[str, int] = {}
    actions: dict[str, torch.Tensor] = {}
    for number in range(-1, repeats):  # the first of each is a warm-up
        for key, (resize, predict) in steps.items():
            reset_peak_memory(place)
            marks: Marks = []

            def mark(stage: str, marks: Marks = marks) -> None:
                synchronize(place)
                marks.append(Mark(stage, time.perf_counter(), time.process_time()))

            mark("start")
            images = resize(cameras)
            mark("preprocess")
            actions[key] = predict(images, ids, proprio, mark)
            if number >= 0:
                runs[key].append(marks)
                memory[key] = max(memory.get(key, 0), peak_memory_bytes(place))
    if own is not network:
        memory["engine"] -= weight_bytes
        memory["reference"] -= engine_bytes
    peaks = measure_peaks(place, weight_type)
    result: dict[str, Any] = {
        "preset": name, "variant": variant, "dtype": dtype, "device": str(place), "repeats": repeats,
        "ways": engine.describe(), "prompt_tokens": len(ids),
        "camera_images": f"{config.num_images} of {CAMERA[1]}x{CAMERA[0]}",
    }  # fmt: skip
    for key in steps:
        counts = count_flops(config, len(ids), network.dtype.itemsize, everything=key == "reference")
        figures = _summary(runs[key])
        model_s = (figures["total_p50_ms"] - figures["preprocess_p50_ms"]) / 1e3
        result[key] = figures | {
            "cpu_s_p50": round(figures["total_cpu_ms"] / 1e3, 4),
            "actions_per_s": round(config.chunk / figures["total_p50_ms"] * 1e3, 2),
            "peak_memory_gb": round(memory[key] / 1e9, 3),
            "gflop": float(f"{counts.flop / 1e9:.5g}"),
            "weights_read_gb": float(f"{counts.weight_bytes / 1e9:.4g}"),
            "share_of_peak_flop": round(counts.flop / model_s / peaks["flop_per_s"], 3),
            "share_of_peak_bandwidth": round(counts.weight_bytes / model_s / peaks["bytes_per_s"], 3),
        }
    result["speedup"] = round(result["reference"]["total_p50_ms"] / result["engine"]["total_p50_ms"], 3)
    result["speedup_cpu_time"] = round(result["reference"]["cpu_s_p50"] / result["engine"]["cpu_s_p50"], 3)
    difference = (actions["reference"] - actions["engine"]).abs().max()
    result["max_action_difference"] = float(difference)
    result["largest_action"] = float(actions["reference"].abs().max())
    result["machine"] = describe_torch_system(place) | {key: float(f"{v:.3g}") for key, v in peaks.items()}
    return result


def _summary(runs: list[Marks]) -> dict[str, float]:
    """Of every stage and of the whole: median and 99th percentile, and median of the processor time [ms]."""
    walls: dict[str, list[float]] = {stage: [] for stage in STAGES}
    cpus: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for marks in runs:
        spans = [*pairwise(marks), (marks[0], marks[-1]._replace(stage="total"))]
        for before, after in spans:
            walls[after.stage].append(1e3 * (after.wall - before.wall))
            cpus[after.stage].append(1e3 * (after.cpu - before.cpu))
    figures: dict[str, float] = {}
    for stage, values in walls.items():
        figures[f"{stage}_p50_ms"] = round(float(np.percentile(values, 50)), 3)
        figures[f"{stage}_p99_ms"] = round(float(np.percentile(values, 99)), 3)
        figures[f"{stage}_cpu_ms"] = round(float(np.median(cpus[stage])), 3)
    return figures


def format_result(result: dict[str, Any]) -> str:
    """A table for people."""
    rows = [
        f"{result['preset']} {result['variant']}, {result['dtype']} on {result['device']}: "
        f"{result['camera_images']}, {result['prompt_tokens']} prompt tokens, {result['repeats']} runs each",
        f"{'p50 (p99) ms':<14}" + "".join(f"{stage:>20}" for stage in STAGES),
    ]
    for key in ("reference", "engine"):
        part = result[key]
        cells = (f"{part[f'{s}_p50_ms']:.1f} ({part[f'{s}_p99_ms']:.1f})" for s in STAGES)
        rows.append(f"{key:<14}" + "".join(f"{cell:>20}" for cell in cells))
        times = (f"{part[f'{s}_cpu_ms']:.1f}" for s in STAGES)
        rows.append(f"{'  CPU time':<14}" + "".join(f"{time:>20}" for time in times))
    for key in ("reference", "engine"):
        part = result[key]
        rows.append(
            f"{key}: {part['actions_per_s']} actions/s, {part['cpu_s_p50']} CPU-s, peak memory "
            f"{part['peak_memory_gb']} GB, {part['gflop']} GFLOP at {part['share_of_peak_flop']:.0%} of the "
            f"measured peak"
        )
    rows.append(
        f"engine {result['speedup']} times as fast ({result['speedup_cpu_time']} by CPU time); actions "
        f"differ by at most {result['max_action_difference']:.2g} (largest {result['largest_action']:.2g}, "
        f"normalized); {result['ways']}"
    )
    rows.append(", ".join(f"{key} {value}" for key, value in result["machine"].items()))
    return "\n".join(rows)
