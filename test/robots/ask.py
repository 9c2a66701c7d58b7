"""Ask the scripted human of a robot for something, and wait until it rests: `ask.py prepare demonstrate`."""

from __future__ import annotations

import sys
import time

import rclpy
from driven_robot import LATCHED
from std_msgs.msg import String
from std_srvs.srv import Trigger


def main(wishes: list[str]) -> int:
    """Call /operator/WISH one after the other; 1 where one is refused or nobody answers."""
    rclpy.init()
    node = rclpy.create_node("ask")
    states: list[str] = []
    node.create_subscription(String, "/operator/state", lambda message: states.append(message.data), LATCHED)
    for wish in wishes:
        client = node.create_client(Trigger, f"/operator/{wish}")
        if not client.wait_for_service(10.0):
            print(f"nobody serves /operator/{wish}")
            return 1
        states.clear()
        future = client.call_async(Trigger.Request())
        rclpy.spin_until_future_complete(node, future, timeout_sec=10.0)
        if not future.done() or not future.result().success:
            print(future.result().message if future.done() else "no answer")
            return 1
        deadline = time.monotonic() + 60.0
        while (not states or states[-1] != "resting") and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        print(f"{wish}: done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
