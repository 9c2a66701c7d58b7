"""The command `vla-adapter`: one sub-command per thing a user starts."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

from vla_adapter_ros import __version__
from vla_adapter_ros.choices import SuiteName, Table
from vla_adapter_ros.cli.arguments import (
    CONTRACT_HELP,
    COUNT,
    SEED,
    UsageError,
    add_parameter,
    output_file,
    output_folder,
)
from vla_adapter_ros.cli.benchmark import add_benchmark_command
from vla_adapter_ros.cli.bringup import add_bringup
from vla_adapter_ros.cli.capsule import add_capsule_command
from vla_adapter_ros.cli.checkpoint_command import add_checkpoint, locate_checkpoint
from vla_adapter_ros.cli.collect_command import add_collect_commands
from vla_adapter_ros.cli.console import add_console_command
from vla_adapter_ros.cli.contract import add_contract_command
from vla_adapter_ros.cli.dataset import add_dataset_command
from vla_adapter_ros.cli.doctor import add_doctor
from vla_adapter_ros.cli.evaluate import add_evaluate
from vla_adapter_ros.cli.examples import EXAMPLES, GROUPS
from vla_adapter_ros.cli.finetune_command import add_finetune_command
from vla_adapter_ros.cli.measure import add_measure
from vla_adapter_ros.cli.operate import add_operation_commands
from vla_adapter_ros.cli.parser import CommandParser, MainParser, add_descriptions
from vla_adapter_ros.cli.record import add_record_command
from vla_adapter_ros.cli.results import write_result
from vla_adapter_ros.cli.scene import add_scene_command
from vla_adapter_ros.cli.serve import add_serve
from vla_adapter_ros.cli.status import add_status_commands
from vla_adapter_ros.cli.trials import add_trials_command
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.nodes.graph import graph_environment
from vla_adapter_ros.nodes.parameters import SimulatorParameters

STATUSES = """exit status:
  0    it did what was asked
  1    it did not, and says why; doctor: there are warnings
  2    the arguments make no sense; nothing was begun; doctor: something fails
  3    finetune, evaluate open-loop: the policy does not listen to its instruction; all else was done
  130  stopped by Ctrl-C or SIGTERM
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a sub-command.

    Returns:
        Exit status, see `STATUSES`.
    """
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that child processes are stopped too
    joins = getattr(options, "attach", False)  # nodes that run already, whatever they are
    options.environment = dict(os.environ)  # as the terminal has it
    os.environ.update(graph_environment(options.simulate and not joins))  # before rclpy is imported
    try:
        return int(options.run(options))
    except UsageError as error:
        print(options.parser.describe_error(str(error)), end="", file=sys.stderr)
        return 2
    except VlaAdapterError as error:
        print(f"vla-adapter: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as of `vla-adapter status | head`: nobody reads on
        sys.stdout = open(os.devnull, "w")  # else Python tries once more at its end, and complains
        return 1
    except (OSError, MemoryError, RecursionError) as error:  # the machine's refusals, wherever they come up
        print(f"vla-adapter: {_sentence(error)}", file=sys.stderr)
        return 1
    except EOFError:
        print("vla-adapter: the input has ended before the question was answered", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename is not None else ""
        return f"{name[:300]}{error.strerror}"
    text = " ".join(str(error).split())
    what = type(error).__name__
    if isinstance(error, MemoryError):
        what = "out of memory"
    elif isinstance(error, RecursionError):
        what = "something is nested too deeply"
    return ": ".join(part for part in (what, text) if part)


def _parser() -> CommandParser:
    parser = MainParser(
        GROUPS,
        prog="vla-adapter",
        description="Record demonstrations, train a VLA-Adapter policy on them, and let it move the arm.\n"
        "`vla-adapter COMMAND --help` shows the options and examples of a command.",
        epilog=STATUSES,
    )
    parser.add_argument("--version", action="version", version=f"vla-adapter {__version__}")
    parser.set_defaults(simulate=False)  # else commands that start a simulation say so
    commands = parser.commands
    _add_demo(commands)
    add_doctor(commands)
    add_contract_command(commands)
    add_measure(commands)
    add_bringup(commands)
    add_collect_commands(commands)
    _add_pretrain_grounding(commands)
    add_status_commands(commands)
    add_operation_commands(commands)
    add_capsule_command(commands)
    add_scene_command(commands)
    add_console_command(commands)
    add_finetune_command(commands)
    add_evaluate(commands)
    add_serve(commands)
    add_record_command(commands)
    add_checkpoint(commands)
    add_dataset_command(commands)
    add_trials_command(commands)
    add_benchmark_command(commands)
    add_descriptions(parser, EXAMPLES)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="let the simulated arm carry out instructions",
        description="Let the simulated arm carry out instructions. For a robot without a checkpoint, such as "
        "--contract ur5e_sim, a script teleoperates the arm.",
    )
    add_parameter(demo, CommonParameters, "contract")
    demo.add_argument(
        "--checkpoint", default="", help="directory, hub id or shipped name; default: the shipped one"
    )
    add_parameter(demo, SimulatorParameters, "renderer")
    demo.add_argument(
        "--suite", default=SuiteName.PICK, choices=(SuiteName.PICK, SuiteName.TABLETOP), help="whose tasks"
    )
    demo.add_argument(
        "--instruction",
        default="",
        help="one sentence for the arm, on the tabletop; default: the suite's own",
    )
    demo.add_argument("--seed", type=SEED, default=100, help="number of the first scene")
    demo.add_argument("--episodes", type=COUNT, default=10, help="number of scenes")
    demo.add_argument("--no-swap", action="store_true", help="do not repeat each scene naming another object")
    demo.add_argument(
        "--console", action="store_true", help="show it on the operator's pages: http://localhost:8088/"
    )
    demo.add_argument(
        "--json", type=output_file, metavar="FILE", help="write the result to this file; default: none"
    )
    demo.add_argument(
        "--output", type=output_folder, default=Path("out/demo"), help="folder for video, plot and logs"
    )
    demo.set_defaults(run=_demo, simulate=True)


def _add_pretrain_grounding(commands: Any) -> None:
    ground = commands.add_parser("pretrain-grounding", help="make the grounded tiny backbone from nothing")
    ground.add_argument(
        "--output", type=output_folder, default=Path("out/grounded_tiny"), help="checkpoint folder to write"
    )
    ground.add_argument("--contract", default="franka_sim", help=CONTRACT_HELP)
    ground.add_argument("--table", default=Table.CUBES, choices=Table.words(), help="whose things it learns")
    ground.add_argument("--scenes", type=COUNT, default=6000, help="number of rendered scenes")
    ground.add_argument("--vision-steps", type=COUNT, default=500, help="steps on patches alone")
    ground.add_argument("--sentence-steps", type=COUNT, default=1500, help="steps on sentences and patches")
    ground.add_argument("--seed", type=SEED, default=0, help="seed of scenes and weights")
    ground.set_defaults(run=_ground)


def _demo(options: argparse.Namespace) -> int:
    from vla_adapter_ros.cli.demo import run_demo
    from vla_adapter_ros.cli.demo_tasks import run_tasks_demo

    wanted = {
        "episodes": options.episodes,
        "contract": options.contract,
        "checkpoint": str(locate_checkpoint(options.checkpoint)) if options.checkpoint else "",
        "renderer": options.renderer,
        "seed": options.seed,
        "output": options.output,
        "console": options.console,
    }
    if options.suite == SuiteName.PICK and not options.instruction:
        result = run_demo(swap=not options.no_swap, **wanted)
    else:
        result = run_tasks_demo(instruction=options.instruction, **wanted)
    write_result(options.json, result)
    return 0 if result["successes"] >= 0.9 * result["episodes"] else 1


def _ground(options: argparse.Namespace) -> int:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.training.grounding import GroundingSettings, ground

    settings = GroundingSettings(
        scenes=options.scenes,
        vision_steps=options.vision_steps,
        sentence_steps=options.sentence_steps,
        seed=options.seed,
    )
    ground(
        options.output,
        read_contract(options.contract),
        settings,
        table=Table(options.table),
        report=lambda line: print(line, flush=True),
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
