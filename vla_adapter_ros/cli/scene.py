"""`vla-adapter scene`: does everything stand where it stood in the demonstrations of a checkpoint?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.cli.arguments import (
    CONTRACT_HELP,
    EPISODE_HELP,
    SECONDS,
    UsageError,
    add_namespace,
    any_path,
    output_file,
    whole,
)

if TYPE_CHECKING:
    import numpy as np

    from vla_adapter_ros.contract import Contract
    from vla_adapter_ros.scene_check.scene import SceneComparison

Now = tuple[dict[str, "np.ndarray"], "np.ndarray | None"]
"""Images by camera, and the state; None where it is not known."""


def add_scene_command(commands: Any) -> None:
    """Add `scene` to the parser's commands."""
    parser = commands.add_parser(
        "scene",
        help="is the scene that of the demonstrations: cameras, light, start pose?",
        description="Compare what the running robot's cameras see, and where its arm stands, with the "
        "demonstrations of a checkpoint. Exit status 1: something has changed.",
    )
    parser.add_argument(
        "--checkpoint",
        default="franka_sim_tiny",
        help="directory, hub id or shipped name; default: %(default)s",
    )
    parser.add_argument("--contract", help=f"{CONTRACT_HELP}; default: the checkpoint's")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--image", action="append", default=[], metavar="CAMERA=FILE",
        help="compare an image file instead of the running robot; repeatable",
    )  # fmt: skip
    source.add_argument("--dataset", help="compare the beginning of an episode of this data set instead")
    source.add_argument(
        "--learn", metavar="DATASET",
        help="compare nothing: write what the checkpoint's data set began with into the checkpoint",
    )  # fmt: skip
    parser.add_argument("--episode", type=whole(), help=f"with --dataset: {EPISODE_HELP}; default: the first")
    parser.add_argument(
        "--output", type=output_file, default=Path("out/scene.png"),
        help="picture of the demonstrations, of now, and of both; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print plain JSON")
    parser.add_argument("--wait", type=SECONDS, default=10.0, help="longest wait for the streams [s]")
    add_namespace(parser)
    parser.set_defaults(run=_scene)


def _scene(options: argparse.Namespace) -> int:
    from vla_adapter_ros.cli.checkpoint_command import locate_checkpoint
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.errors import CheckpointError
    from vla_adapter_ros.scene_check.scene import SceneMemory
    from vla_adapter_ros.scene_check.views import Verdict

    if options.episode is not None and not options.dataset:
        raise UsageError(f"--episode {options.episode}: allowed is only with --dataset")
    checkpoint = locate_checkpoint(options.checkpoint)
    own = checkpoint / "contract.yaml"
    if not options.contract and not own.is_file():
        raise UsageError(f"{checkpoint} has no contract.yaml: name the robot's contract with --contract")
    contract = read_contract(options.contract or own)
    if options.learn:
        return _learn(checkpoint, options.learn, contract)
    memory = SceneMemory.from_checkpoint(checkpoint, contract)
    if memory.is_empty:
        raise CheckpointError(
            f"{checkpoint} does not know how its demonstrations began, as it was made by an earlier version: "
            "`vla-adapter scene --learn DATASET` lets it learn that"
        )
    images, state = _look(options, contract)
    found = memory.compare(images, state)
    _draw(options.output, memory, images, found)
    if options.json:
        print(json.dumps(_plain(found), indent=2))
    else:
        print("\n".join(f"{part.verdict:<8} {part.text}" for part in found.parts))
        print(f"open {options.output}")
    return 1 if found.verdict is Verdict.CHANGED else 0


def _look(options: argparse.Namespace, contract: Contract) -> Now:
    """What is to be compared."""
    if options.image:
        return _read_images(options.image, contract), None
    if options.dataset:
        return _first_frame(options.dataset, options.episode, contract)
    from vla_adapter_ros.nodes.live_frame import take_frame

    print(f"Looking at the running robot, for {options.wait:g} s at most ...", file=sys.stderr, flush=True)
    frame = take_frame(contract, options.namespace or "", options.wait)
    return frame.images, frame.state


def _read_images(pairs: list[str], contract: Contract) -> dict[str, np.ndarray]:
    from vla_adapter_ros.errors import ImageError
    from vla_adapter_ros.observation.images import decode_picture

    images = {}
    for pair in pairs:
        camera, equals, file = pair.partition("=")
        if not equals or camera not in contract.camera_names:
            known = ", ".join(contract.camera_names)
            raise UsageError(f"--image {pair}: allowed is CAMERA=FILE with a camera of the contract: {known}")
        try:
            images[camera] = decode_picture(any_path(file).read_bytes())
        except ImageError as error:
            raise ImageError(f"--image {pair}: {error}") from None
    return images


def _first_frame(dataset: str, number: int | None, contract: Contract) -> Now:
    import numpy as np

    from vla_adapter_ros.dataset.layout import STATE
    from vla_adapter_ros.dataset.opening import find_episodes, open_dataset

    data = open_dataset(dataset, contract=contract)
    (episode,) = find_episodes(data, [number]) if number is not None else (0,)
    images = {name: data.image(name, episode, 0) for name in contract.camera_names}
    return images, np.asarray(data.rows(episode)[STATE][0], dtype=np.float64)


def _learn(checkpoint: Path, dataset: str, contract: Contract) -> int:
    from vla_adapter_ros.dataset.start_pose import write_start_pose
    from vla_adapter_ros.scene_check.learn import learn_scene
    from vla_adapter_ros.scene_check.store import write_references

    references, start = learn_scene(dataset, contract)
    write_references(checkpoint, references)
    write_start_pose(checkpoint, start)
    print(
        f"{checkpoint} knows how the demonstrations of {dataset} began: {', '.join(references)}, start pose"
    )
    return 0


def _draw(path: Path, memory: Any, images: dict[str, np.ndarray], found: SceneComparison) -> None:
    import cv2

    from vla_adapter_ros.scene_check.overlay import draw_scene

    path.parent.mkdir(parents=True, exist_ok=True)
    good, data = cv2.imencode(".png", draw_scene(memory.references, images, found)[..., ::-1])
    assert good
    path.write_bytes(data.tobytes())


def _plain(found: SceneComparison) -> dict[str, Any]:
    import numpy as np

    def known(value: float) -> float | None:
        return round(value, 4) if np.isfinite(value) else None

    views = {
        view.camera: {
            "verdict": str(view.verdict),
            "text": view.text,
            "score_px": known(view.score),
            "shift_px": [known(value) for value in view.motion.shift],
            "turn_rad": known(view.motion.turn),
            "scale": known(view.motion.scale),
            "match": known(view.match),
            "brightness": known(view.brightness),
            "color": known(view.color),
        }
        for view in found.views
    }
    start = found.start
    pose = (
        None
        if start is None
        else {"verdict": str(start.verdict), "text": start.text, "distance": known(start.distance)}
    )
    return {"verdict": str(found.verdict), "cameras": views, "start_pose": pose}
