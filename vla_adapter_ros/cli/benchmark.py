"""`vla-adapter benchmark ...`: measure, against a baseline in the same run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_benchmark_command(commands: Any) -> None:
    """Add `benchmark` and its kinds to the parser's commands."""
    benchmark = commands.add_parser("benchmark", help="measure on this machine")
    kinds = benchmark.add_subparsers(dest="kind", required=True)

    inference = kinds.add_parser(
        "inference", help="one chunk: the published way of computing it, and the engine"
    )
    inference.add_argument("--preset", default="0.5b", choices=("0.5b", "tiny"))
    inference.add_argument("--device", default="cpu", help="torch device: cpu or cuda")
    inference.add_argument("--dtype", default="bf16", choices=("bf16", "fp16", "fp32"))
    inference.add_argument("--variant", default="pro", choices=("base", "pro"), help="policy head")
    inference.add_argument("--repeats", type=int, default=10, help="timed predictions of each path")
    inference.add_argument("--threads", type=int, default=2, help="CPU threads")
    inference.add_argument("--compile", action="store_true", help="give the engine torch.compile")
    inference.add_argument("--json", type=Path, help="write the result here")
    inference.set_defaults(run=_inference)


def _inference(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks.inference import format_result, run_inference_benchmark

    result = run_inference_benchmark(
        options.preset,
        device=options.device,
        dtype=options.dtype,
        variant=options.variant,
        repeats=options.repeats,
        threads=options.threads,
        compile_stages=options.compile,
    )
    print(format_result(result))
    _write(options.json, result)
    return 0


def _write(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
