"""Under which conditions a suite is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.choices import FASTEST, SLOWEST, Control, SuiteName
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.suites import make_suite


@dataclass(frozen=True)
class Conditions:
    """Under which a suite is run; results under the same ones can be compared.

    Attributes:
        suite: Its name.
        checkpoint: As it was named.
        contract: The simulated robot; empty: the one that the checkpoint carries.
        seed: Of the first scene.
        episodes: In all shards together.
        longest_s: Simulated time per episode at full speed [s]; at a lower one it is as much longer.
        renderer: raycast, egl, osmesa, or auto.
        speed: Fraction of the policy's own speed at which the arm follows, 0.1 to 1.
        latency_s: From each image to the arrival of its chunk [s].
        control: What is taken from the policy, see `Control`.
    """

    suite: str
    checkpoint: str
    contract: str
    seed: int
    episodes: int
    longest_s: float
    renderer: str = "raycast"
    speed: float = 1.0
    latency_s: float = 0.0
    control: str = Control.NONE


def conditions(
    suite: str,
    checkpoint: str | Path,
    *,
    contract: str | Path = "",
    seed: int | None = None,
    episodes: int | None = None,
    longest_s: float | None = None,
    renderer: str | None = None,
    speed: float = 1.0,
    latency_s: float = 0.0,
    control: str = Control.NONE,
) -> Conditions:
    """Checked conditions; what is not said is as the suite has it.

    Raises:
        ParameterError: a name or a number that is not allowed.
    """
    usual = make_suite(suite)
    episodes = usual.episodes if episodes is None else episodes
    if episodes < 1:
        raise ParameterError(f"episodes = {episodes}: allowed is at least 1")
    if not SLOWEST <= speed <= FASTEST:
        raise ParameterError(f"speed = {speed:g}: allowed is {SLOWEST:g} to {FASTEST:g}")
    Control.check("control", control, ParameterError)
    if not SuiteName(suite).is_at_table and (speed != FASTEST or latency_s):
        raise ParameterError(f"speed = {speed:g}, latency = {latency_s:g} with {suite}: allowed are 1 and 0")
    if renderer not in (None, *usual.renderers):
        raise ParameterError(f"renderer = {renderer} with {suite}: allowed are {list(usual.renderers)}")
    return Conditions(
        suite,
        str(checkpoint),
        str(contract),
        usual.seed if seed is None else seed,
        episodes,
        usual.longest_s if longest_s is None else longest_s,
        str(usual.renderers[0]) if renderer is None else renderer,
        speed,
        latency_s,
        str(control),
    )
