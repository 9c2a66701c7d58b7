"""A suite's episodes through the real node graph: policy, DDS, controller and simulator."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vla_adapter_ros.choices import SuiteName
from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.cli.scene_watch import SceneWatch, follow_plan
from vla_adapter_ros.cli.world_through_nodes import WorldBridge, world_nodes
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.conditions import Conditions
from vla_adapter_ros.evaluation.episode_journal import EpisodeJournal
from vla_adapter_ros.evaluation.libero import adopt
from vla_adapter_ros.evaluation.libero_suite import LiberoSuite
from vla_adapter_ros.evaluation.metaworld import MetaWorldSuite
from vla_adapter_ros.evaluation.suite import Plan, Result, TableSuite, result_of
from vla_adapter_ros.evaluation.suite_result import Shard, suite_result
from vla_adapter_ros.evaluation.suites import make_suite, table_suite
from vla_adapter_ros.nodes.graph import NodeSpec, node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.simulation.worlds.environments import world_python
from vla_adapter_ros.simulation.worlds.process import WorldProcess
from vla_adapter_ros.system_info import describe_system


def evaluate_through_nodes(
    wanted: Conditions,
    *,
    shard: Shard = Shard(),  # noqa: B008 - frozen
    device: str = "auto",
    journal: Path | None = None,
    logs: Path | None = None,
    report: Callable[[Result], None] = lambda result: None,
) -> dict[str, Any]:
    """Do a suite's episodes as `evaluate_suite`, by nodes in lock step.

    Args:
        wanted: What is to be done.
        shard: Which part of the episodes.
        device: Where the policy computes.
        journal: As there.
        logs: Folder for the nodes' logs.
        report: As there.

    Returns:
        As there; the conditions say that it went through the nodes.

    Raises:
        ParameterError: a control, which nodes do not have; or see `EpisodeJournal`.
        ServiceError, ProcessError: the graph did not work.
    """
    if wanted.control != "none":
        raise ParameterError(f"control = {wanted.control} through the nodes: allowed is none")
    if wanted.suite.endswith("_perturbed"):
        raise ParameterError(f"suite = {wanted.suite} through the nodes: allowed are those not perturbed")
    started = time.monotonic()
    if SuiteName(wanted.suite).is_libero:
        contract = read_contract(LiberoSuite.contract_name)
    else:
        contract = read_contract(wanted.contract or Path(wanted.checkpoint) / "contract.yaml")
    suite = make_suite(wanted.suite, contract)
    plans = suite.plans(wanted.episodes, wanted.seed)
    kept_under = asdict(wanted) | {"through_nodes": True}
    results: list[Result] = []
    with EpisodeJournal(journal, kept_under | {"shard": str(shard)}) as kept:
        for result in kept.results:
            results.append(result)
            report(result)
        done = {result.number for result in results}
        left = [plans[number] for number in shard.numbers(wanted.episodes) if number not in done]
        if left:
            with _graph_of(SuiteName(wanted.suite))(wanted, contract, device, logs) as run:
                for plan in left:
                    result = run(plan)
                    kept.add(result)
                    results.append(result)
                    report(result)
    results.sort(key=lambda result: result.number)
    return suite_result(kept_under, shard, suite, results) | {
        "device": device,
        "jobs": 1,
        "wall_s": round(time.monotonic() - started, 1),
        "host": describe_system(),
    }


@contextmanager
def _table_graph(
    wanted: Conditions, contract: Contract, device: str, logs: Path | None
) -> Iterator[Callable[[Plan], Result]]:
    suite = table_suite(wanted.suite, contract)
    with (
        GraphRunner(_nodes(wanted, device, suite.table), logs) as graph,
        GraphClient(contract, graph.check_alive, watch_joints=True) as client,
    ):
        yield lambda plan: _run(client, contract, suite, plan, wanted)


@contextmanager
def _metaworld_graph(
    wanted: Conditions, contract: Contract, device: str, logs: Path | None
) -> Iterator[Callable[[Plan], Result]]:
    robot = str(Path(wanted.checkpoint) / "contract.yaml")
    with _world_graph(wanted, contract, MetaWorldSuite(), world_nodes(wanted, robot, device), logs) as run:
        yield run


@contextmanager
def _libero_graph(
    wanted: Conditions, contract: Contract, device: str, logs: Path | None
) -> Iterator[Callable[[Plan], Result]]:
    suite = LiberoSuite(SuiteName(wanted.suite))
    with TemporaryDirectory(prefix="vla_adapter_libero_") as folder:
        horizon = adopt(wanted.checkpoint, wanted.suite, Path(folder))
        adopted = dataclasses.replace(wanted, checkpoint=folder)
        nodes = world_nodes(adopted, suite.contract_name, device, horizon)
        with _world_graph(wanted, contract, suite, nodes, logs) as run:
            yield run


@contextmanager
def _world_graph(
    wanted: Conditions,
    contract: Contract,
    suite: MetaWorldSuite | LiberoSuite,
    nodes: list[NodeSpec],
    logs: Path | None,
) -> Iterator[Callable[[Plan], Result]]:
    sizes = {name: camera.size for name, camera in contract.cameras.items()}
    longest_steps = round(wanted.longest_s / suite.step_s)
    with (
        WorldProcess(world_python(suite.environment), suite.child, sizes, renderer=wanted.renderer) as world,
        GraphRunner(nodes, logs, simulate=True) as graph,
        WorldBridge(contract, world, suite, graph.check_alive) as bridge,
    ):

        def run(plan: Plan) -> Result:
            driven = bridge.run(plan, longest_steps)
            told = dataclasses.replace(plan, instruction=driven.instruction)
            return result_of(told, driven.judge, "", driven.steps * suite.step_s, driven.chunks)

        yield run


def _graph_of(suite: SuiteName) -> Callable[..., AbstractContextManager[Callable[[Plan], Result]]]:
    if suite.is_libero:
        return _libero_graph
    return _table_graph if suite.is_at_table else _metaworld_graph


def _nodes(wanted: Conditions, device: str, table: str) -> list[NodeSpec]:
    nodes = node_list(
        contract=wanted.contract or "franka_sim",
        checkpoint=wanted.checkpoint,
        lock_step=True,
        renderer=wanted.renderer,
        device=device,
        speed=wanted.speed,
        client=True,
        table=table,
    )
    late = {"added_latency_s": wanted.latency_s}
    return [
        dataclasses.replace(node, parameters=node.parameters | late) if node.kind == "policy" else node
        for node in nodes
    ]


def _run(
    client: GraphClient, contract: Contract, suite: TableSuite, plan: Plan, wanted: Conditions
) -> Result:
    watch = SceneWatch(client, contract, suite.judge(plan))
    client.reset(plan.scene)
    return follow_plan(client, watch, plan, wanted.longest_s / wanted.speed)
