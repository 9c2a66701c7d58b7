"""Saves a node's half of a capsule: when it is asked to, and by itself after a fault."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar, cast

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.serialization import serialize_message
from rclpy.task import Future as RosFuture
from std_srvs.srv import Trigger

from vla_adapter_ros.capsule.contents import REPLAY, Entry, json_bytes, machine_facts, write_facts
from vla_adapter_ros.capsule.folder import (
    Half,
    Occasions,
    SavedBy,
    default_folder,
    make_room,
    reserve_path,
)
from vla_adapter_ros.capsule.mcap_file import McapWriter
from vla_adapter_ros.errors import CapsuleError, VlaAdapterError
from vla_adapter_ros.files import write_file
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.capsule_messages import Sent, time_ns, topic_of
from vla_adapter_ros.nodes.parameters import CapsuleParameters
from vla_adapter_ros.paths import locate

AFTER_FAULT_S = 2.0
"""So long after a fault its capsule is saved, so that the stop is in it [s]."""
# Of work between two rests, in which the control thread gets the interpreter.
_AT_ONCE_S, _REST_S = 0.001, 0.001
_SWITCH_S = 0.0005  # while a capsule is written: how long another thread may keep the interpreter
_END_WITHIN_S = 10.0

T = TypeVar("T")


@dataclass(frozen=True)
class Content:
    """A half of a capsule, to be written.

    Attributes:
        facts: Names and texts, besides those of the machine.
        machine: Further facts that decide whether a replay is the same.
        size: About so many bytes it takes.
        items: Messages for viewers, and entries for a replay.
    """

    facts: Mapping[str, str]
    machine: Mapping[str, object]
    size: int
    items: Iterable[Sent | Entry]


@dataclass(frozen=True)
class _Wish:
    by: SavedBy
    cause: str
    due: float  # by the steady clock [s]
    saved: Future[Path] = field(default_factory=Future)


class CapsuleSaver:
    """Serves `~/save_capsule`, and writes in a thread of its own; to be made in `configure`.

    Args:
        node: Configured node.
        half: What it writes.
        content: Gives what there is to write, called by that thread; None: nothing has happened yet.
        finish: Called with the file of a fault once it is written; gives the file that it has become.
    """

    def __init__(
        self,
        node: ManagedNode[Any],
        half: Half,
        content: Callable[[], Content | None],
        finish: Callable[[Path], Path] = lambda path: path,
    ) -> None:
        parameters: CapsuleParameters = node.parameters
        self._node, self._half, self._content, self._finish = node, half, content, finish
        self._folder = locate(parameters.capsule_folder) if parameters.capsule_folder else default_folder()
        self._quota = round(parameters.capsule_quota_gb * 1e9)
        self._automatic = parameters.capsule_on_fault
        self._occasions = Occasions()
        self._wishes: queue.SimpleQueue[_Wish | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="capsule", daemon=True)
        node.serve(Trigger, "~/save_capsule", self._answer, group=ReentrantCallbackGroup())
        node.own(self._end)
        self._thread.start()

    def note_fault(self, why: str) -> None:
        """Save a capsule soon, unless one of such a fault was saved just now; returns at once."""
        now = time.monotonic()
        if self._automatic and self._occasions.begins(why, now):
            self._wishes.put(_Wish(SavedBy.FAULT, why, now + AFTER_FAULT_S))

    async def _answer(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        wish = _Wish(SavedBy.HAND, "saved by hand", time.monotonic())
        done: RosFuture[None] = RosFuture()
        wish.saved.add_done_callback(lambda _: self._node.soon(done.set_result, None))
        self._wishes.put(wish)
        await done
        try:
            response.success, response.message = True, str(wish.saved.result())
        except (VlaAdapterError, OSError) as error:
            response.success, response.message = False, str(error)
        return response

    def _end(self) -> None:
        self._wishes.put(None)
        self._thread.join(_END_WITHIN_S)

    def _work(self) -> None:
        waiting: list[_Wish] = []
        ended = False
        while not ended or waiting:
            soonest = min((wish.due for wish in waiting), default=None)
            wait = None if soonest is None else max(soonest - time.monotonic(), 0.0)
            with contextlib.suppress(queue.Empty):
                wish = None if ended else self._wishes.get(timeout=wait)
                ended = ended or wish is None
                waiting += [] if wish is None else [wish]
            for wish in [wish for wish in waiting if ended or wish.due <= time.monotonic()]:
                waiting.remove(wish)
                self._carry_out(wish)

    def _carry_out(self, wish: _Wish) -> None:
        switching = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        try:
            path = self._save(wish)
            self._node.get_logger().info(f"capsule saved: {path} ({wish.cause})")
            wish.saved.set_result(path)
        except Exception as error:  # it must never end the thread, nor trouble the robot
            self._node.get_logger().warning(f"no capsule saved: {error}")
            known = isinstance(error, (VlaAdapterError, OSError))
            wish.saved.set_exception(error if known else CapsuleError(f"{type(error).__name__}: {error}"))
        finally:
            sys.setswitchinterval(switching)

    def _save(self, wish: _Wish) -> Path:
        content = self._content()
        if content is None:
            raise CapsuleError(f"{self._node.get_name()} has nothing to save yet")
        make_room(self._folder, content.size, self._quota)
        at = time.time()
        path = reserve_path(self._folder, wish.by, at, self._half)
        saved = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")
        facts = {"saved": saved, "by": str(wish.by), "cause": wish.cause, **content.facts}

        def write(target: Path) -> None:
            with McapWriter(target) as writer:
                write_facts(writer, self._half, self._node.contract, facts | machine_facts(**content.machine))
                now = 0.0
                for item in gently(content.items):
                    if isinstance(item, Entry):
                        now = now if item.time is None else item.time
                        writer.add_message(REPLAY[self._half], time_ns(now), json_bytes(item.value))
                    else:
                        topic = topic_of(item.topic, cast(Hashable, type(item.message)))
                        writer.add_message(topic, time_ns(item.time), serialize_message(item.message))

        write_file(path, write)
        return self._finish(path) if wish.by is SavedBy.FAULT else path


def gently(items: Iterable[T]) -> Iterator[T]:
    """The items, with a rest after each millisecond of work: the control thread shares the interpreter."""
    begun = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - begun > _AT_ONCE_S:
            time.sleep(_REST_S)
            begun = time.perf_counter()
