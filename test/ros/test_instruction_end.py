"""Policy and controller together: whatever ends an instruction ends it in both; nothing resumes by itself."""

from __future__ import annotations

import numpy as np
import pytest
from bench import CONTRACT
from goals import GoalSender
from lifecycle import Lifecycle
from robots import contract_file
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.nodes.conversions import seconds
from vla_adapter_ros.nodes.graph import NodeSpec

BOTH = ("controller", "policy")
TEXT = "pick up the red cube"


@pytest.fixture(scope="module")
def both(shared_bench, shared_graph, tmp_path_factory, random_checkpoint):
    """The bench with both nodes."""
    contract = contract_file(tmp_path_factory.mktemp("robot"), safety={"first_target_max_distance": 3.0})
    common = {"use_sim_time": True, "lock_step": True, "contract": contract}
    shared_bench.watch(String, "instruction")
    shared_graph(
        [
            NodeSpec("controller", common | {"armed": True}),
            NodeSpec("policy", common | {"checkpoint": str(random_checkpoint)}),
        ]
    )
    shared_bench.wait_for(*BOTH)
    shared_bench.run(0.3, *BOTH)
    return shared_bench


@pytest.fixture(scope="module")
def goals(both):
    """Sends goals to the policy."""
    return GoalSender(both)


@pytest.fixture
def robot(both):
    """The bench with both nodes, ready for an instruction."""
    both.cameras, both.joints_alive = set(CONTRACT.cameras), True
    both.instruct(TEXT, *BOTH)  # once it is ready
    both.instruct("")
    both.run(0.5, *BOTH)
    for topic in ("action_chunk", "instruction"):
        both.received[topic].clear()
    return both


def call(bench, name):
    answer = bench.call(Trigger, f"controller_node/{name}", Trigger.Request())
    assert answer.success, answer.message


def chunks(bench):
    return [chunk for chunk in bench.received["action_chunk"] if chunk.num_rows]


def dropped(bench):
    """Whether the policy says that it follows nothing."""
    return bench.until(lambda: bench.received["instruction"][-1:] == [String()])


def rests(bench, *awaited):
    """Time passes, in which neither chunks come nor the arm moves."""
    bench.run(0.5, *awaited)  # a stop takes its time
    count, since = len(chunks(bench)), len(bench.path)
    bench.run(1.0, *awaited)
    assert len(chunks(bench)) == count
    assert np.ptp(np.array(bench.path[since:]), axis=0).max() == 0
    assert bench.newest("controller/status").control_source == "none"


def obeys_again(bench):
    bench.instruct(TEXT, *BOTH)
    count = len(chunks(bench))
    bench.run(0.5, *BOTH)
    assert bench.until(lambda: len(chunks(bench)) > count)
    assert bench.newest("controller/status").state == "running"


def test_every_chunk_says_when_its_instruction_was_given(robot):
    robot.instruct(TEXT)
    given = robot.now
    robot.run(1.0, *BOTH)
    robot.instruct("")
    robot.run(0.1, *BOTH)
    first, *_, last = robot.received["action_chunk"]
    for chunk in chunks(robot):
        assert seconds(chunk.instruction_stamp) == pytest.approx(given)
        assert chunk.input_stamp == chunk.header.stamp and not chunk.reason and chunk.uncertainty == 0
    assert last.num_rows == 0 and last.instruction_id == first.instruction_id + 1
    assert seconds(last.instruction_stamp) == pytest.approx(given + 1.0)


def test_a_stop_before_the_first_chunk_ends_the_instruction(robot):
    robot.instruct(TEXT)
    call(robot, "stop")
    robot.run(0.05, *BOTH)  # no image yet
    assert dropped(robot)
    call(robot, "reset")
    rests(robot, *BOTH)
    assert not chunks(robot)
    obeys_again(robot)


@pytest.mark.parametrize("how", ["hold", "stop", "silence"])
def test_what_ends_the_motion_ends_the_instruction_and_its_goal(robot, goals, how):
    goal = goals.send(TEXT)
    robot.run(0.5, *BOTH)
    assert robot.newest("controller/status").state == "running"
    if how == "silence":  # the clock is set, and joint states are old
        robot.jump(5.0)
        robot.run(0.2)
    else:
        call(robot, how)
        robot.run(0.1, *BOTH)
    assert dropped(robot)
    status, succeeded, stopped_by, message = goal.ended()
    assert (status, succeeded, stopped_by) == ("aborted", False, how)
    assert message.startswith("the controller ended instruction")
    rests(robot, *BOTH)
    call(robot, "reset")
    rests(robot, *BOTH)
    obeys_again(robot)


def test_a_short_gap_of_a_camera_lets_the_arm_go_on(robot):
    robot.instruct(TEXT)
    robot.run(0.5, *BOTH)
    robot.cameras.discard("gripper")
    robot.run(0.4, "controller")  # frames wait for what does not come
    count = len(chunks(robot))
    robot.cameras.add("gripper")
    robot.run(0.5, *BOTH)
    assert robot.until(lambda: len(chunks(robot)) > count)
    assert robot.received["instruction"][-1] == String(data=TEXT)
    assert robot.newest("controller/status").state == "running"


@pytest.mark.parametrize("camera", CONTRACT.cameras)
def test_a_long_gap_of_a_camera_ends_the_instruction_and_its_return_moves_nothing(robot, goals, camera):
    goal = goals.send(TEXT)
    robot.run(0.5, *BOTH)
    robot.cameras.discard(camera)
    robot.run(1.0, "controller")  # frames wait for what does not come
    assert dropped(robot)
    last = robot.received["action_chunk"][-1]
    assert last.num_rows == 0 and last.reason.startswith(
        f"camera {camera} ({CONTRACT.cameras[camera].topic})"
    )
    assert goal.ended() == ("aborted", False, "silence", last.reason)
    robot.run(0.5, "controller")
    status = robot.newest("controller/status")
    assert status.state == "holding" and status.first_cause == last.reason
    robot.cameras.add(camera)
    rests(robot, *BOTH)
    obeys_again(robot)


def test_joint_states_that_are_silent_end_the_instruction(robot):
    robot.instruct(TEXT)
    robot.run(0.5, *BOTH)
    robot.joints_alive = False
    robot.run(1.5, "controller")
    assert dropped(robot)
    robot.joints_alive = True
    rests(robot, *BOTH)
    obeys_again(robot)


def test_a_goal_succeeds_when_its_time_is_over_and_says_on_its_way_how_it_goes(robot, goals):
    goal = goals.send(TEXT, timeout=1.0)
    robot.run(0.6, *BOTH)
    assert robot.newest("controller/status").state == "running"
    # Feedback comes by the wall clock: while simulated time stands still, one comes that tells of now.
    assert robot.until(lambda: goal.feedback and goal.feedback[-1].elapsed > 0.5)
    newest = goal.feedback[-1]
    assert (newest.state, newest.message) == ("running", "") and newest.elapsed < 0.7
    robot.run(0.5, *BOTH)
    assert goal.ended() == ("succeeded", True, "timeout", "its time of 1 s is over")
    assert dropped(robot)
    rests(robot, *BOTH)


def test_a_canceled_goal_stops_the_arm(robot, goals):
    goal = goals.send(TEXT)
    robot.run(0.5, *BOTH)
    goal.cancel()
    assert goal.ended() == ("canceled", False, "cancel", "the goal was canceled")  # time stands still
    assert dropped(robot)
    rests(robot, *BOTH)
    obeys_again(robot)


def test_a_goal_ends_when_another_instruction_is_given(robot, goals):
    first, second = goals.send(TEXT), goals.send("pick up the blue cube")
    assert first.ended()[:3] == ("aborted", False, "replaced")
    robot.instruct(TEXT)
    assert second.ended()[:3] == ("aborted", False, "replaced")
    third = goals.send(TEXT)
    robot.instruct("")
    assert third.ended() == ("aborted", False, "hold", "an empty instruction has ended it")


def test_a_goal_that_is_refused_says_why(robot, goals):
    assert goals.send(" ").ended()[:3] == ("aborted", False, "refused")
    assert "timeout = -1" in goals.send(TEXT, timeout=-1.0).ended()[3]
    call(robot, "stop")
    robot.run(0.1, *BOTH)
    assert goals.send(TEXT).ended()[2:] == (
        "refused",
        "not ready: controller is stopped (stop requested): call ~/reset first",
    )
    call(robot, "reset")


def test_a_policy_that_is_deactivated_ends_its_goal_and_takes_no_other(robot, goals):
    goal, policy = goals.send(TEXT), Lifecycle(robot, "policy_node")
    policy.go("deactivate")
    assert goal.ended() == (
        "aborted", False, "inactive", "the policy was deactivated: give a new instruction",
    )  # fmt: skip
    assert goals.send(TEXT).ended()[2:] == ("refused", "policy_node is inactive: activate it first")
    policy.go("activate")
    robot.wait_for(*BOTH)
    robot.run(0.3, *BOTH)
    obeys_again(robot)
