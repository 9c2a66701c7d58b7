"""The console beside a real controller: pictures, curves, Stop, and what happens without the console."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from bench import CONTRACT, HOME

pytest.importorskip("nicegui", reason="the console is not installed: pip install vla_adapter_ros[console]")
import simplejpeg
from console_page import free_port, open_page

from vla_adapter_ros.nodes.graph import NodeSpec


def ramp(rows: int = 60) -> np.ndarray:
    """A slow way of the first joint."""
    return HOME + np.arange(rows)[:, None] * 0.02 * np.eye(7)[0]


def test_pages_show_the_robot_and_stop_it_and_their_death_changes_nothing(bench, graph):
    port = free_port()
    bench.start_controller(graph)
    console = graph([NodeSpec("console", {"port": port})]).processes["console_node"]
    with open_page(port) as page:
        bench.send_chunk(ramp())
        assert bench.run_until(lambda: len(page.pictures) == 2 and len(page.texts) > 3), page.texts[-1:]
        image = simplejpeg.decode_jpeg(page.pictures[0][-1])
        camera = CONTRACT.cameras["third_view"]
        assert image.shape == (camera.height, camera.width, 3) and abs(float(image.mean()) - 90) < 3
        newest = page.texts[-1]
        assert newest["names"] == list(CONTRACT.action_names) and len(newest["chunk"]["rows"]) == 60
        first = newest["measured"][-1][1]
        assert first[7] == pytest.approx(1.0), "the open gripper, as the action has it"

        page.stop()
        assert bench.run_until(lambda: page.answers), "no answer to Stop"
        assert page.answers[0][1]["done"], page.answers
        assert bench.run_until(lambda: bench.received["controller/status"][-1].state == "stopped")
    console.send_signal(signal.SIGKILL)
    console.wait()
    before = len(bench.received["controller/status"])
    bench.run(0.5, "controller")
    assert len(bench.received["controller/status"]) > before


def test_a_console_that_hangs_or_dies_leaves_the_motion_alone(bench, graph):
    port = free_port()
    bench.start_controller(graph)
    console = graph([NodeSpec("console", {"port": port})]).processes["console_node"]
    with open_page(port) as page:
        bench.send_chunk(ramp())
        assert bench.run_until(lambda: len(page.texts) > 2)
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            console.send_signal(sign)
            before = bench.path[-1][0]
            bench.run(0.5, "controller")
            assert bench.path[-1][0] - before == pytest.approx(0.1, abs=0.03), sign
