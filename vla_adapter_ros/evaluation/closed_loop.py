"""Does the arm lift the named cube? Unseen scenes, each cube of a scene named in turn."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.choices import FASTEST, SLOWEST, NamedCubes
from vla_adapter_ros.contract import Contract, read_contract, require_same
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.policy_loop import Policy, run_policy
from vla_adapter_ros.evaluation.scene_processes import run_scenes
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.device import resolve_device
from vla_adapter_ros.simulation.cube_instructions import INSTRUCTIONS, cube_instruction
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.system_info import describe_system

UNSEEN_SEED = 900_000
"""First scene; demonstrations are recorded from 10 000 on, and the backbone's scenes are drawn otherwise."""
LONGEST_S = 10.0


@dataclass(frozen=True)
class Trial:
    """One instruction in one scene.

    Attributes:
        scene: Seed of the scene.
        objects: The cubes on the table.
        instruction: What was asked for.
        target: The cube that it names.
        lifted: The cube that was lifted first; empty if none was within the time allowed.
        duration_s: Simulated time until then, or all that was allowed [s].
        chunks: Inferences.
        refused: Why the controller refused a chunk, which ended the episode; empty if it refused none.
    """

    scene: int
    objects: tuple[str, ...]
    instruction: str
    target: str
    lifted: str
    duration_s: float
    chunks: int
    refused: str = ""

    @property
    def success(self) -> bool:
        """The named cube, and no other before it, was lifted."""
        return self.lifted == self.target

    @property
    def wrong(self) -> bool:
        """Another cube was lifted."""
        return self.lifted not in ("", self.target)


def evaluate_closed_loop(
    checkpoint: str | Path,
    *,
    contract: str | Path = "",
    scenes: int = 30,
    seed: int = UNSEEN_SEED,
    named: str = "each",
    renderer: str = "raycast",
    longest_s: float = LONGEST_S,
    speed: float = 1.0,
    latency_s: float = 0.0,
    jobs: int = 1,
    device: str = "auto",
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Let a policy obey instructions in the simulator, without ROS.

    Args:
        checkpoint: Its directory.
        contract: The simulated robot; default: the contract that the checkpoint carries.
        scenes: Scenes, at least 1.
        seed: Of the first scene; the others follow.
        named: `each`: every cube of a scene is named once, on the same scene; `one`: one of them.
        renderer: raycast, egl, osmesa, or auto.
        longest_s: Simulated time per instruction at full speed [s]; at a lower one it is as much longer.
        speed: Fraction of the policy's own speed at which the arm follows, 0.1 to 1.
        latency_s: From each image to the arrival of its chunk [s].
        jobs: Processes, each with one thread. The episodes are the same with any number.
        device: Where the policy computes, see `resolve_device`.
        report: Called with one line per scene.

    Returns:
        Counts, times and every episode, ready for JSON.

    Raises:
        ParameterError: a number or a choice that is not allowed.
        ContractMismatch: the checkpoint was made for another robot.
        CheckpointError, SimulationError: the checkpoint or the simulator cannot be had.
    """
    for name, value in (("scenes", scenes), ("jobs", jobs)):
        if value < 1:
            raise ParameterError(f"{name} = {value}: allowed is at least 1")
    if not SLOWEST <= speed <= FASTEST:
        raise ParameterError(f"speed = {speed:g}: allowed is {SLOWEST:g} to {FASTEST:g}")
    NamedCubes.check("sentences", named, ParameterError)
    started = time.monotonic()
    place = str(resolve_device(device))
    make = partial(_Loop, str(checkpoint), str(contract), renderer, named, longest_s, speed, latency_s, place)
    episodes: list[Trial] = []
    for found in run_scenes(make, range(seed, seed + scenes), min(jobs, scenes)):
        episodes += found
        report(_line(found))
    result = summarize(episodes)
    return {
        "checkpoint": str(checkpoint),
        "device": place,
        "renderer": renderer,
        "seed": seed,
        "scenes": scenes,
        "sentences": named,
        "longest_s": longest_s,
        "speed": speed,
        "latency_s": latency_s,
        **result,
        "jobs": jobs,
        "wall_s": round(time.monotonic() - started, 1),
        "host": describe_system(),
        "runs": [asdict(e) | {"success": e.success} for e in episodes],
    }


def summarize(episodes: list[Trial]) -> dict[str, Any]:
    """Counts over episodes (at least one), and the 95 % interval of the rate of success (Wilson)."""
    right = sum(e.success for e in episodes)
    by_scene = Counter(e.scene for e in episodes if e.success)
    named = Counter(e.scene for e in episodes)
    times = [e.duration_s for e in episodes if e.success]
    return {
        "episodes": len(episodes),
        "successes": right,
        "wrong_cube": sum(e.wrong for e in episodes),
        "nothing_lifted": sum(not e.lifted for e in episodes),
        "refused": sum(bool(e.refused) for e in episodes),
        "scenes_all_right": sum(by_scene[scene] == count for scene, count in named.items()),
        "success_interval": wilson_interval(right, len(episodes)),
        "median_success_s": round(float(np.median(times)), 2) if times else None,
    }


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Score interval of a rate.

    Source:
        Wilson 1927, Journal of the American Statistical Association 22, 209-212.
    """
    rate, ratio = successes / trials, z * z / trials
    middle = (rate + ratio / 2) / (1 + ratio)
    half = z * np.sqrt(rate * (1 - rate) / trials + ratio / (4 * trials)) / (1 + ratio)
    return round(float(max(middle - half, 0.0)), 4), round(float(min(middle + half, 1.0)), 4)


def run_scene(
    contract: Contract,
    robot: SimulatedRobot,
    policy: Policy,
    seed: int,
    named: str,
    longest_s: float,
    speed: float = 1.0,
    latency_s: float = 0.0,
) -> list[Trial]:
    """All episodes of one scene, which is put up anew for each."""
    colors = robot.reset(seed).colors
    chosen = range(len(colors)) if named == NamedCubes.EACH else (seed % len(colors),)
    found = []
    for i in chosen:
        robot.reset(seed)
        text = cube_instruction(colors[i], (seed + i) % len(INSTRUCTIONS))
        run = run_policy(
            contract,
            robot,
            policy,
            text,
            longest_s=longest_s / speed,
            speed=speed,
            latency=Latency(latency_s),
        )
        lifted_s, chunks = round(run.lifted_s, 2), len(run.stamps)
        found.append(Trial(seed, colors, text, colors[i], run.lifted, lifted_s, chunks, run.refused))
    return found


def format_result(result: dict[str, Any]) -> str:
    """The counts in words."""
    low, high = result["success_interval"]
    lines = [
        f"{result['successes']} of {result['episodes']} named cubes lifted "
        f"(95 % interval {low:.0%} to {high:.0%}), another cube {result['wrong_cube']} times, "
        f"none {result['nothing_lifted']} times"
        + (f", {result['refused']} of these with a refused chunk" if result["refused"] else ""),
        f"{result['scenes_all_right']} of {result['scenes']} scenes without a failure; "
        f"{result['wall_s']:.0f} s with {result['jobs']} process{'es' if result['jobs'] > 1 else ''}",
    ]
    return "\n".join(lines)


def _line(found: list[Trial]) -> str:
    words = (f"{e.target}: {'lifted' if e.success else e.lifted or e.refused or 'nothing'}" for e in found)
    return f"scene {found[0].scene}: " + ", ".join(words)


class _Loop:
    """What a process needs: policy and robot, made once."""

    def __init__(
        self,
        checkpoint: str,
        contract: str,
        renderer: str,
        named: str,
        longest_s: float,
        speed: float,
        latency_s: float,
        device: str,
    ) -> None:
        self.policy = VlaAdapterPolicy.from_pretrained(checkpoint, device=device)
        trained_for = self.policy.contract
        robot = read_contract(contract) if contract else trained_for
        if robot is None:
            raise ParameterError(f"checkpoint {checkpoint} carries no contract: name the simulated robot's")
        if trained_for is not None:
            require_same(robot, trained_for, f"checkpoint {checkpoint}")
        self.contract = robot
        self.robot = SimulatedRobot(self.contract, renderer)
        self.choice = (named, longest_s, speed, latency_s)

    def close(self) -> None:
        """Let go of the robot."""
        self.robot.close()

    def run(self, seed: int) -> list[Trial]:
        """All episodes of a scene."""
        return run_scene(self.contract, self.robot, self.policy, seed, *self.choice)
