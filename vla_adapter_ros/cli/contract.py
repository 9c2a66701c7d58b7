"""`vla-adapter contract`: draft a contract from a running graph, check it, show it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.cli.arguments import (
    CONTRACT_HELP,
    SECONDS,
    UsageError,
    add_namespace,
    any_path,
    number,
    output_file,
)

if TYPE_CHECKING:
    from vla_adapter_ros.commissioning.description import Description
    from vla_adapter_ros.commissioning.results import Results
    from vla_adapter_ros.commissioning.survey import GraphSurvey
    from vla_adapter_ros.contract import Contract

_LISTEN_S, _MOVE_S = 3.0, 15.0
URDF_HELP = "the robot's URDF; default: what the contract names, or the topic robot_description"


def add_contract_command(commands: Any) -> None:
    """Add the sub-commands to the parser of `vla-adapter`."""
    parser = commands.add_parser("contract", help="draft, check and show the file that describes a robot")
    tasks = parser.add_subparsers(dest="task", required=True)

    new = tasks.add_parser("new", help="draft a contract from the robot and cameras that run now")
    new.add_argument("file", type=output_file, help="YAML file to write; its name becomes the robot's")
    new.add_argument("--urdf", type=any_path, help="the robot's URDF; default: the topic robot_description")
    new.add_argument("--robot-type", default="", help="kind of robot; default: its name in the URDF")
    new.add_argument(
        "--rate", type=number(0.0, 200.0, above=True),
        help="rows per second [Hz]; default: the slowest camera's, at most 30",
    )  # fmt: skip
    topics = (
        ("--camera", "cameras", "images; the reference camera first"),
        ("--joint-states", "joint_states", "joint states"),
        ("--command", "commands", "an arm's controller"),
        ("--gripper", "gripper_topics", "a gripper's commands, or its action"),
        ("--teleop", "teleop", "a human's device"),
    )
    for option, name, what in topics:
        new.add_argument(
            option, dest=name, action="append", default=[], metavar="TOPIC",
            help=f"topic of {what}; repeatable; default: found by type and name",
        )  # fmt: skip
    new.add_argument(
        "--joints", type=_names, default=(), metavar="A,B,...",
        help="joints of the arm, in order; default: those of the URDF or of the joint states",
    )  # fmt: skip
    new.add_argument("--yes", action="store_true", help="ask nothing: take what is most likely")
    new.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    _add_survey(new)
    new.set_defaults(run=_new)

    check = tasks.add_parser("check", help="check a contract, by its URDF and by the running graph")
    check.add_argument("contract", help=CONTRACT_HELP)
    check.add_argument("--live", action="store_true", help="also against the robot and cameras that run now")
    check.add_argument(
        "--move-leader", action="store_true",
        help="with --live: tell the range of each value of the human's device, and which end is open, while "
        "you move it",
    )  # fmt: skip
    check.add_argument("--urdf", type=any_path, help=URDF_HELP)
    check.add_argument("--json", action="store_true", help="print plain JSON")
    _add_survey(check)
    check.set_defaults(run=_check)

    show = tasks.add_parser("show", help="a contract as a page for the browser, with a picture of the robot")
    show.add_argument("contract", help=CONTRACT_HELP)
    show.add_argument("--urdf", type=any_path, help=URDF_HELP)
    show.add_argument("--live", action="store_true", help="also what the running robot says of it")
    show.add_argument("--output", type=output_file, help="page to write; default: out/contract/NAME.html")
    _add_survey(show)
    show.set_defaults(run=_show, move_leader=False)


def _add_survey(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=SECONDS, help="how long to listen [s]; default: 3")
    add_namespace(parser)


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _new(options: argparse.Namespace) -> int:
    from vla_adapter_ros.commissioning.contract_checks import marked_lines
    from vla_adapter_ros.commissioning.description import find_description
    from vla_adapter_ros.commissioning.draft import default_name, draft_contract
    from vla_adapter_ros.commissioning.wishes import Wishes, take_default
    from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION

    name = default_name(options.file)
    if options.file.exists() and not options.overwrite:
        raise UsageError(f"{options.file} is there already: allowed is a new file, or --overwrite")
    survey = _survey(options)
    robot = find_description(options.urdf, None, survey.robot_description, listened=True)
    if robot.urdf is None:
        print(f"No URDF: {robot.why}. Limits, units and tool are marked to be checked.", file=sys.stderr)
    wishes = Wishes(
        name, options.robot_type, options.rate or 0.0, tuple(options.cameras), tuple(options.joint_states),
        options.joints, tuple(options.commands), tuple(options.gripper_topics), tuple(options.teleop),
    )  # fmt: skip
    ask = take_default if options.yes or not sys.stdin.isatty() else ask_person
    source = str(options.urdf.resolve()) if options.urdf else ROBOT_DESCRIPTION
    text = draft_contract(survey, robot.urdf, source, wishes, ask)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    options.file.write_text(text, encoding="utf-8")
    marked = marked_lines(text)
    print(f"{options.file}: written. {len(marked)} lines are marked CHECK, with where to look.")
    print(f"Next: vla-adapter contract check {options.file} --live")
    return 0


def ask_person(question: str, answers: Sequence[str], default: str) -> str:
    """Ask on the terminal; Enter takes what is taken for right."""
    if len(answers) < 2:
        return default
    print(question)
    for n, answer in enumerate(answers, 1):
        print(f"  {n}  {answer}")
    while True:
        said = input(f"Number [{answers.index(default) + 1}]: ").strip()
        if not said:
            return default
        if said.isdigit() and 1 <= int(said) <= len(answers):
            return answers[int(said) - 1]
        print(f"{said!r}: allowed is a number from 1 to {len(answers)}")


def _check(options: argparse.Namespace) -> int:
    from vla_adapter_ros.commissioning.results import summary, worst
    from vla_adapter_ros.dataset.quality.findings import Level

    if options.move_leader and not options.live:
        raise UsageError("--move-leader: allowed is with --live")
    _, _, results = _look(options)
    if options.json:
        print(json.dumps([result.as_json() for result in results], indent=2, ensure_ascii=False))
    else:
        print("\n".join(result.line for result in results))
        print(summary(results))
    return 1 if worst(results) is Level.FAIL else 0


def _show(options: argparse.Namespace) -> int:
    from vla_adapter_ros.commissioning.page import write_contract_page
    from vla_adapter_ros.commissioning.picture import draw_urdf
    from vla_adapter_ros.errors import SimulationError

    contract, description, results = _look(options)
    image, remark = None, f"No picture: {description.why}"
    if description.urdf is not None:
        try:
            image, remark = draw_urdf(description.text, description.folder)
        except SimulationError as error:
            remark = f"No picture: {error}"
    page = options.output or Path("out/contract") / f"{contract.name}.html"
    write_contract_page(page, contract, description.urdf, results, image, remark)
    print(f"open {page}")
    return 0


def _look(options: argparse.Namespace) -> tuple[Contract, Description, Results]:
    """The contract of a command, its robot's description, and what a check finds."""
    from vla_adapter_ros.commissioning.contract_checks import check_contract, check_marks
    from vla_adapter_ros.commissioning.description import find_description
    from vla_adapter_ros.commissioning.graph_checks import check_graph, expected_topics
    from vla_adapter_ros.commissioning.leader_checks import HOW_TO_MOVE, check_leader
    from vla_adapter_ros.commissioning.results import Results
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.contract.read import contract_path

    contract = read_contract(options.contract)
    moved = options.move_leader
    if moved:
        print(f"Now {HOW_TO_MOVE}.", file=sys.stderr, flush=True)
    usual_s = _MOVE_S if moved else _LISTEN_S
    survey = _survey(options, expected_topics(contract), usual_s) if options.live else None
    heard = survey.robot_description if survey is not None else ""
    description = find_description(options.urdf, contract, heard, listened=options.live)
    results = Results(check_contract(contract, description.urdf, description.why))
    check_marks(contract_path(options.contract).read_text(encoding="utf-8"), results)
    if survey is not None:
        results += check_graph(contract, survey)
        if moved:
            check_leader(contract, survey, results)
    return contract, description, results


def _survey(
    options: argparse.Namespace, expected: Sequence[str] = (), usual_s: float = _LISTEN_S
) -> GraphSurvey:
    from vla_adapter_ros.nodes.graph_survey import survey_graph

    seconds = options.seconds or usual_s
    print(f"Listening to the graph for {seconds:g} s ...", file=sys.stderr, flush=True)
    return survey_graph(seconds, options.namespace or "", expected)
