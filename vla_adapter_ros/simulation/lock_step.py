"""Lock step: simulated time waits until every node has handled what it was given.

A chunk that the policy published must have reached the controller, and a
command of the controller must have reached the simulator, before time goes
on. So a run gives the same result on a busy machine as on an idle one.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

LEAVING_S = float(2**31 - 1)
"""Stamp of a node's last acknowledgment, when it becomes inactive: the latest that a message can hold."""


@dataclass
class _Account:
    stamp: float = 0.0
    inputs: int = 0
    outputs: int = 0


class LockStep:
    """Keeps the books of acknowledgments. Safe to use from several threads.

    Args:
        awaited: Node names: `controller` must have handled every tick, `policy`
            and `recorder` every image.
        patience_s: Wall time after which a silent node is no longer waited for [s].
    """

    def __init__(self, awaited: tuple[str, ...], patience_s: float) -> None:
        self._awaited = awaited
        self._patience_s = patience_s
        self._accounts: dict[str, _Account] = {}
        self._begun: set[str] = set()  # who has ever announced itself
        self._received = 0
        self._forgiven = {"controller": 0, "simulator": 0}
        self._changed = threading.Condition()
        self._interrupted = False

    def acknowledge(self, node: str, stamp: float, inputs: int, outputs: int) -> None:
        """A node has handled everything up to `stamp` [s], with so many messages in and out.

        A node that begins, perhaps again, says so with zeros; one that leaves, with LEAVING_S.
        """
        with self._changed:
            if stamp == LEAVING_S:
                self._accounts.pop(node, None)
            elif stamp == 0.0 and inputs == 0 and outputs == 0:
                self._begin(node)
            else:
                self._begun.add(node)  # its first word may be lost: what is latched is not endless
                account = self._accounts.setdefault(node, _Account())
                account.stamp = max(account.stamp, stamp)
                account.inputs = max(account.inputs, inputs)
                account.outputs = max(account.outputs, outputs)
            self._changed.notify_all()

    def _begin(self, node: str) -> None:
        account = self._accounts[node] = _Account()
        self._begun.add(node)
        if node == "controller":  # chunks of before were not for it, and it counts its commands anew
            self._received = self._forgiven["simulator"] = self._forgiven["controller"] = 0
            if "policy" in self._accounts:
                account.inputs = self._accounts["policy"].outputs

    def receive(self) -> None:
        """The simulator took in one command of the controller."""
        with self._changed:
            self._received += 1
            self._changed.notify_all()

    def missing(self, tick: float, image: float) -> list[str]:
        """Who has not yet handled the newest tick or image [s]; empty when time may go on."""
        waiting = []
        accounts = self._accounts
        for node in self._awaited:
            due = tick if node == "controller" else image
            if node in accounts and accounts[node].stamp < due - 1e-6:
                waiting.append(node)
        controller, policy = accounts.get("controller"), accounts.get("policy")
        if controller is not None and "controller" in self._awaited:
            if policy is not None and policy.outputs - controller.inputs > self._forgiven["controller"]:
                waiting.append("controller (a chunk is on its way)")
            if controller.outputs - self._received > self._forgiven["simulator"]:
                waiting.append("simulator (a command is on its way)")
        return waiting

    def wait_for_start(self) -> bool:
        """Block until every awaited node has announced itself; returns False if interrupted."""
        with self._changed:
            while not self._interrupted and not self._begun.issuperset(self._awaited):
                self._changed.wait(0.1)
            return not self._interrupted

    def wait(self, tick: float, image: float) -> list[str]:
        """Block until everything up to `tick` and `image` [s] has been handled.

        Returns:
            Who was given up after `patience_s`, with the reason in words; they
            are waited for again once they speak. Empty if all is well.
        """
        deadline = time.monotonic() + self._patience_s
        with self._changed:
            while not self._interrupted:
                waiting = self.missing(tick, image)
                if not waiting:
                    return []
                if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    self._give_up(waiting)
                    return waiting
        return []

    def interrupt(self) -> None:
        """Wake whoever waits; until `resume` nobody waits any more."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def resume(self) -> None:
        """Wait again as before; who had announced itself still has."""
        with self._changed:
            self._interrupted = False

    def _give_up(self, waiting: list[str]) -> None:
        for node in waiting:
            self._accounts.pop(node, None)
        controller, policy = self._accounts.get("controller"), self._accounts.get("policy")
        if controller is not None:
            self._forgiven["simulator"] = max(controller.outputs - self._received, 0)
            if policy is not None:
                self._forgiven["controller"] = max(policy.outputs - controller.inputs, 0)
