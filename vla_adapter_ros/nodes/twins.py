"""Whether another living node of the same name runs, such as that of a forgotten second bring-up.

A node that was killed stays in the graph for up to 20 s. Its name alone says
nothing, therefore: who lives answers, or starts at this moment and says so.
"""

from __future__ import annotations

import os
import time

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

DISCOVERY_S = 0.5  # until a new node knows of the others
PATIENCE_S = 1.5
PAUSE_S = 0.3  # between two questions
CLAIM_QOS = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def has_live_twin(node: Node, born: float) -> bool:
    """Ask every node of this name whether it lives.

    To be called while the node's own executor cannot answer: in a transition,
    or before it spins. Of two nodes that ask each other at the same time, the
    older one stays. Without a second name in the graph it costs nothing but
    the rest of DISCOVERY_S.

    Args:
        node: The node that wants to become active.
        born: When it was made, by the steady clock [s].
    """
    me = (node.get_name(), node.get_namespace())
    while node.get_node_names_and_namespaces().count(me) < 2:
        if time.monotonic() - born >= DISCOVERY_S:
            return False
        time.sleep(0.05)
    executor = SingleThreadedExecutor(context=node.context)
    probe = Node(
        f"_{node.get_name()}_probe",
        namespace=node.get_namespace(),
        context=node.context,
        use_global_arguments=False,  # else a `__node:=` would give it the same name again
        start_parameter_services=False,
        enable_rosout=False,
    )
    try:
        executor.add_node(probe)
        return _somebody_answers(probe, executor, node.get_fully_qualified_name(), born)
    finally:
        executor.shutdown()
        probe.destroy_node()


def _somebody_answers(probe: Node, executor: SingleThreadedExecutor, name: str, born: float) -> bool:
    # On one machine all steady clocks are one clock. The process number decides between two of one age.
    claim = f"{born:020.6f} {os.getpid():010d}"
    older: list[str] = []
    probe.create_subscription(
        String, f"{name}/_claim", lambda m: older.append(m.data) if m.data < claim else None, CLAIM_QOS
    )
    claims = probe.create_publisher(String, f"{name}/_claim", CLAIM_QOS)
    claims.publish(String(data=claim))
    client = probe.create_client(GetState, f"{name}/get_state")
    deadline, asked = time.monotonic() + PATIENCE_S, []
    while time.monotonic() < deadline and not older:
        asked.append(client.call_async(GetState.Request()))
        executor.spin_until_future_complete(asked[-1], PAUSE_S)
        answers = [future.result().current_state.id for future in asked if future.done()]
        if any(state != State.PRIMARY_STATE_FINALIZED for state in answers):
            return True
    return bool(older)
