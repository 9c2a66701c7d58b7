"""Every lifecycle transition has its effect, twice round, and leaves nothing behind; nodes over DDS."""

from __future__ import annotations

import time

import numpy as np
import pytest
import rclpy
from bench import CONTRACT, HOME
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle import Lifecycle
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from robots import contract_file
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.nodes.conversions import command_message, seconds
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.srv import Instruct, ResetScene, StartEpisode


@pytest.fixture
def twice_round(bench, graph):
    """Lead a node twice through everything: `twice_round(kind, **parameters)`; it is active again then."""

    def lead(kind: str, **parameters) -> Lifecycle:
        own = {"autostart": False, "lock_step": True, "use_sim_time": kind != "simulator"} | parameters
        graph([NodeSpec(kind, own)])
        life = Lifecycle(bench, f"{kind}_node")
        assert life.state() == "unconfigured"
        bare = life.settled()
        life.go("configure")
        wanted = life.settled()
        assert set(wanted.values()) == {1} and len(wanted) > len(bare) + 5
        life.go("activate", "deactivate", "cleanup")
        life.require(bare)
        life.go("configure", "activate", "deactivate", "activate")
        life.require(wanted)
        return life

    return lead


def ramp(speed: float, rows: int = 20) -> np.ndarray:
    return HOME + np.arange(rows)[:, None] * speed / CONTRACT.rate_hz * np.eye(7)[0]


def test_controller(bench, twice_round):
    life = twice_round("controller", armed=True)
    bench.run(0.2, "controller")
    bench.send_chunk(ramp(0.3))
    bench.run(0.5, "controller")
    stamps = [seconds(message.header.stamp) for message in bench.received["trajectory"]]
    assert len(stamps) > 5 and len(set(stamps)) == len(stamps)  # one sender
    assert bench.newest("controller/status").state == "running"
    assert np.abs(bench.velocity_of_arm()[-10:, 0]).max() > 0.1

    life.go("deactivate")  # in motion
    begin = len(bench.path)
    bench.run(1.0)
    assert not bench.velocity_of_arm()[-20:].any()
    assert bench.path[-1][0] - bench.path[begin][0] < 0.1  # it had 1.5 s to go at 0.3 rad/s
    count = len(bench.received["trajectory"]), len(bench.received["controller/status"])
    refused = bench.call(Trigger, "controller_node/arm", Trigger.Request())
    assert not refused.success and "inactive" in refused.message
    bench.send_chunk(ramp(0.3), instruction_id=2)  # given too early
    life.go("activate")
    bench.run(0.3, "controller")
    bench.send_chunk(ramp(0.3), instruction_id=2)
    bench.run(0.3, "controller")
    assert bench.newest("controller/status").state == "idle"
    assert len(bench.received["trajectory"]) == count[0] and not bench.velocity_of_arm()[-60:].any()
    here = bench.path[-1] - HOME
    bench.send_chunk(ramp(0.3) + here, instruction_id=3)
    bench.run(0.5, "controller")
    assert bench.newest("controller/status").state == "running"


def test_stop_outlasts_a_deactivation(bench, graph):
    bench.start_controller(graph)
    life = Lifecycle(bench, "controller_node")
    assert bench.call(Trigger, "controller_node/stop", Trigger.Request()).success
    life.go("deactivate", "activate")
    bench.run(0.2, "controller")
    assert bench.newest("controller/status").state == "stopped"


def test_inactive_controller_takes_no_joint_states(bench, graph):
    bench.start_controller(graph)
    bench.watch(DiagnosticArray, "/diagnostics")
    life = Lifecycle(bench, "controller_node")
    bench.joint_override = {"fr3_joint3": float("nan")}

    def reports() -> str:
        bench.received["/diagnostics"].clear()
        assert bench.until(lambda: len(bench.received["/diagnostics"]) >= 2)
        return " ".join(s.message for m in bench.received["/diagnostics"] for s in m.status)

    life.go("deactivate")
    bench.run(0.2)
    assert set(reports().split()) == {"inactive"}
    life.go("activate")
    bench.run(0.2, "controller")
    bench.send_chunk(ramp(0.3))
    bench.run(0.1, "controller")
    assert "joint state" in reports()


@pytest.mark.parametrize("command", ["joint_trajectory", "forward_position", "forward_velocity"])
def test_shutdown_in_motion_brings_the_arm_to_rest(bench, graph, tmp_path, command):
    path = contract_file(tmp_path, command={"type": command, "topic": "/arm/command"})
    life = Lifecycle(bench, "controller_node")
    bench.watch(Float64MultiArray, "/arm/command")
    if command == "joint_trajectory":
        path = "franka_sim"
    bench.start_controller(graph, contract=str(path))
    bench.send_chunk(ramp(0.3))
    bench.run(0.5, "controller")
    assert bench.newest("controller/status").state == "running"
    life.go("shutdown")
    assert life.state() == "finalized"
    bench.run(0.1)
    time.sleep(0.3)  # what was on its way
    counts = {topic: len(messages) for topic, messages in bench.received.items()}
    bench.run(1.0)
    time.sleep(0.3)
    assert {topic: len(messages) for topic, messages in bench.received.items()} == counts
    sent = bench.received["/arm/command"]
    if command == "joint_trajectory":
        last = bench.received["trajectory"][-1].points[-1]
        assert not any(last.velocities) and not bench.velocity_of_arm()[-20:].any()
        assert bench.path[-1][0] < HOME[0] + 0.25  # and not where the chunk went
    elif command == "forward_position":
        assert 0 <= sent[-1].data[0] - sent[-2].data[0] < 0.01  # where it was, and it stays there
    else:
        assert max(sent[-2].data) > 0.1 and not any(sent[-1].data)


@pytest.mark.slow
def test_policy(bench, twice_round, random_checkpoint):
    twice_round("policy", checkpoint=str(random_checkpoint), require_controller=False)
    bench.run(0.3, "policy")
    assert not bench.received["action_chunk"]
    bench.instruct("pick up the red cube")
    bench.run(1.0, "policy")
    chunks = bench.received["action_chunk"]
    assert bench.until(lambda: len(chunks) == 3)
    assert [chunk.instruction_id for chunk in chunks] == [1, 1, 1]  # one /instruct, one instruction
    assert len({chunk.session_id for chunk in chunks}) == 1


def test_deactivated_policy_ends_its_instruction(bench, graph, random_checkpoint):
    parameters = {"use_sim_time": True, "lock_step": True, "require_controller": False}
    graph([NodeSpec("policy", parameters | {"checkpoint": str(random_checkpoint)})])
    bench.wait_for("policy")
    bench.run(0.3, "policy")
    bench.instruct("pick up the red cube")
    bench.run(0.3, "policy")
    life, chunks = Lifecycle(bench, "policy_node"), bench.received["action_chunk"]
    assert bench.until(lambda: chunks)
    life.go("deactivate")
    assert bench.until(lambda: chunks[-1].num_rows == 0)
    refused = bench.call(Instruct, "instruct", Instruct.Request(instruction="pick up the red cube"))
    assert not refused.accepted and "inactive" in refused.message
    life.go("activate")
    count = len(chunks)
    bench.run(1.0, "policy")
    assert len(chunks) == count  # the old instruction is over
    bench.instruct("pick up the red cube")
    bench.run(0.2, "policy")
    assert bench.until(lambda: len(chunks) == count + 1)
    life.go("shutdown")
    bench.run(0.5)
    assert len(chunks) == count + 2 and chunks[-1].num_rows == 0


def test_recorder(bench, twice_round, tmp_path):
    life = twice_round("recorder", dataset=str(tmp_path / "d"))
    commands = bench.node.create_publisher(JointState, CONTRACT.action.topic, 10)

    def live(seconds_: float) -> None:
        for _ in range(round(seconds_ / 0.01)):
            row = np.append(HOME, 1.0)
            commands.publish(command_message(row, CONTRACT.action_names, bench.now + 0.01))
            bench.run(0.01, "recorder")

    live(0.5)
    for task in ("first", "second"):
        answer = bench.call(
            StartEpisode, "recorder_node/start_episode", StartEpisode.Request(instruction=task)
        )
        assert answer.accepted, answer.message
        live(1.5)
        life.go(*(("deactivate", "activate") if task == "first" else ()))  # which discards the first
        live(0.3)
    bench.call(Trigger, "recorder_node/stop_episode", Trigger.Request())
    bench.call(Trigger, "recorder_node/save_pending", Trigger.Request())  # nothing moved: the verdict
    life.go("deactivate", "cleanup")
    reader = DatasetReader(tmp_path / "d")
    assert reader.num_episodes == 1 and reader.task_of(0) == "second"


def one_clock(ticks: list[float]) -> bool:
    """Whether time goes on tick by tick; a busy computer may lose some on their way."""
    steps = np.diff(ticks) / 0.01
    return bool(np.allclose(steps, steps.round()) and (steps > 0.5).all() and (steps < 50).all())


def test_simulator(bench, twice_round):
    ticks = []
    bench.node.create_subscription(Clock, "/clock", lambda m: ticks.append(seconds(m.clock)), 10)
    life = twice_round("simulator", lock_step=False, renderer="raycast")
    ticks.clear()
    assert bench.until(lambda: len(ticks) > 20)
    assert one_clock(ticks)
    life.go("deactivate")
    count = len(ticks)
    refused = bench.call(ResetScene, "simulator/reset", ResetScene.Request(seed=1))
    assert not refused.success and "inactive" in refused.message
    assert len(ticks) <= count + 1  # what was on its way
    before = ticks[-1]
    life.go("activate")
    assert bench.until(lambda: ticks[-1] > before + 0.2)
    assert one_clock(ticks)  # time went on where it stood
    life.go("shutdown")
    count = len(ticks)
    bench.call(DescribeParameters, "simulator_node/describe_parameters", DescribeParameters.Request())
    assert len(ticks) <= count + 1


def test_twin_on_this_machine_does_not_become_active(bench, graph, tmp_path):
    bench.start_controller(graph)
    second = graph([NodeSpec("controller", {"use_sim_time": True})])
    assert second.processes["controller_node"].wait(30) == 1
    log = (tmp_path / "logs" / "controller_node.log").read_text()
    assert "another node named /controller_node runs already" in log
    assert Lifecycle(bench, "controller_node").state() == "active"


def test_twin_that_answers_keeps_a_node_from_becoming_active(bench, graph):
    graph([NodeSpec("controller", {"use_sim_time": True, "autostart": False})])
    life = Lifecycle(bench, "controller_node")
    life.go("configure")
    twin = rclpy.create_node("controller_node")  # as on another machine
    state = State(id=State.PRIMARY_STATE_ACTIVE)

    def answer(_, response: GetState.Response) -> GetState.Response:
        response.current_state = state
        return response

    twin.create_service(GetState, "~/get_state", answer)
    bench.spin_also(twin)
    assert bench.until(lambda: bench.node.get_node_names().count("controller_node") == 2)
    time.sleep(0.3)
    assert not life.tries("activate")
    state.id = State.PRIMARY_STATE_FINALIZED
    life.go("activate")


def test_predecessor_that_was_killed_hinders_nobody(bench, graph):
    spec = NodeSpec("controller", {"use_sim_time": True, "lock_step": True})
    first = graph([spec]).processes["controller_node"]
    bench.wait_for("controller")
    first.kill()
    first.wait()
    bench.acks.clear()
    runner = graph([spec])  # while the graph still has the dead one
    bench.wait_for("controller")
    runner.check_alive()


def test_parameters_are_described_with_ranges_and_choices(bench, graph):
    graph([NodeSpec("controller", {"autostart": False})])
    names = ["rate_hz", "publish_every", "gripper_max_effort", "mode", "armed"]
    request = DescribeParameters.Request(names=names)
    answer = bench.call(DescribeParameters, "controller_node/describe_parameters", request)
    rate, every, effort, mode, armed = answer.descriptors
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (50.0, 500.0)
    assert (every.integer_range[0].from_value, every.integer_range[0].to_value) == (1, 20)
    assert effort.floating_point_range[0].from_value == 0.0
    assert effort.additional_constraints == "at least 0"
    assert mode.additional_constraints == "one of drive, dry_run, shadow, row_pass_through"
    assert armed.description and not armed.additional_constraints
    assert all(descriptor.description for descriptor in answer.descriptors)


def test_a_parameter_can_be_set_while_the_node_is_not_configured(bench, graph):
    graph([NodeSpec("controller", {"autostart": False})])

    def set_speed(value: float) -> SetParametersResult:
        speed = Parameter("speed", value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[speed])
        return bench.call(SetParameters, "controller_node/set_parameters", request).results[0]

    assert set_speed(0.5).successful
    life = Lifecycle(bench, "controller_node")
    life.go("configure")
    refused = set_speed(0.7)
    assert not refused.successful
    assert refused.reason == "parameter speed of a configured node: allowed after its clean-up"
    life.go("cleanup")
    assert set_speed(0.7).successful
