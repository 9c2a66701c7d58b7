"""How long after its image each chunk of a running policy arrives."""

from __future__ import annotations

import time

from rclpy.parameter import Parameter

from vla_adapter_ros.errors import NoAnswerError
from vla_adapter_ros.msg import ActionChunk
from vla_adapter_ros.nodes.conversions import seconds
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC, NEWEST

_CLOCK_WITHIN_S = 0.5


def measure_latency(client: RosClient, seconds_long: float) -> list[float]:
    """Latencies [s] of the chunks that arrive here meanwhile, in their order.

    Args:
        client: In the namespace of the robot, on the computer that moves the arm.
        seconds_long: How long to listen [s].

    Raises:
        NoAnswerError: no chunk came.
    """
    node, found = client.node, list[float]()
    time.sleep(_CLOCK_WITHIN_S)  # until publishers are known
    if node.count_publishers(node.resolve_topic_name("/clock")):
        node.set_parameters([Parameter("use_sim_time", value=True)])

    def note(chunk: ActionChunk) -> None:
        if chunk.num_rows:
            now = node.get_clock().now().nanoseconds * 1e-9
            found.append(max(now - seconds(chunk.input_stamp), 0.0))

    client.subscribe(ActionChunk, CHUNK_TOPIC, note, NEWEST)
    client.poll_until(lambda: False, seconds_long, 0.1)
    if not found:
        raise NoAnswerError(
            f"no chunk came in {seconds_long:g} s: does a policy follow an instruction? "
            "`vla-adapter status` says why not",
            sent=False,
        )
    return found
