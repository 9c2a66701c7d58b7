"""`vla-adapter capsule`: the last seconds of policy and controller in one file: save, show, replay, strip."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.cli.arguments import add_parameter, announce_device, output_file
from vla_adapter_ros.cli.operate import add_addressee, explained, make_client
from vla_adapter_ros.errors import NoAnswerError
from vla_adapter_ros.nodes.parameter_rules import make_parameters
from vla_adapter_ros.nodes.parameters import PolicyParameters
from vla_adapter_ros.paths import locate

if TYPE_CHECKING:
    from vla_adapter_ros.capsule.contents import Capsule

_POLICY_OPTIONS = ("device", "dtype", "threads")
FILE_HELP = "a capsule, as `vla-adapter capsule save` or a fault wrote it"


def add_capsule_command(commands: Any) -> None:
    """Add the sub-commands to the parser of `vla-adapter`."""
    parser = commands.add_parser("capsule", help="save, show and replay the last seconds of a running robot")
    tasks = parser.add_subparsers(dest="task", required=True)

    save = tasks.add_parser(
        "save",
        help="save what policy and controller did in the last 20 s",
        description="Save what policy and controller did in the last 20 s. Each writes its half into its "
        "capsule_folder; where both lie on this computer they become one file.",
    )
    save.add_argument("--no-images", action="store_true", help="leave the pictures out")
    add_addressee(save)
    save.set_defaults(run=_save)

    show = tasks.add_parser("show", help="say what a capsule holds")
    show.add_argument("file", help=FILE_HELP)
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(run=_show)

    replay = tasks.add_parser(
        "replay",
        help="do again what a capsule says, and say where the outcome differs",
        description="Tell the controller's core again what it was told, tick by tick, and compare what comes "
        "out to the last bit. With a checkpoint, also let it predict from the frames of the capsule again.",
        epilog="exit status: 0 everything is identical, 1 something differs",
    )
    replay.add_argument("file", help=FILE_HELP)
    replay.add_argument(
        "--checkpoint", help="directory, hub id or shipped name; default: the chunks are not predicted again"
    )
    for name in _POLICY_OPTIONS:
        add_parameter(replay, PolicyParameters, name)
    replay.set_defaults(run=_replay)

    strip = tasks.add_parser("strip", help="write a capsule without its pictures, to be given away")
    strip.add_argument("file", help=FILE_HELP)
    strip.add_argument(
        "--output",
        type=output_file,
        help="file to write; default: FILE with _stripped in its name",
    )
    strip.set_defaults(run=_strip)


def _save(options: argparse.Namespace) -> int:
    from vla_adapter_ros.nodes.capsule_client import save_capsules

    with make_client(options.namespace) as client:
        try:
            paths, refusals = save_capsules(client, options.wait, with_images=not options.no_images)
        except NoAnswerError as error:
            raise explained(error) from None
    for refusal in refusals:
        print(f"refused: {refusal}")
    for path in paths:
        print(path)
    return 0 if paths else 1


def _show(options: argparse.Namespace) -> int:
    from vla_adapter_ros.capsule.contents import Capsule
    from vla_adapter_ros.capsule.describe import describe, summary

    capsule = Capsule(options.file)
    print(json.dumps(summary(capsule), indent=2) if options.json else describe(capsule))
    return 0


def _replay(options: argparse.Namespace) -> int:
    from vla_adapter_ros.capsule.contents import Capsule, machine_facts
    from vla_adapter_ros.capsule.core_replay import replay_core
    from vla_adapter_ros.capsule.describe import other_machine
    from vla_adapter_ros.capsule.folder import Half

    if options.checkpoint or options.device != "auto":
        options.device = announce_device(options.device)
    capsule = Capsule(options.file)
    identical, differences = True, []
    if Half.CONTROLLER in capsule.facts:
        contract, settings = capsule.contract(Half.CONTROLLER), capsule.core_settings()
        result = replay_core(contract, settings, *capsule.core())
        print(f"controller: {result}")
        identical = not result.text
        differences += other_machine(capsule.facts[Half.CONTROLLER], machine_facts())
    if options.checkpoint:
        identical = _replay_policy(capsule, options, differences) and identical
    elif Half.POLICY in capsule.facts:
        print("policy: not predicted again: name its checkpoint with --checkpoint")
    for difference in dict.fromkeys(differences):
        print(f"other than where it was saved: {difference}")
    return 0 if identical else 1


def _replay_policy(capsule: Capsule, options: argparse.Namespace, differences: list[str]) -> bool:
    """Predict the chunks of a capsule again; returns whether all are identical."""
    from vla_adapter_ros.capsule.contents import machine_facts
    from vla_adapter_ros.capsule.describe import other_machine
    from vla_adapter_ros.capsule.folder import Half
    from vla_adapter_ros.capsule.policy_replay import replay_policy
    from vla_adapter_ros.cli.checkpoint_command import locate_checkpoint
    from vla_adapter_ros.contract import require_same
    from vla_adapter_ros.nodes.policy_loading import open_policy, replay_facts

    facts, contract = capsule.require(Half.POLICY), capsule.contract(Half.POLICY)
    path = str(locate_checkpoint(options.checkpoint))
    chosen = {name: getattr(options, name) for name in _POLICY_OPTIONS}
    parameters = make_parameters(PolicyParameters, {"checkpoint": path, **chosen})
    policy, robot = open_policy(parameters)
    require_same(contract, robot, f"checkpoint {path}")
    policy.warm_up()
    result = replay_policy(contract, capsule.policy_records(), policy.predict)
    print(f"policy: {result}")
    differences += other_machine(facts, machine_facts(**replay_facts(policy)))
    return not result.text


def _strip(options: argparse.Namespace) -> int:
    from vla_adapter_ros.capsule.contents import Capsule
    from vla_adapter_ros.capsule.merge import write_capsule

    capsule = Capsule(options.file)
    output = locate(options.output or capsule.path.with_name(f"{capsule.path.stem}_stripped.mcap"))
    print(write_capsule([capsule], output, with_images=False))
    return 0
