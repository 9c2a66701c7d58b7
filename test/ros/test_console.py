"""The console beside a real controller: pictures, curves, Stop, and what happens without the console."""

from __future__ import annotations

import json
import signal
import struct

import numpy as np
import psutil
import pytest
from bench import CONTRACT, HOME

pytest.importorskip("nicegui", reason="the console is not installed: pip install vla_adapter_ros[console]")
import simplejpeg

from vla_adapter_ros.benchmarks.console_viewer import ConsoleViewer, free_port
from vla_adapter_ros.nodes.graph import NodeSpec


def ramp(rows: int = 60) -> np.ndarray:
    """A slow way of the first joint."""
    return HOME + np.arange(rows)[:, None] * 0.02 * np.eye(7)[0]


def test_a_page_shows_the_robot_and_stops_it(bench, graph):
    port = free_port()
    bench.start_controller(graph)
    graph([NodeSpec("console", {"port": port})])
    with ConsoleViewer(port) as page:

        def is_shown() -> bool:
            newest = page.texts[-1] if page.texts else {"chunk": None}
            if not newest["chunk"]:  # a page hears chunks from when it is open, as a policy goes on sending
                bench.send_chunk(ramp())
                return False
            return bool(len(page.newest) == 2 and newest["measured"])

        assert bench.run_until(is_shown), page.texts[-1]
        image = simplejpeg.decode_jpeg(page.newest[0])
        camera = CONTRACT.cameras["third_view"]
        assert image.shape == (camera.height, camera.width, 3) and abs(float(image.mean()) - 90) < 3
        newest = page.texts[-1]
        assert newest["names"] == list(CONTRACT.action_names) and len(newest["chunk"]["rows"]) == 60
        first = newest["measured"][-1][1]
        assert first[7] == pytest.approx(1.0), "the open gripper, as the action has it"

        page.stop()
        assert bench.run_until(lambda: page.answers), "no answer to Stop"
        if not (answer := page.answers[0][1])["done"]:  # on a busy computer the controller is not found yet
            assert "tried for 10 s more" in answer["text"]
        assert bench.run_until(lambda: bench.received["controller/status"][-1].state == "stopped")


def test_only_this_computer_can_reach_what_listens(bench, graph):
    bench.start_controller(graph)
    ports = free_port(), free_port()
    nodes = [NodeSpec("console", {"port": ports[0], "foxglove": True, "foxglove_port": ports[1]})]
    processes = graph(nodes).processes
    ConsoleViewer(ports[0]).close()  # it serves
    process = psutil.Process(processes["console_node"].pid)
    sockets = [s for p in (process, *process.children(recursive=True)) for s in p.net_connections("tcp")]
    listening = {(s.laddr.ip, s.laddr.port) for s in sockets if s.status == psutil.CONN_LISTEN}
    assert listening == {("127.0.0.1", port) for port in ports}


def test_foxglove_sees_the_robot(bench, graph):
    pytest.importorskip("foxglove", reason="pip install vla_adapter_ros[foxglove]")
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import Image, JointState
    from websockets.sync.client import connect

    ports = free_port(), free_port()
    bench.start_controller(graph)
    graph([NodeSpec("console", {"port": ports[0], "foxglove": True, "foxglove_port": ports[1]})])
    ConsoleViewer(ports[0]).close()
    with connect(f"ws://localhost:{ports[1]}", subprotocols=["foxglove.sdk.v1"]) as line:
        channels: dict[str, dict] = {}
        while "/controller/status" not in channels:
            said = json.loads(line.recv(timeout=30))
            channels |= {c["topic"]: c for c in said.get("channels", [])}
        wanted = {"/camera/third_view": Image, "/joint_states": JointState}
        places = [channels[topic]["id"] for topic in wanted]
        subscriptions = [{"id": n, "channelId": place} for n, place in enumerate(places)]
        line.send(json.dumps({"op": "subscribe", "subscriptions": subscriptions}))
        came: dict[int, bytes] = {}

        def is_shown() -> bool:
            try:
                while True:
                    data = line.recv(timeout=0)
                    if isinstance(data, bytes) and data[0] == 1:  # message data
                        came[struct.unpack_from("<I", data, 1)[0]] = data[13:]
            except TimeoutError:
                return len(came) == len(wanted)

        assert bench.run_until(is_shown), channels
        image, joints = (deserialize_message(came[n], kind) for n, kind in enumerate(wanted.values()))
        camera = CONTRACT.cameras["third_view"]
        assert (image.height, image.width) == (camera.height, camera.width)
        assert set(joints.name) >= set(CONTRACT.arm_joints)
        line.send(json.dumps({"op": "advertise", "channels": []}))  # viewers cannot send anything


def test_a_console_that_hangs_or_dies_leaves_the_motion_alone(bench, graph):
    port = free_port()
    bench.start_controller(graph)
    console = graph([NodeSpec("console", {"port": port})]).processes["console_node"]
    with ConsoleViewer(port) as page:
        assert bench.until(lambda: bench.chunks.get_subscription_count() == 3)
        bench.send_chunk(ramp())
        assert bench.run_until(lambda: len(page.texts) > 2)
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            console.send_signal(sign)
            before = bench.path[-1][0]
            bench.run(0.5, "controller")
            assert bench.path[-1][0] - before == pytest.approx(0.1, abs=0.03), sign
