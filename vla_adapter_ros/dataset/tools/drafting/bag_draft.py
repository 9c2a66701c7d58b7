"""Drafts a contract from a bag by others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vla_adapter_ros.contract import parse_contract
from vla_adapter_ros.dataset.tools.drafting.bag_topics import (
    Stream,
    image_topics,
    read_streams,
    shared_topics,
    short_name,
)
from vla_adapter_ros.dataset.tools.drafting.columns import Columns, Source
from vla_adapter_ros.dataset.tools.drafting.draft import whole_rate
from vla_adapter_ros.dataset.tools.drafting.names import camera_name, side
from vla_adapter_ros.dataset.tools.drafting.plan import Plan, make_plan, raw_values
from vla_adapter_ros.dataset.tools.drafting.text import PLACEHOLDER, CameraEntry, Facts, contract_text
from vla_adapter_ros.dataset.tools.drafting.units import Unit
from vla_adapter_ros.errors import BagError, ContractError, DatasetError, ImageError
from vla_adapter_ros.observation.bag import Bag
from vla_adapter_ros.observation.images import decode_image

USUAL_AGE_S = 0.1  # what a contract allows where it says nothing
NO_COMMANDS = "the bag has no commands: import-bag takes the next state for one with --next-state-as-action"
_HEAD = """\
DRAFT of a contract, made from the bag {name} ({seconds:.0f} s).

{mark}: not in the bag. Replace it before a robot is driven.
CHECK: guessed from names and values. Limits are the extremes in the bag with a margin, not those of the arm.
Units: as ROS has them, rad, m, s."""


def draft_from_bag(
    path: str | Path,
    name: str,
    space: str = "",
    *,
    grippers: Sequence[str] = (),
    state: Sequence[str] = (),
    action: Sequence[str] = (),
) -> str:
    """Draft the contract with which a bag can be imported.

    Args:
        path: The bag.
        name: Of the contract.
        space, grippers: As for data sets.
        state, action: Topics; empty: told by their types and names.

    Raises:
        BagError: no readable bag, no camera, no joint states, or no contract comes of it.
    """
    with Bag(path) as bag:
        cameras, grid = _cameras(bag)
        streams = read_streams(bag)
        measured, commands = _choose(bag, streams, state, action)
    columns, state_topics = _columns(measured, commands, grid)
    rate = whole_rate(1.0 / float(np.median(np.diff(grid))))
    try:
        plan = make_plan(columns, rate, space, grippers, keep_names=bool(commands))
        if not commands:
            plan.remarks.append(f"CHECK: {NO_COMMANDS}")
        plan.remarks += [f"CHECK: {text}" for text in shared_topics(streams)]
        _keep_units(plan)
        main = _main_topic(plan, commands)
        head = _HEAD.format(name=bag.path.name, mark=PLACEHOLDER, seconds=grid[-1] - grid[0]).splitlines()
        facts = Facts(
            name, PLACEHOLDER, rate, cameras, head + plan.remarks, state_topics,
            _topic_entries(plan, measured, commands, main),
        )  # fmt: skip
        if main is not None:
            keys = {"type": main.kind} if main.kind != "joint_state" else {}
            keys |= {"field": main.field} if main.field != "position" else {}
            topics = [stream.topic for stream in commands]
            facts = replace(
                facts, action_topic=main.topic, action_keys=keys | _age(main), command_topics=topics
            )
        text = contract_text(plan, facts)
        parse_contract(yaml.safe_load(text))
    except (ContractError, DatasetError) as error:
        raise BagError(f"{bag.path}: no contract can be drafted: {error}") from error
    return text


def _cameras(bag: Bag) -> tuple[dict[str, CameraEntry], np.ndarray]:
    """Cameras, and the log times of the slowest [s]: it comes first, as the reference camera."""
    found: dict[str, CameraEntry] = {}
    times: dict[str, np.ndarray] = {}
    for topic, transport in sorted(image_topics(bag).items()):
        first = next((message.content for message in bag.messages({topic})), None)
        try:
            height, width = decode_image(first).shape[:2] if first is not None else (0, 0)
        except ImageError:  # depth, or an encoding that leaves the colors open
            continue
        logged = bag.stamps({topic})[topic][:, 0]
        if len(logged) < 3:
            continue
        camera = camera_name(topic, found)
        odd = width % 2 or height % 2
        period = float(np.median(np.diff(logged)))
        age = round(2 * period, 3) if 1.5 * period > USUAL_AGE_S else 0.0
        size, fit = (width - width % 2, height - height % 2), "crop" if odd else ""
        found[camera] = CameraEntry(topic, *size, fit, f"{width}x{height}", transport, age)
        times[camera] = logged
    if not found:
        raise BagError(f"{bag.path}: no color camera with three images or more: {_held(bag)}")
    reference = max(times, key=lambda camera: float(np.median(np.diff(times[camera]))))
    order = [reference, *(camera for camera in found if camera != reference)]
    return {camera: found[camera] for camera in order}, times[reference]


def _choose(
    bag: Bag, streams: list[Stream], state: Sequence[str], action: Sequence[str]
) -> tuple[list[Stream], list[Stream]]:
    """Streams of the state, and of commands."""
    known = {stream.topic: stream for stream in streams}
    for what, names in (("state", state), ("action", action)):
        if unknown := [name for name in names if name not in known]:
            raise BagError(f"{bag.path}: --{what} {unknown}: allowed are the topics {list(known)}")
    measured = [known[name] for name in state] or [
        s for s in streams if s.kind == "joint_state" and not s.is_command and s.topic not in action
    ]
    commands = [known[name] for name in action] or [s for s in streams if s.is_command and s not in measured]
    if any(stream.kind != "joint_state" for stream in measured) or not measured:
        raise BagError(
            f"{bag.path}: no topic with measured joint states (sensor_msgs/msg/JointState): {_held(bag)}"
        )
    return measured, commands


def _held(bag: Bag) -> str:
    held = ", ".join(f"{topic} ({kind})" for topic, kind in sorted(bag.topics.items()))
    return f"the bag holds {held or 'nothing'}"


def _columns(
    measured: list[Stream], commands: list[Stream], grid: np.ndarray
) -> tuple[Columns, dict[str, str]]:
    """State and action at the times of the reference camera, once all have begun; state value -> topic."""
    states, state = _assemble(measured, grid)
    actions, action = _assemble(commands, grid)
    if not commands:
        action, actions = state, np.concatenate([states[1:], states[-1:]])
    good = np.isfinite(states).all(axis=1) & np.isfinite(actions).all(axis=1)
    if good.sum() < 4:
        raise BagError(
            f"{int(good.sum())} rows in which {', '.join(s.topic for s in (*measured, *commands))} all have "
            "begun: allowed are four or more"
        )
    topics = {source.name: source.column for source in state}
    return Columns(tuple(state), tuple(action), [states[good]], [actions[good]]), topics


def _assemble(streams: list[Stream], grid: np.ndarray) -> tuple[np.ndarray, list[Source]]:
    """Values of all streams at the grid, (N, D), and their sources; names that come twice get the topic's."""
    names = [name for stream in streams for name in stream.values]
    sources = []
    for stream in streams:
        prefix = side(stream.topic) or short_name(stream.topic)
        for place, name in enumerate(stream.values):
            unique = f"{prefix}_{name}" if names.count(name) > 1 else name
            sources.append(Source(stream.topic, place, len(stream.values), unique))
    values = [stream.at(grid) for stream in streams]
    return (np.concatenate(values, axis=1) if values else np.empty((len(grid), 0))), sources


def _keep_units(plan: Plan) -> None:
    """Take messages as they are: nothing converts them. Say what seems to be in another unit."""
    odd = [value for value in (*plan.state, *plan.action) if value.unit.converts]
    if odd:
        why = odd[0].unit.why
        plan.remarks.append(f"CHECK: {odd[0].source.name} and {len(odd) - 1} more: {why}; ROS says rad and m")
    for value in odd:
        value.values, value.unit = raw_values(value), Unit(value.unit.contract)


def _main_topic(plan: Plan, commands: list[Stream]) -> Stream | None:
    """The topic of most commands for the arm."""
    counts = {stream.topic: 0 for stream in commands}
    for value in plan.action:
        if not value.gripper and value.source.column in counts:
            counts[value.source.column] += 1
    return max(commands, key=lambda stream: counts[stream.topic], default=None)


def _topic_entries(
    plan: Plan, measured: list[Stream], commands: list[Stream], main: Stream | None
) -> dict[str, dict[str, Any]]:
    """The contract's entries of all topics that it needs but the action's."""
    used = {value.source.column for value in plan.action}
    needed = [*measured, *(s for s in commands if s is not main and s.topic in used)]
    return {
        stream.topic: {"type": stream.kind}
        | ({} if stream.named else {"joints": list(stream.values)})
        | _age(stream)
        for stream in needed
    }


def _age(stream: Stream) -> dict[str, float]:
    """How old its values may be, where they come more rarely than contracts expect."""
    steps = np.diff(stream.heard)
    longest = float(steps.max()) if len(steps) and stream.is_command else 0.0
    usual = 2 * float(np.median(steps)) if len(steps) else 0.0
    age = max(1.2 * longest, usual)
    return {"max_age_s": round(age, 3)} if age > USUAL_AGE_S else {}
