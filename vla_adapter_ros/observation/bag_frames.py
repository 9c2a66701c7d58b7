"""The frames of a bag, as a recorder would have built them live.

A bag's log time, on the clock of the stamps, is taken for the time at which a message
was received.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.observation.bag import Bag, BagMessage
from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.lateness import kind_of


@dataclass
class BagNotes:
    """What was seen beside the frames.

    Attributes:
        unusable: Topic -> what was wrong with the first of its messages that could not be used, and how many
            could not.
        refused: Streams of such messages and what was wrong, for whoever counts them to take out.
        clocks: That log times and stamps are of two clocks, in a sentence; empty if they are not.
        losses: What was refused or lost so far: see `ObservationBuilder.losses`.
        last: When the last message was received [s].
        early: Reason -> bad frames from before every stream had begun.
    """

    unusable: dict[str, tuple[str, int]] = field(default_factory=dict)
    refused: deque[tuple[list[str], str]] = field(default_factory=deque)
    clocks: str = ""
    losses: dict[str, int] = field(default_factory=dict)
    last: float = 0.0
    early: Counter[str] = field(default_factory=Counter)


def bag_frames(
    bag: Bag,
    contract: Contract,
    others: Collection[str] = (),
    notes: BagNotes | None = None,
) -> Iterator[Frame | BagMessage]:
    """Give out a bag's frames, good and bad, and between them the messages on further topics.

    Args:
        bag: The recording.
        contract: Streams, rate and ages.
        others: Topics whose messages are handed through, in their turn.
        notes: Is filled in while reading.

    Raises:
        BagError: a stream is missing, or the bag is damaged.
    """
    notes = notes if notes is not None else BagNotes()
    streams = bag.require(contract)
    clock = bag.clock(contract, streams)
    builder = ObservationBuilder(contract, with_action=True)
    notes.clocks, notes.losses = clock.remark, builder.losses
    names = bag.streams(contract)
    for logged in bag.messages({*streams, *others}, streams):
        message = replace(logged, received=clock.at(logged.received))
        notes.last = message.received
        if message.topic in others:
            yield from builder.take_frames(message.received)
            yield message
        if message.topic in streams:
            try:
                for stream in names[message.topic]:
                    builder.add_message(stream, message.content, message.received)
            except VlaAdapterError as error:
                first, count = notes.unusable.get(message.topic, (str(error), 0))
                notes.unusable[message.topic] = first, count + 1
                notes.refused.append((names[message.topic], str(error)))
            yield from builder.take_frames(message.received)
    yield from builder.take_frames(notes.last + contract.settle_s + 1.0 / contract.rate_hz)


def once_begun(items: Iterable[Frame | BagMessage], notes: BagNotes) -> Iterator[Frame | BagMessage]:
    """The same, without bad frames from before every stream had begun: nothing was lost there."""
    begun = False
    for item in items:
        if not begun and isinstance(item, Frame):
            begun = not item.problem or all(math.isfinite(age) for age in item.ages.values())
            if not begun:
                reason = next(
                    (r for r in notes.early if kind_of(r) == kind_of(item.first_cause)), item.first_cause
                )
                notes.early[reason] += 1
                continue
        yield item
