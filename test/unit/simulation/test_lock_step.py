"""Lock step: time waits for acknowledgments, and gives up with a reason."""

from __future__ import annotations

import threading

from vla_adapter_ros.simulation.lock_step import LEAVING_S, LockStep


def make(patience_s=0.05):
    lock_step = LockStep(("controller", "policy"), patience_s)
    for node in ("controller", "policy"):
        lock_step.acknowledge(node, 0.0, 0, 0)
    return lock_step


def test_waits_for_ticks_images_and_messages_under_way():
    lock_step = make()
    lock_step.acknowledge("controller", 0.02, 0, 0)
    lock_step.acknowledge("policy", 0.01, 0, 0)
    assert lock_step.missing(0.02, 0.01) == []
    assert lock_step.missing(0.03, 0.01) == ["controller"]
    assert lock_step.missing(0.02, 0.02) == ["policy"]
    lock_step.acknowledge("policy", 0.02, 0, 1)  # published a chunk that is not there yet
    assert "a chunk is on its way" in lock_step.missing(0.02, 0.02)[0]
    lock_step.acknowledge("controller", 0.02, 1, 2)  # took it, sent two commands
    assert "a command is on its way" in lock_step.missing(0.02, 0.02)[0]
    lock_step.receive()
    lock_step.receive()
    assert lock_step.missing(0.02, 0.02) == []


def test_gives_up_and_waits_again_once_the_node_speaks():
    lock_step = make()
    lock_step.acknowledge("controller", 0.01, 0, 0)
    assert lock_step.wait(0.01, 0.01) == ["policy"]
    assert lock_step.wait(0.01, 0.01) == []
    lock_step.acknowledge("policy", 0.01, 0, 0)
    assert lock_step.missing(0.01, 0.02) == ["policy"]


def test_restarted_node_does_not_block():
    lock_step = make()
    lock_step.acknowledge("policy", 0.01, 0, 5)
    lock_step.acknowledge("controller", 0.01, 5, 0)
    lock_step.acknowledge("controller", 0.0, 0, 0)  # began anew: has taken nothing
    assert lock_step.missing(0.01, 0.01) == ["controller"]
    lock_step.acknowledge("controller", 0.01, 0, 0)
    assert lock_step.missing(0.01, 0.01) == []
    lock_step.acknowledge("policy", 0.01, 0, 6)
    assert "a chunk is on its way" in lock_step.missing(0.01, 0.01)[0]
    lock_step.acknowledge("controller", 0.01, 6, 1)  # counts its commands anew
    assert "a command is on its way" in lock_step.missing(0.01, 0.01)[0]
    lock_step.receive()
    assert lock_step.missing(0.01, 0.01) == []


def test_nobody_waits_for_a_node_that_left():
    lock_step = make()
    lock_step.acknowledge("controller", 0.01, 0, 3)
    lock_step.acknowledge("controller", LEAVING_S, 0, 0)
    lock_step.acknowledge("policy", LEAVING_S, 0, 0)
    assert lock_step.missing(0.02, 0.02) == []
    assert lock_step.wait_for_start()  # both had begun
    lock_step.acknowledge("policy", 0.0, 0, 0)
    assert lock_step.missing(0.02, 0.02) == ["policy"]


def test_wakes_when_the_acknowledgement_comes():
    lock_step = make(patience_s=30.0)
    lock_step.acknowledge("policy", 0.01, 0, 0)
    timer = threading.Timer(0.05, lock_step.acknowledge, ("controller", 0.01, 0, 0))
    timer.start()
    assert lock_step.wait(0.01, 0.01) == []
