"""How long after its image each chunk of a running policy arrives."""

from __future__ import annotations

from rclpy.parameter import Parameter

from vla_adapter_ros.errors import NoAnswerError
from vla_adapter_ros.msg import ActionChunk
from vla_adapter_ros.nodes.conversions import seconds
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC, NEWEST

_CLOCK_WITHIN_S = 2.0


def measure_latency(client: RosClient, seconds_long: float) -> list[float]:
    """Latencies [s] of the chunks that arrive here meanwhile, in their order.

    Args:
        client: In the namespace of the robot, on the computer that moves the arm.
        seconds_long: How long to listen [s].

    Raises:
        NoAnswerError: no chunk came.
    """
    node, found = client.node, list[float]()

    def simulated() -> bool:
        return node.count_publishers("/clock") > 0

    def note(chunk: ActionChunk) -> None:
        if simulated() and not node.get_parameter("use_sim_time").value:  # it became known late
            node.set_parameters([Parameter("use_sim_time", value=True)])
            found.clear()
            return
        now = node.get_clock().now().nanoseconds * 1e-9
        if chunk.num_rows and now > 0.0:
            found.append(max(now - seconds(chunk.input_stamp), 0.0))

    if client.poll_until(simulated, _CLOCK_WITHIN_S):
        node.set_parameters([Parameter("use_sim_time", value=True)])

    client.subscribe(ActionChunk, CHUNK_TOPIC, note, NEWEST)
    client.poll_until(lambda: False, seconds_long, 0.1)
    if not found:
        raise NoAnswerError(
            f"no chunk came in {seconds_long:g} s: does a policy follow an instruction? "
            "`vla-adapter status` says why not",
            sent=False,
        )
    return found
