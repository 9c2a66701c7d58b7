"""The process of a node, from its start to the signal that ends it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.graph import END_WITH_PARENT, graph_environment

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run(make_node: Callable[[], ManagedNode[Any]], simulate: bool = False) -> int:
    """Run a node until SIGINT or SIGTERM.

    rclpy's own handlers would end the context at once, under threads that still
    publish. Here the callbacks run in a thread, the main thread waits for the
    signal, and the context ends last.

    Args:
        make_node: The class of the node.
        simulate: Whether it is for this computer alone, where whoever starts it has not decided that. With
            `ros2 run`, ROS's own network settings hold for every node but the simulator.

    Returns:
        Exit status: 1 if autostart was asked for and the configuration or the activation failed.
    """
    ended = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    if os.environ.get(END_WITH_PARENT) and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.environ.update(graph_environment(simulate))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = make_node()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor, node, ended), name="callbacks", daemon=True)
    try:
        if node.get_parameter("autostart").value:
            for transition in (node.trigger_configure, node.trigger_activate):
                if transition() != TransitionCallbackReturn.SUCCESS:
                    return 1
        thread.start()
        ended.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for sign in (signal.SIGINT, signal.SIGTERM):  # a second one must not spoil the orderly end
            signal.signal(sign, signal.SIG_IGN)
        ended.set()
        executor.shutdown()
        if thread.ident is not None:
            thread.join()
        node.end()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _spin(executor: SingleThreadedExecutor, node: ManagedNode[Any], ended: threading.Event) -> None:
    """Execute callbacks to the end. An error that gets here is not of our own callbacks; it ends nothing."""
    while executor.context.ok() and not ended.is_set():
        try:
            executor.spin()
        except ExternalShutdownException:
            break
        except Exception as error:
            if executor.context.ok() and not ended.is_set():
                node.faults.report("callback", repr(error), traceback.format_exc())
                ended.wait(0.02)  # should it be a lasting one
    ended.set()
