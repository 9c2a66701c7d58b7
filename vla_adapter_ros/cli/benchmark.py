"""`vla-adapter benchmark ...`: measure, against a baseline in the same run."""

from __future__ import annotations

import argparse
from typing import Any

from vla_adapter_ros.choices import HeadKind, LinearKind, Preset, WeightType
from vla_adapter_ros.cli.arguments import (
    COUNT,
    DEVICE_HELP,
    SECONDS,
    SEED,
    announce_device,
    any_path,
    listed,
    number,
    output_file,
    output_folder,
    whole,
    wrong_arguments,
)
from vla_adapter_ros.cli.results import write_result
from vla_adapter_ros.errors import ParameterError


def add_benchmark_command(commands: Any) -> None:
    """Add `benchmark` and its kinds to the parser's commands."""
    benchmark = commands.add_parser("benchmark", help="measure on this machine")
    kinds = benchmark.add_subparsers(dest="kind", required=True)

    inference = kinds.add_parser(
        "inference", help="one chunk: computed as the published code does, and by the engine"
    )
    inference.add_argument("--preset", default="0.5b", choices=Preset.light())
    inference.add_argument("--device", default="auto", help=DEVICE_HELP)
    inference.add_argument("--dtype", default="bf16", choices=WeightType.fixed())
    inference.add_argument("--variant", default="pro", choices=HeadKind.bridge(), help="policy head")
    inference.add_argument("--repeats", type=COUNT, default=10, help="timed predictions of each path")
    inference.add_argument("--threads", type=COUNT, default=2, help="CPU threads")
    inference.add_argument("--compile", action="store_true", help="give the engine torch.compile")
    inference.add_argument(
        "--linear", default=LinearKind.PACKED, choices=LinearKind.words(),
        help="how the engine computes linear layers on a CPU",
    )  # fmt: skip
    inference.add_argument("--json", type=output_file, help="write the result here")
    inference.set_defaults(run=_inference)

    control = kinds.add_parser(
        "control",
        help="recorded chunks with inference latency, driven by usual methods and by this controller",
    )
    control.add_argument(
        "--latency", type=number(), nargs="+", help="mean latencies [ms]; default 0 40 90 200"
    )
    control.add_argument("--seed", type=SEED, default=0, help="of the jitter")
    control.add_argument("--horizon", type=COUNT, default=4, help="rows that the default executes per chunk")
    control.add_argument("--stream", type=any_path, help="recorded chunks; default: those of the package")
    control.add_argument(
        "--record",
        type=output_file,
        metavar="FILE",
        help="let a policy drive, and record its chunks here first",
    )
    control.add_argument(
        "--checkpoint",
        default="franka_sim_tiny_delayed",
        help="of that policy; default: %(default)s",
    )
    control.add_argument(
        "--recorded-latency",
        type=number(),
        default=90.0,
        metavar="MS",
        help="latency while it drives [ms]: one that was trained with delays decides for then; default: 90",
    )
    control.add_argument("--json", type=output_file, help="write the result here")
    control.add_argument("--plot", type=output_file, help="draw it here (.png)")
    control.set_defaults(run=_control)

    jitter = kinds.add_parser(
        "jitter", help="the controller's thread beside a busy core, next to an rclpy timer (needs ROS 2)"
    )
    jitter.add_argument(
        "--rates", type=number(above=True), nargs="+", default=(100.0, 250.0, 500.0), help="[Hz]"
    )
    jitter.add_argument("--seconds", type=SECONDS, default=20.0, help="of each run")
    jitter.add_argument("--busy", type=whole(0, 2), default=1, help="busy cores, of the two that are used")
    jitter.add_argument("--priority", type=whole(0, 99), default=0, help="SCHED_FIFO priority; 0: none")
    jitter.add_argument("--json", type=output_file, help="write the result here")
    jitter.set_defaults(run=_jitter, simulate=True)

    recording = kinds.add_parser(
        "recording", help="the recorder beside two cameras and an arm: losses, stalls, cost (needs ROS 2)"
    )
    recording.add_argument("--minutes", type=SECONDS, default=10.0, help="recorded time")
    recording.add_argument("--episode", type=SECONDS, default=20.0, help="length of an episode [s]")
    recording.add_argument("--cores", type=whole(), default=2, help="for everything together; 0: all")
    recording.add_argument("--output", type=output_folder, help="keep the data set in this folder")
    recording.add_argument("--json", type=output_file, help="write the result here")
    recording.set_defaults(run=_recording, simulate=True)

    latency = kinds.add_parser(
        "latency", help="success of a policy whose chunks arrive late, by several ways to execute them"
    )
    latency.add_argument(
        "--checkpoint",
        default="franka_sim_tiny_delayed",
        help="directory or shipped name; default: %(default)s",
    )
    latency.add_argument("--scenes", type=COUNT, default=20, help="unseen scenes; each cube is named once")
    latency.add_argument("--seed", type=SEED, default=900_000, help="first scene")
    latency.add_argument(
        "--latencies", type=listed(number(0.0, 2000.0)), metavar="MS,MS",
        help="from an image to its chunk [ms]; default: 0,100,200,300,400, with a trace 0",
    )  # fmt: skip
    latency.add_argument(
        "--methods", type=listed(str), metavar="NAME,NAME",
        help="ours, splice, newest_row, stop_and_go, ensembling; default: all",
    )  # fmt: skip
    latency.add_argument(
        "--jitter",
        type=number(0.0, 0.5),
        default=0.0,
        help="standard deviation of the latency, as a fraction of it",
    )
    latency.add_argument(
        "--trace", type=any_path, metavar="FILE",
        help="measured latencies [s], a JSON list or one per line, taken in turn; --latencies are added",
    )  # fmt: skip
    latency.add_argument("--jobs", type=COUNT, default=1, help="processes, one thread each")
    latency.add_argument("--device", default="auto", help=DEVICE_HELP)
    latency.add_argument("--json", type=output_file, help="write every episode here")
    latency.add_argument("--plot", type=output_file, help="draw it here (.png)")
    latency.set_defaults(run=_latency)

    console = kinds.add_parser(
        "console", help="the operator's pages beside recorder and controller: cost, and Stop (needs ROS 2)"
    )
    console.add_argument(
        "--seconds", type=SECONDS, default=60.0, help="with pages; without at most 2 minutes"
    )
    console.add_argument("--viewers", type=COUNT, default=3, help="open pages")
    console.add_argument(
        "--browsers",
        type=whole(0),
        default=0,
        help="how many of them in a real Chromium (it must be installed)",
    )
    console.add_argument("--stops", type=COUNT, default=200, help="how often Stop is pressed")
    console.add_argument("--busy", type=whole(0), default=2, help="busy loops beside that, one per core")
    console.add_argument("--json", type=output_file, help="write the result here")
    console.set_defaults(run=_console, simulate=True)

    training = kinds.add_parser(
        "training", help="steps: as the published recipe computes them, and in this package's loop"
    )
    training.add_argument("--preset", default="tiny", choices=Preset.light())
    training.add_argument("--device", default="auto", help=DEVICE_HELP)
    training.add_argument("--batch-size", type=COUNT, nargs="+", help="default: 32 for tiny, 1 for 0.5b")
    training.add_argument("--lora-rank", type=whole(), help="default: 0 for tiny, 64 for 0.5b")
    training.add_argument(
        "--gradient-checkpointing", action="store_true", help="this package's loop computes activations again"
    )
    training.add_argument("--compile", action="store_true", help="give this package's loop torch.compile")
    training.add_argument("--steps", type=COUNT, default=10, help="timed steps of each kind")
    training.add_argument("--threads", type=COUNT, default=1, help="CPU threads")
    training.add_argument("--json", type=output_file, help="write the result here")
    training.set_defaults(run=_training)

    scene = kinds.add_parser(
        "scene", help="a camera is moved and turned in the simulator: score, warnings, success"
    )
    scene.add_argument(
        "--checkpoint", default="franka_sim_tiny", help="directory or shipped name; default: %(default)s"
    )
    scene.add_argument("--camera", action="append", default=[], help="to displace; repeatable; default: all")
    scene.add_argument(
        "--shift", type=number(), nargs="+", metavar="CM", help="how far it is moved; default: 0.5 1 2 5"
    )
    scene.add_argument(
        "--turn", type=number(), nargs="*", metavar="DEGREES",
        help="how far it is turned; none: not at all; default: 0.5 1 2 3 5",
    )  # fmt: skip
    scene.add_argument(
        "--scenes", type=whole(), default=30,
        help="unseen scenes for each displacement; 0: success is not measured",
    )  # fmt: skip
    scene.add_argument("--unchanged", type=whole(), default=100, help="scenes in which nothing is displaced")
    scene.add_argument("--jobs", type=COUNT, default=1, help="processes, one thread each")
    scene.add_argument(
        "--json", type=output_file,
        help="write the result here; successes that an earlier result there has are not measured again",
    )  # fmt: skip
    scene.add_argument("--plot", type=output_file, help="draw it here (.png)")
    scene.set_defaults(run=_scene)


def _latency(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks.latency import (
        LATENCIES_MS,
        METHODS,
        format_result,
        run_latency_benchmark,
    )
    from vla_adapter_ros.benchmarks.latency_plot import plot_result
    from vla_adapter_ros.cli.checkpoint_command import locate_checkpoint
    from vla_adapter_ros.evaluation.latency import read_trace

    with wrong_arguments(ParameterError):
        trace = read_trace(options.trace) if options.trace else ()
        result = run_latency_benchmark(
            locate_checkpoint(options.checkpoint),
            methods=options.methods or METHODS,
            latencies_ms=options.latencies or ((0.0,) if trace else LATENCIES_MS),
            scenes=options.scenes,
            seed=options.seed,
            jitter=options.jitter,
            trace=trace,
            jobs=options.jobs,
            device=announce_device(options.device),
            report=lambda line: print(line, flush=True),
        )
    print(format_result(result))
    write_result(options.json, result)
    if options.plot:
        plot_result(result, options.plot)
    return 0


def _console(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks.console import format_result, run_console_benchmark

    result = run_console_benchmark(
        seconds=options.seconds,
        viewers=options.viewers,
        browsers=options.browsers,
        stops=options.stops,
        busy=options.busy,
    )
    print(format_result(result))
    write_result(options.json, result)
    return 0


def _inference(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks.inference import format_result, run_inference_benchmark

    result = run_inference_benchmark(
        options.preset,
        device=announce_device(options.device),
        dtype=options.dtype,
        variant=options.variant,
        repeats=options.repeats,
        threads=options.threads,
        compile_stages=options.compile,
        linear=options.linear,
    )
    print(format_result(result))
    write_result(options.json, result)
    return 0


def _control(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks import chunk_stream
    from vla_adapter_ros.benchmarks.control import LATENCIES_MS, run_control_benchmark
    from vla_adapter_ros.benchmarks.control_report import format_result, plot_result

    if options.record:
        recorded = chunk_stream.record_stream(
            checkpoint=options.checkpoint, latency_s=1e-3 * options.recorded_latency
        )
        chunk_stream.save_stream(options.record, recorded)
    own = options.record or options.stream
    result = run_control_benchmark(
        chunk_stream.load_stream(own or chunk_stream.STREAM),
        latencies_ms=options.latency or LATENCIES_MS,
        horizon=options.horizon,
        seed=options.seed,
        old_stream=None if own else chunk_stream.load_stream(chunk_stream.OLD_STREAM),
    )
    print(format_result(result))
    write_result(options.json, result)
    if options.plot:
        plot_result(result, options.plot)
    return 0


def _jitter(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks.jitter import format_result, run_jitter_benchmark

    result = run_jitter_benchmark(
        rates_hz=options.rates, seconds=options.seconds, busy=options.busy, priority=options.priority
    )
    print(format_result(result))
    write_result(options.json, result)
    return 0


def _recording(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks.recording import format_result, run_recording_benchmark

    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    result = run_recording_benchmark(
        minutes=options.minutes, episode_s=options.episode, cores=options.cores, output=options.output
    )
    print(format_result(result))
    write_result(options.json, result)
    return 0


def _training(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks.training import format_result, run_training_benchmark

    tiny = Preset(options.preset).has_word_list
    rank = options.lora_rank if options.lora_rank is not None else (0 if tiny else 64)
    result = run_training_benchmark(
        options.preset,
        device=announce_device(options.device),
        batches=tuple(options.batch_size or ((32,) if tiny else (1,))),
        lora_rank=rank,
        gradient_checkpointing=options.gradient_checkpointing,
        compile_layers_too=options.compile,
        steps=options.steps,
        threads=options.threads,
    )
    print(format_result(result))
    write_result(options.json, result)
    return 0


def _scene(options: argparse.Namespace) -> int:
    from vla_adapter_ros.benchmarks.scene import format_result, read_success, run_scene_benchmark
    from vla_adapter_ros.benchmarks.scene_plot import plot_result
    from vla_adapter_ros.benchmarks.scene_success import SHIFTS_CM, TURNS_DEG
    from vla_adapter_ros.cli.checkpoint_command import locate_checkpoint

    result = run_scene_benchmark(
        locate_checkpoint(options.checkpoint),
        cameras=options.camera,
        shifts_cm=SHIFTS_CM if options.shift is None else options.shift,
        turns_deg=TURNS_DEG if options.turn is None else options.turn,
        scenes=options.scenes,
        unchanged=options.unchanged,
        jobs=options.jobs,
        known=read_success(options.json) if options.json else (),
        report=lambda line: print(line, flush=True),
    )
    print(format_result(result).splitlines()[-1])
    write_result(options.json, result)
    if options.plot:
        plot_result(result, options.plot)
    return 0
