"""Real nodes in processes of their own; skipped where ROS 2 is not installed."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from bench import CONTRACT, Bench

from vla_adapter_ros.nodes.process_runner import GraphRunner


@pytest.fixture(scope="session", autouse=True)
def ros_home(tmp_path_factory):
    """Where nodes save their capsules: not in the home folder of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("ros_home")
        patch.setenv("ROS_HOME", str(folder))
        yield folder


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture
def graph(tmp_path):
    """Start nodes: `graph([NodeSpec, ...])`; they are stopped after the test."""
    with ExitStack() as running:
        yield lambda nodes: running.enter_context(GraphRunner(nodes, tmp_path / "logs"))


@pytest.fixture(scope="module")
def shared_bench():
    """One bench for all tests of a module, for nodes that take long to start."""
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def shared_graph(tmp_path_factory):
    """As `graph`, for all tests of a module."""
    with ExitStack() as running:
        yield lambda nodes: running.enter_context(GraphRunner(nodes, tmp_path_factory.mktemp("logs")))


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory):
    """A tiny policy with random weights and plain statistics for the simulated Franka."""
    import torch

    from vla_adapter_ros.model import Statistics, Tokenizer, VlaAdapter, VlaAdapterPolicy, preset

    torch.manual_seed(0)
    config = preset("tiny", num_images=2, action_dim=8, proprio_dim=11, chunk=8)
    backbone = VlaAdapterPolicy(VlaAdapter(config), config, Tokenizer.from_words())

    def plain(center):
        spread = {"mean": 0.0, "std": 0.1, "min": -0.1, "max": 0.1, "q01": -0.1, "q99": 0.1}
        return {key: [c + v if key != "std" else v for c in center] for key, v in spread.items()}

    home = [0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8]
    statistics = Statistics.from_dict(
        "bench", {"action": plain([*home, 1.0]), "proprio": plain([*home, 0.04, 0.5, 0.0, 0.2])}
    )
    policy = backbone.with_new_head(
        action_dim=8, proprio_dim=11, chunk=8, statistics=statistics, contract=CONTRACT
    )
    path = tmp_path_factory.mktemp("checkpoint") / "random_tiny"
    policy.save_pretrained(path)
    return path
