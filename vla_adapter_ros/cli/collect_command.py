"""`vla-adapter collect-...`: demonstrations by scripts, recorded as LeRobot data sets."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from vla_adapter_ros.choices import SuiteName
from vla_adapter_ros.cli.arguments import COUNT, SEED, UsageError, add_parameter, output_folder
from vla_adapter_ros.cli.checkpoint_command import locate_checkpoint
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.nodes.parameters import SimulatorParameters
from vla_adapter_ros.texts import comma_list


def add_collect_commands(commands: Any) -> None:
    """Add `collect-demos` and `collect-metaworld` to the parser's commands."""
    _add_collect_demos(commands)
    _add_collect_metaworld(commands)


def _add_collect_demos(commands: Any) -> None:
    collect = commands.add_parser(
        "collect-demos", help="let the scripted expert move the simulated arm, and record it"
    )
    add_parameter(collect, CommonParameters, "contract")
    add_parameter(collect, SimulatorParameters, "renderer")
    collect.add_argument("--suite", default=SuiteName.PICK, choices=SuiteName.at_table(), help="whose tasks")
    collect.add_argument("--episodes", type=COUNT, default=300, help="number of demonstrations to record")
    collect.add_argument(
        "--dataset", type=output_folder, default=Path("out/demonstrations"),
        help="folder of the LeRobot data set; made if missing, else continued",
    )  # fmt: skip
    collect.add_argument(
        "--seed", type=SEED, help="number of the first scene; default: 10000, or the first one that is new"
    )
    collect.add_argument(
        "--direct", action="store_true", help="without ROS nodes, as fast as the processors are"
    )
    collect.add_argument("--jobs", type=COUNT, default=1, help="with --direct: processes that drive")
    collect.add_argument(
        "--after-policy", default="", metavar="CHECKPOINT",
        help="with --direct: a policy leads first, the expert shows the way from there; default: none does",
    )  # fmt: skip
    collect.set_defaults(run=_collect_demos, simulate=True)


def _add_collect_metaworld(commands: Any) -> None:
    collect = commands.add_parser(
        "collect-metaworld", help="record Meta-World's scripted policies (needs `make metaworld`)"
    )
    collect.add_argument(
        "--dataset", type=output_folder, default=Path("out/metaworld"),
        help="folder of the LeRobot data set; made if missing, else completed",
    )  # fmt: skip
    collect.add_argument("--per-task", type=COUNT, default=30, help="demonstrations of each task, in all")
    collect.add_argument("--tasks", default="", help="such as push,door-open; default: all 50")
    collect.add_argument("--seed", type=SEED, default=0, help="draws the episodes; evaluations have others")
    collect.add_argument("--jobs", type=COUNT, default=1, help="simulators beside each other")
    collect.set_defaults(run=_collect_metaworld)


def _collect_demos(options: argparse.Namespace) -> int:
    from vla_adapter_ros.cli.collect_demos import collect_demonstrations
    from vla_adapter_ros.cli.seen_scenes import first_scene

    if not options.direct and (options.jobs > 1 or options.after_policy):
        raise UsageError("--jobs and --after-policy need --direct")
    print(f"scenes from {first_scene(options.dataset, options.seed)} on", flush=True)
    wanted = {
        "suite": options.suite,
        "contract": options.contract,
        "seed": options.seed,
        "renderer": options.renderer,
    }
    if options.direct:
        from vla_adapter_ros.cli.collect_directly import collect_directly

        policy = locate_checkpoint(options.after_policy) if options.after_policy else None
        result = collect_directly(
            options.dataset, options.episodes, jobs=options.jobs, checkpoint=policy, **wanted
        )
    else:
        logs = options.dataset.parent / "record_logs"
        result = collect_demonstrations(options.dataset, options.episodes, logs=logs, **wanted)
    print(
        f"{result.episodes} demonstrations saved to {options.dataset} in {result.seconds:.0f} s, "
        f"{result.discarded} discarded"
    )
    return 0


def _collect_metaworld(options: argparse.Namespace) -> int:
    from vla_adapter_ros.cli.collect_metaworld import collect_metaworld
    from vla_adapter_ros.simulation.worlds.metaworld_tasks import SENTENCES

    tasks = comma_list(options.tasks) or list(SENTENCES)
    if unknown := [task for task in tasks if task not in SENTENCES]:
        raise UsageError(f"--tasks {unknown[0]}: allowed are {', '.join(SENTENCES)}")
    begun = time.monotonic()
    done, failed = collect_metaworld(
        options.dataset, tasks, options.per_task, seed=options.seed, jobs=options.jobs
    )
    print(f"{done} demonstrations saved to {options.dataset} in {time.monotonic() - begun:.0f} s")
    for place in failed:
        print(f"{place.task}, demonstration {place.number}: the scripted policy failed in every episode")
    return 1 if failed else 0
