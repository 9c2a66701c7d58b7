"""Checks that compare the episodes of a data set with each other, and their ranking by quality."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.findings import Finding, Level, QualityReport, listed, skip
from vla_adapter_ros.dataset.quality.motion import command_delay, gripper_columns, side_changes
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings, grade

_MIN_EPISODES = 4  # episodes that say what is usual
_RARE_FRACTION = 0.2  # of the usual number of episodes: an instruction with less is rare
_APART = 6.0  # levels of 255: cameras that look more alike than that cannot be told apart
_SWAPPED = 0.5  # an episode fits swapped cameras so much better


@dataclass(frozen=True)
class EpisodeFacts:
    """What is kept of an episode to compare it with others.

    Attributes:
        number: What the data set calls it.
        instruction: What was to be done; empty where it is not known.
        rows: How many there are.
        delay_s: How much later than the command the state moves [s]; NaN where unknown.
        closings: Gripper -> how often its command changes sides.
        mean_images: Camera -> mean of its images in blocks, float32 (8, 8, 3).
    """

    number: int
    instruction: str
    rows: int
    delay_s: float
    closings: Mapping[str, int] = field(default_factory=dict)
    mean_images: Mapping[str, np.ndarray] = field(default_factory=dict)


def facts_of(
    number: int,
    instruction: str,
    s: Samples,
    contract: Contract | None,
    mean_images: Mapping[str, np.ndarray],
) -> EpisodeFacts:
    """What is kept of an episode; its contract describes these very columns, or is None."""
    closings = {
        name: len(side_changes(s.action[:, column]))
        for name, column in gripper_columns(s, contract).items()
        if np.isfinite(s.action[:, column]).all()
    }
    return EpisodeFacts(number, instruction, len(s.state), command_delay(s, contract), closings, mean_images)


def compare_episodes(
    episodes: Sequence[EpisodeFacts], fps: float, settings: QualitySettings
) -> list[Finding]:
    """Make all checks that compare episodes."""
    return [
        check_delay(episodes, settings),
        check_grasps(episodes, settings),
        check_durations(episodes, fps, settings),
        check_rare_instructions(episodes, settings),
        check_swapped_cameras(episodes, settings),
    ]


def check_delay(episodes: Sequence[EpisodeFacts], settings: QualitySettings) -> Finding:
    """Episodes whose actions come earlier or later than in the others, measured by how the state follows."""
    known = [e for e in episodes if np.isfinite(e.delay_s)]
    if not known:
        return skip("action_delay", "no episode moves enough to tell")
    usual = float(np.median([e.delay_s for e in known])) if len(known) >= _MIN_EPISODES else 0.0
    # A state cannot move before its command: without others to compare with, only that is a fault.
    off = {
        e.number: abs(e.delay_s - usual) if len(known) >= _MIN_EPISODES else max(-e.delay_s, 0.0)
        for e in known
    }
    number = max(off, key=off.__getitem__)
    delay = next(e.delay_s for e in known if e.number == number)
    bad = _beyond(off, settings.limits_of("action_delay")[0])
    text = (
        f"{off[number]:.2f} s in episode {number}: its state moves {delay:.2f} s after the action, usual is "
        f"{usual:.2f} s"
    )
    return grade("action_delay", off[number], settings, _many(bad) + text, episodes=bad)


def check_grasps(episodes: Sequence[EpisodeFacts], settings: QualitySettings) -> Finding:
    """Episodes in which a gripper opens and closes again, as after a grasp that failed."""
    more = []
    groups = [
        group for group in _by_instruction(episodes) if len(group) >= _MIN_EPISODES and group[0].closings
    ]
    if not groups:
        return skip("failed_grasps", f"no instruction with a gripper and {_MIN_EPISODES} episodes")
    for group in groups:
        for name in group[0].closings:
            usual = np.median([e.closings.get(name, 0) for e in group])
            more += [e.number for e in group if e.closings.get(name, 0) >= usual + 2]
    bad = tuple(sorted(set(more)))
    text = f"{len(bad)} episodes{listed(bad)} in which a gripper closes more often than usual"
    return grade("failed_grasps", len(bad), settings, text, episodes=bad)


def check_durations(episodes: Sequence[EpisodeFacts], fps: float, settings: QualitySettings) -> Finding:
    """Episodes that are much longer or shorter than others of their instruction."""
    ratios: dict[int, float] = {}
    usual: dict[int, float] = {}
    for group in _by_instruction(episodes):
        if len(group) >= _MIN_EPISODES:
            middle = float(np.median([e.rows for e in group]))
            usual |= {e.number: middle for e in group}
            ratios |= {e.number: max(e.rows / middle, middle / e.rows) for e in group}
    if not ratios:
        return skip("durations", f"no instruction with {_MIN_EPISODES} episodes")
    number = max(ratios, key=ratios.__getitem__)
    bad = _beyond(ratios, settings.limits_of("durations")[0])
    seconds = next(e.rows for e in episodes if e.number == number) / fps
    text = (
        f"{ratios[number]:.1f} times in episode {number} ({seconds:.1f} s, usual {usual[number] / fps:.1f} s)"
    )
    return grade("durations", ratios[number], settings, _many(bad) + text, episodes=bad)


def check_rare_instructions(episodes: Sequence[EpisodeFacts], settings: QualitySettings) -> Finding:
    """Instructions that a policy hears too seldom to learn them."""
    groups = _by_instruction(episodes)
    if len(groups) < 2:
        return skip("rare_sentences", "one instruction only" if groups else "no instructions")
    usual = float(np.median([len(group) for group in groups]))
    rare = [group for group in groups if len(group) < _RARE_FRACTION * usual]
    named = [f"{group[0].instruction!r}: {len(group)}" for group in rare]
    text = f"{len(rare)} of {len(groups)} instructions{listed(named, 3)}, usual are {usual:g} episodes"
    bad = tuple(e.number for group in rare for e in group)
    return grade("rare_sentences", len(rare), settings, text, episodes=bad)


def check_swapped_cameras(episodes: Sequence[EpisodeFacts], settings: QualitySettings) -> Finding:
    """Episodes whose cameras were plugged in the other way round."""
    episodes = [e for e in episodes if e.mean_images]
    cameras = sorted(set.intersection(*(set(e.mean_images) for e in episodes))) if episodes else []
    if len(cameras) < 2 or len(episodes) < _MIN_EPISODES:
        return skip("swapped_cameras", f"two cameras and {_MIN_EPISODES} episodes are needed to tell")
    usual = {
        name: np.median(np.stack([_without_brightness(e.mean_images[name]) for e in episodes]), axis=0)
        for name in cameras
    }
    bad: dict[int, str] = {}
    for one, other in itertools.combinations(cameras, 2):
        if usual[one].shape != usual[other].shape or _distance(usual[one], usual[other]) < _APART:
            continue
        for e in episodes:
            a, b = _without_brightness(e.mean_images[one]), _without_brightness(e.mean_images[other])
            if a.shape != b.shape:
                continue
            straight = _distance(a, usual[one]) + _distance(b, usual[other])
            if _distance(a, usual[other]) + _distance(b, usual[one]) < _SWAPPED * straight:
                bad[e.number] = f"{one} and {other} in episode {e.number}"
    text = f"{len(bad)} episodes{listed(bad.values(), 4)}"
    return grade("swapped_cameras", len(bad), settings, text, episodes=tuple(bad))


def rank_episodes(
    reports: Iterable[tuple[int, QualityReport]], findings: Iterable[Finding]
) -> list[tuple[int, float, tuple[str, ...]]]:
    """Order episodes from the best to the worst.

    Args:
        reports: Number and quality report of each episode.
        findings: About the data set; those that name episodes count for these.

    Returns:
        Number, points and names of the checks that took points off, the worst first. An episode begins
        with 100 points; each check that warns takes 5, each that fails 25, and none goes below 0.
    """
    found: dict[int, list[Finding]] = {number: list(report.findings) for number, report in reports}
    for finding in findings:
        for number in finding.episodes:
            if number in found:
                found[number].append(finding)
    ranking = []
    for number, checks in found.items():
        bad = sorted((c for c in checks if c.level in _POINTS), key=lambda c: (-c.level.rank, c.name))
        points = max(100.0 - sum(_POINTS[c.level] for c in bad), 0.0)
        ranking.append((number, points, tuple(dict.fromkeys(c.name for c in bad))))
    return sorted(ranking, key=lambda entry: (-entry[1], entry[0]))


_POINTS = {Level.WARN: 5.0, Level.FAIL: 25.0}


def _by_instruction(episodes: Sequence[EpisodeFacts]) -> list[list[EpisodeFacts]]:
    groups: dict[str, list[EpisodeFacts]] = defaultdict(list)
    for episode in episodes:
        groups[" ".join(episode.instruction.lower().split())].append(episode)
    return list(groups.values())


def _beyond(values: Mapping[int, float], limit: float) -> tuple[int, ...]:
    return tuple(sorted(number for number, value in values.items() if value > limit))


def _many(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} episodes{listed(numbers)}; " if len(numbers) > 1 else ""


def _without_brightness(image: np.ndarray) -> np.ndarray:
    """A mean image without its brightness: what a camera sees, whatever the light."""
    centered: np.ndarray = image - image.mean()
    return centered


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())
