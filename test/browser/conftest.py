"""A real browser in front of a console with real nodes behind it; skipped where one of them is not here."""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")
pytest.importorskip("playwright", reason="no playwright here: make test-browser brings it")

from operator_page import ROBOT, SCENE, OperatorPage

from vla_adapter_ros.benchmarks import console_browser
from vla_adapter_ros.benchmarks.console_viewer import free_port
from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.contract import read_contract, write_contract
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner


@pytest.fixture(scope="session")
def chromium():
    if not console_browser.chromium_path():
        pytest.skip("no Chromium here: apt-get install chromium, or name one with CHROMIUM=PATH")
    with console_browser.chromium() as browser:
        yield browser


class LockStepTime:
    """Holds the lock step back: a scene comes with each image, ten times a simulated second.

    Attributes:
        scene_s: Wall time that a scene lasts at least [s].
    """

    def __init__(self) -> None:
        self.scene_s, self._next = 0.0, 0.0

    def __call__(self, stream: str, message: Any) -> None:
        if stream == "scene":
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + self.scene_s


@pytest.fixture(scope="session")
def robot(tmp_path_factory):
    """The simulated Franka with its policy, a recorder and a console; `robot.url` is the console's."""
    folder = tmp_path_factory.mktemp("console")
    port = free_port()
    shipped = read_contract("franka_sim")
    write_contract(dataclasses.replace(shipped, name=ROBOT), folder / "franka.yaml")
    nodes = node_list(
        contract=str(folder / "franka.yaml"),
        lock_step=True,
        seed=SCENE,
        client=True,
        console=True,
        record=str(folder / "recorded"),
        runs=str(folder),
    )
    for node in nodes:
        if node.kind == "console":
            node.parameters["port"] = port
    with GraphRunner(nodes, folder / "logs") as graph:
        with GraphClient(shipped, graph.check_alive) as client:
            client.on_message = client.time = LockStepTime()
            client.url, client.dataset = f"http://localhost:{port}/", Path(folder / "recorded")
            yield client


@pytest.fixture
def open_page(chromium, robot):
    """Open a page: `open_page(size=(width, height))`; all are closed after the test."""
    with ExitStack() as opened:

        def open_one(**options) -> OperatorPage:
            page = OperatorPage(chromium, robot.url, **options)
            opened.callback(page.close)
            return page

        yield open_one


@pytest.fixture
def page(open_page):
    """A page that operates the robot."""
    return open_page()
