"""`vla-adapter evaluate calvin`: chains of five subtasks, in an installation of CALVIN."""

from __future__ import annotations

import argparse
from typing import Any

from vla_adapter_ros.choices import PlatformName
from vla_adapter_ros.cli.arguments import COUNT, DEVICE_HELP, announce_device, output_file, wrong_arguments
from vla_adapter_ros.cli.checkpoint_command import STATISTICS_HELP, locate_checkpoint
from vla_adapter_ros.cli.progress_bar import progress_bar
from vla_adapter_ros.cli.results import write_result
from vla_adapter_ros.errors import ParameterError


def add_calvin(kinds: Any) -> None:
    """Add `calvin` to the kinds of `evaluate`."""
    parser = kinds.add_parser("calvin", help="chains of five subtasks, in an installation of CALVIN")
    parser.add_argument(
        "--installation", required=True, metavar="MODULE:NAME",
        help="what makes a vla_adapter_ros.evaluation.calvin.Calvin of your installation",
    )  # fmt: skip
    parser.add_argument("--checkpoint", required=True, help="directory, hub id or shipped name")
    parser.add_argument("--statistics", help=STATISTICS_HELP)
    parser.add_argument("--chains", type=COUNT, default=1000, help="how many")
    parser.add_argument("--device", default="auto", help=DEVICE_HELP)
    parser.add_argument("--json", type=output_file, help="write the result here")
    parser.set_defaults(run=_calvin)


def _calvin(options: argparse.Namespace) -> int:
    from vla_adapter_ros.evaluation.calvin import load_installation, run_chains
    from vla_adapter_ros.model.published import open_evaluated, rows_to_execute

    device = announce_device(options.device)
    with wrong_arguments(ParameterError):
        calvin = load_installation(options.installation)
    folder = locate_checkpoint(options.checkpoint)
    policy = open_evaluated(folder, PlatformName.CALVIN, device=device, statistics_name=options.statistics)
    with progress_bar("chains", options.chains) as advance:
        result = run_chains(calvin, policy, rows_to_execute(policy), options.chains, lambda done: advance())
    for count, reached in result["success"].items():
        low, high = reached["interval"]
        print(f"{count} in a row: {reached['rate']:.1%} ({low:.1%} to {high:.1%})")
    print(f"average length {result['average_length']:.2f} over {result['chains']} chains")
    write_result(options.json, result)
    return 0
