"""The demo: instructions on fresh scenes, carried out by the real node graph, checked by the simulator.

For a robot without a checkpoint a script teleoperates the arm instead of a policy.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.cli.demo_video import DemoVideo
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.shipped import shipped_checkpoint_fits
from vla_adapter_ros.errors import ServiceError
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.simulation.cube_instructions import INSTRUCTIONS, cube_instruction
from vla_adapter_ros.srv import Demonstrate

LONGEST_S = 10.0  # simulated time allowed per instruction


def run_demo(
    *,
    episodes: int = 10,
    swap: bool = True,
    contract: str = "franka_sim",
    checkpoint: str = "",
    renderer: str = "auto",
    seed: int = 100,
    output: Path = Path("out/demo"),
    console: bool = False,
) -> dict[str, Any]:
    """Bring the graph up and let the arm obey.

    Per scene one of three cubes is named; success means that this cube, and no
    other, is lifted within `LONGEST_S` of simulated time. With `swap` the same
    scene is then put up again and another cube is named. Without a checkpoint
    for the contract's robot, a script that sees the cubes' true positions
    teleoperates the arm, and says so. With `console` the operator's pages show it meanwhile.

    Returns:
        {"episodes", "successes", "swapped_episodes", "swapped_successes", "runs": [...],
        "images_expected", "images_received", "wall_s", "scripted"}.

    Raises:
        ServiceError, ProcessError: the graph did not work.
    """
    started = time.monotonic()
    description = read_contract(contract)
    scripted = not checkpoint and not shipped_checkpoint_fits(description)
    if scripted:
        print(scripted_notice(contract), flush=True)
    nodes = node_list(
        contract=contract,
        checkpoint=checkpoint,
        policy=not scripted,
        lock_step=True,
        renderer=renderer,
        client=True,
        console=console,
    )
    obey = _teleoperate if scripted else _obey
    output.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    with (
        GraphRunner(nodes, output / "logs") as graph,
        GraphClient(description, graph.check_alive, watch_images=True) as client,
        DemoVideo(description, output) as video,
    ):
        client.on_message = video.add_message
        for number in range(episodes):
            objects = client.reset(seed + number)
            first = number % len(objects)
            for swapped in (False, True) if swap else (False,):
                if swapped:
                    client.reset(seed + number)
                target = objects[(first + 1 + number // len(objects) % 2) % 3 if swapped else first]
                text = cube_instruction(target, number % len(INSTRUCTIONS))
                run = obey(client, video, target, text)
                runs.append({"scene": seed + number, "swapped": swapped, "objects": objects} | run)
                outcome = "success" if run["success"] else f"FAILED, lifted: {run['lifted'] or 'nothing'}"
                print(
                    f"scene {seed + number} ({', '.join(objects)}): '{text}' -> {outcome} "
                    f"after {run['duration_s']:.1f} s",
                    flush=True,
                )
    result = _summary(runs) | {"wall_s": round(time.monotonic() - started, 1), "scripted": scripted}
    result |= video.counts()
    print(
        f"{result['successes']} of {result['episodes']} scenes, "
        f"{result['swapped_successes']} of {result['swapped_episodes']} with another object named; "
        f"{result['wall_s']:.0f} s"
    )
    print(f"video {output / 'demo.mp4'}, plot {output / 'demo.png'}")
    print(scripted_notice(contract) if scripted else how_to_go_on())
    return result


def scripted_notice(contract: str) -> str:
    """What is said where a script moves the arm, and how to get a policy."""
    return (
        f"No checkpoint ships for '{contract}': a script that sees the cubes' true positions moves the arm, "
        "no policy. Train one:\n\n"
        f"  vla-adapter collect-demos --contract {contract} --dataset out/{contract}\n"
        f"  vla-adapter finetune --dataset out/{contract} --output out/{contract}_checkpoint\n"
        f"  vla-adapter demo --contract {contract} --checkpoint out/{contract}_checkpoint\n"
    )


def how_to_go_on() -> str:
    """What to type next, in two terminals."""
    activate = [f"source {os.path.relpath(sys.prefix)}/bin/activate"] if sys.prefix != sys.base_prefix else []
    first = [*activate, "vla-adapter bringup"]
    second = [*activate, f'vla-adapter instruct "{cube_instruction("red", 0)}"']
    return "\n".join(
        ["Go on: let the arm run in one terminal, and tell it from a second one what to do.", "",
         *(f"  {line}" for line in first), "", *(f"  {line}" for line in second)]
    )  # fmt: skip


def _obey(client: GraphClient, video: DemoVideo, target: str, text: str) -> dict[str, Any]:
    """Give one instruction, wait for a cube to be lifted, stop the arm."""
    video.start_episode(text)
    client.instruct(text)
    begun, lifted, ended = _until_lifted(client)
    client.instruct("")
    return _ended(client, video, target, text, begun, lifted, ended)


def _teleoperate(client: GraphClient, video: DemoVideo, target: str, text: str) -> dict[str, Any]:
    """As `_obey`, with the simulator's script in the place of a policy."""
    video.start_episode(f"{text} (scripted)")
    answer = client.call("simulator/demonstrate", Demonstrate.Request(target=target))
    if not answer.accepted:
        raise ServiceError(f"the script refused: {answer.message}")
    begun, lifted, ended = _until_lifted(client)
    client.call("simulator/demonstrate", Demonstrate.Request(target=""))
    return _ended(client, video, target, text, begun, lifted, ended)


def _until_lifted(client: GraphClient) -> tuple[float, str, float]:
    """Wait for a cube to be lifted: begin [s], which, end [s]."""
    begun = client.now
    client.wait_until(lambda: client.lifted != "" or client.now > begun + LONGEST_S)
    return begun, client.lifted, client.now


def _ended(
    client: GraphClient, video: DemoVideo, target: str, text: str, begun: float, lifted: str, ended: float
) -> dict[str, Any]:
    video.stop_episode()
    client.sleep(0.6)  # the arm comes to rest
    return {
        "instruction": text,
        "target": target,
        "lifted": lifted,
        "success": lifted == target,
        "duration_s": round(ended - begun, 2),
    }


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    named = [run for run in runs if not run["swapped"]]
    swapped = [run for run in runs if run["swapped"]]
    return {
        "episodes": len(named),
        "successes": sum(run["success"] for run in named),
        "swapped_episodes": len(swapped),
        "swapped_successes": sum(run["success"] for run in swapped),
        "runs": runs,
    }
