"""Counts, rates and intervals of a suite's episodes; shards put together; two results compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.paired import paired_difference
from vla_adapter_ros.evaluation.suite import Ending, Result, Suite
from vla_adapter_ros.trials.rates import rounded_interval
from vla_adapter_ros.untrusted import read_json

_SAME = ("task", "scene", "instruction")
_RUN_KEYS = ("number", "task", "scene", "instruction", "target", "ending", "success", "duration_s")


@dataclass(frozen=True)
class Shard:
    """A part of the episodes: every `count`-th from number `index` on, counted from 1."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ParameterError(f"shard {self}: allowed is I/N with I from 1 to N")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """A shard written as I/N.

        Raises:
            ParameterError: anything else.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise ParameterError(f"shard {text!r}: allowed is I/N, such as 1/4")
        return cls(int(index), int(count))

    def numbers(self, episodes: int) -> range:
        """Of the shard's episodes."""
        return range(self.index - 1, episodes, self.count)


def suite_result(
    conditions: Mapping[str, Any], shard: Shard, suite: Suite, results: Sequence[Result]
) -> dict[str, Any]:
    """What is told of a run, ready for JSON.

    Args:
        conditions: Under which it was done.
        shard: The part that was done.
        suite: Which.
        results: In order.
    """
    return {
        "conditions": dict(conditions),
        "shards": [str(shard)],
        "chance": dict(suite.chance),
        **summarize([asdict(result) for result in results], suite.groups),
    }


def summarize(runs: Sequence[Mapping[str, Any]], groups: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Counts, rates and 95 % intervals (Wilson) of episodes, in all and by task.

    Args:
        runs: The episodes.
        groups: Of tasks, see `Suite.groups`: with them there are also `tasks`, their number; `groups`, the
            mean rate of the tasks of each [%]; and `group_mean`, the mean of these, as it is published.
    """
    tasks = sorted({run["task"] for run in runs})
    per_task = {task: _rates([run for run in runs if run["task"] == task]) for task in tasks}
    return {**_rates(runs), **_grouped(per_task, groups or {}), "per_task": per_task, "runs": list(runs)}


def _grouped(per_task: Mapping[str, dict[str, Any]], groups: Mapping[str, str]) -> dict[str, Any]:
    if not groups:
        return {}
    rates: dict[str, list[float]] = {}
    for task, group in groups.items():
        if task in per_task:
            rate = per_task[task]["successes"] / per_task[task]["episodes"]
            per_task[task]["success"] = round(rate, 4)
            rates.setdefault(group, []).append(100.0 * rate)
    means = {group: round(float(np.mean(found)), 2) for group, found in rates.items()}
    return {
        "tasks": len(per_task),
        "groups": means,
        "group_mean": round(float(np.mean(list(means.values()))), 2) if means else None,
        "task_groups": dict(groups),
    }


def _rates(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    right = sum(run["success"] for run in runs)
    times = [run["duration_s"] for run in runs if run["success"]]
    endings = Counter(run["ending"] for run in runs if not run["success"])
    return {
        "episodes": len(runs),
        "successes": right,
        "success_rate": round(right / len(runs), 4) if runs else None,
        "success_interval": rounded_interval(right, len(runs)),
        "median_success_s": round(float(np.median(times)), 2) if times else None,
        "failures": {str(ending): endings[ending] for ending in Ending if endings[ending]},
    }


def merge_results(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The shards of one run as one result.

    Args:
        parts: From `suite_result`, as JSON had them.

    Raises:
        ParameterError: none, other conditions, an episode twice, or episodes that nobody did.
    """
    if not parts:
        raise ParameterError("no results to merge: allowed is at least one")
    first = parts[0]
    for part in parts:
        if part["conditions"] != first["conditions"]:
            other = [
                key for key in first["conditions"] if part["conditions"].get(key) != first["conditions"][key]
            ]
            raise ParameterError(f"results with another {', '.join(other)}: allowed are shards of one run")
    runs = sorted((run for part in parts for run in part["runs"]), key=lambda run: run["number"])
    numbers = [run["number"] for run in runs]
    if twice := [number for number, count in Counter(numbers).items() if count > 1]:
        raise ParameterError(f"episode {twice[0]} is in two results: allowed is each shard once")
    if missing := sorted(set(range(first["conditions"]["episodes"])) - set(numbers)):
        raise ParameterError(
            f"{len(missing)} of {first['conditions']['episodes']} episodes are missing, the first is number "
            f"{missing[0]}: allowed are all shards of one run"
        )
    shards = [shard for part in parts for shard in part["shards"]]
    return {
        "conditions": first["conditions"],
        "shards": shards,
        "chance": first["chance"],
        **summarize(runs, first.get("task_groups")),
        "wall_s": round(sum(part.get("wall_s", 0.0) for part in parts), 1),
    }


def compare_results(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The rate of `first` minus that of `second` over the same episodes, with a 95 % interval.

    Scenes are drawn anew as a whole, as their episodes are alike.

    Raises:
        ParameterError: their episodes are not the same.
    """
    ours, others = ({run["number"]: run for run in result["runs"]} for result in (first, second))
    for number in sorted({*ours, *others}):
        one, other = ours.get(number), others.get(number)
        if one is None or other is None or any(one[key] != other[key] for key in _SAME):
            raise ParameterError(
                f"episode {number} is not the same in both: allowed are results of one suite, seed and number"
            )
    numbers = sorted(ours)

    def difference(chosen: Sequence[int]) -> dict[str, Any]:
        won = [bool(ours[n]["success"]) for n in chosen], [bool(others[n]["success"]) for n in chosen]
        middle, low, high = paired_difference(*won, [ours[n]["scene"] for n in chosen])
        return {
            "episodes": len(chosen),
            "first": sum(won[0]),
            "second": sum(won[1]),
            "only_first": sum(a and not b for a, b in zip(*won, strict=True)),
            "only_second": sum(b and not a for a, b in zip(*won, strict=True)),
            "difference": round(middle, 4),
            "interval": [round(low, 4), round(high, 4)],
        }

    tasks = sorted({run["task"] for run in ours.values()})
    by_task = {task: difference([n for n in numbers if ours[n]["task"] == task]) for task in tasks}
    return {**difference(numbers), "per_task": by_task}


def read_result(path: Path) -> dict[str, Any]:
    """A result that was written as JSON.

    Raises:
        ParameterError: it cannot be read, or is none.
    """
    try:
        result = read_json(path)
        complete = all(key in run for run in result["runs"] for key in _RUN_KEYS) and result["runs"]
        if not complete or "episodes" not in result["conditions"]:
            raise ValueError("it holds no episodes of a suite")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{path}: {error}; allowed is what evaluate closed-loop wrote") from None
    return dict(result)


def with_total(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What is told of each task, and of all together where there are several."""
    return {**result["per_task"], **({"all": result} if len(result["per_task"]) > 1 else {})}


def format_result(result: Mapping[str, Any]) -> str:
    """A table with a line per task, and the failures."""
    lines = [f"{'task':<28}{'success':>12}{'rate':>8}{'95 % interval':>16}{'chance':>8}{'median s':>10}"]
    for task, rates in with_total(result).items():
        low, high = rates["success_interval"]
        chance = result["chance"].get(task)
        median = rates["median_success_s"]
        lines.append(
            f"{task:<28}{rates['successes']:>5} of {rates['episodes']:<3}{rates['success_rate']:>7.0%}"
            f"{f'{low:.0%} to {high:.0%}':>16}{'' if chance is None else f'{chance:.0%}':>8}"
            f"{'' if median is None else f'{median:.1f}':>10}"
        )
    if result.get("groups"):
        shown = ", ".join(f"{group} {rate:.1f}" for group, rate in result["groups"].items())
        lines.append(f"mean of the groups: {result['group_mean']:.1f} % ({shown})")
    if result["failures"]:
        failures = ", ".join(f"{count} {ending}" for ending, count in result["failures"].items())
        lines.append(f"failures: {failures}")
    return "\n".join(lines)


def format_comparison(compared: Mapping[str, Any]) -> str:
    """A table with a line per task, and what it says."""
    lines = [f"{'task':<28}{'first':>7}{'second':>8}{'of':>5}{'difference':>12}{'95 % interval':>18}"]
    for task, c in with_total(compared).items():
        low, high = c["interval"]
        lines.append(
            f"{task:<28}{c['first']:>7}{c['second']:>8}{c['episodes']:>5}{c['difference']:>+12.1%}"
            f"{f'{low:+.1%} to {high:+.1%}':>18}"
        )
    low, high = compared["interval"]
    if low > 0.0 or high < 0.0:
        lines.append(f"the {'first' if low > 0.0 else 'second'} is better")
    else:
        lines.append("no difference is shown: the interval holds 0")
    return "\n".join(lines)
