"""A human corrects a policy in motion: one episode, whose corrections are marked, and its outcome."""

from __future__ import annotations

import numpy as np
import pytest
from bench import CONTRACT, HOME
from rclpy.qos import QoSProfile
from robots import contract_file
from stage import Stage
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.outcome import INTERVENTION, SUCCESS, Label, intervention_rows
from vla_adapter_ros.dataset.trial_facts import read_facts_of, read_labels, read_notes
from vla_adapter_ros.nodes.conversions import command_message
from vla_adapter_ros.srv import LabelEpisode
from vla_adapter_ros.trials.trial import read_trials

CHECKPOINT = "lift_v1@12345678"
FIRST = np.eye(7)[0]


def ramp(speed: float, rows: int, start: np.ndarray) -> np.ndarray:
    return start + np.arange(rows)[:, None] * speed / CONTRACT.rate_hz * FIRST


def label(stage: Stage, outcome: str, reason: str = "", episode: int = -1):
    request = LabelEpisode.Request(episode=episode, outcome=outcome, reason=reason)
    return stage.bench.call(LabelEpisode, "recorder_node/label_episode", request)


def lead(stage: Stage, seconds: float) -> None:
    """A human commands, from where the arm is."""
    command = np.append(stage.bench.path[-1], 1.0)
    for _ in range(round(seconds / 0.01)):
        command[0] -= 0.001
        stage.bench.teleop.publish(command_message(command, CONTRACT.action_names, stage.bench.now))
        stage.play(0.01)


@pytest.mark.slow
def test_a_take_over_is_an_intervention_of_the_same_episode(bench, graph, tmp_path):
    stage = Stage(bench, graph, tmp_path, controller={"armed": True, "status_every": 1}, on_fail="save")
    stage.start()
    bench.send_chunk(ramp(0.1, 60, HOME), checkpoint=CHECKPOINT)
    stage.play(0.3)
    stage.begin("lift the cube")
    stage.play(0.8)
    lead(stage, 0.5)
    stage.play(0.6)  # let go
    bench.send_chunk(ramp(0.1, 60, bench.path[-1]), checkpoint=CHECKPOINT, instruction_id=2)
    stage.play(0.8)
    lead(stage, 0.3)
    recorded = stage.status(lambda s: s.interventions == 2)
    assert recorded.state == "recording" and recorded.checkpoint == CHECKPOINT
    assert recorded.newest_episode == 0 and 0 < recorded.intervention_share < 1
    assert recorded.outcome_reasons[0] == "dropped"
    assert "being recorded" in label(stage, "success").message
    assert stage.call("stop_episode").success
    refused = label(stage, "won")
    assert not refused.success and "allowed is one of ['success', 'failure']" in refused.message
    done = label(stage, "failure", "dropped")
    assert done.success and done.message == "episode 0: failure: dropped"
    told = stage.status(lambda s: s.outcome)
    assert (told.outcome, told.outcome_reason, told.interventions) == ("failure", "dropped", 2)

    dataset = open_dataset(stage.root)
    rows, (facts,) = dataset.rows(0), map(read_facts_of, read_notes(dataset))
    led = rows["control_source"]
    changes = led[np.flatnonzero(np.diff(led, prepend=-1))]
    assert [who for who in changes if who] == [2, 1, 2, 1]
    np.testing.assert_array_equal(rows[INTERVENTION], intervention_rows(led))
    assert rows[INTERVENTION].sum() >= 6 and not rows[SUCCESS].any()
    assert facts.checkpoint == CHECKPOINT and facts.interventions == 2
    assert 0 < facts.latency_p50_s <= facts.latency_p99_s
    assert read_labels(dataset) == [Label(Outcome.FAILURE, "dropped")]
    (trial,) = read_trials([stage.root])
    assert trial.instruction == "lift the cube" and trial.facts == facts

    assert label(stage, "success", episode=0).success
    assert open_dataset(stage.root).rows(0)[SUCCESS].tolist() == [False] * (len(led) - 1) + [True]
    wrong = label(stage, "success", episode=7)
    assert not wrong.success and "episode 7: allowed are 0 to 0" in wrong.message


def test_the_instruction_ends_when_the_operators_page_falls_silent(bench, graph, tmp_path):
    contract = contract_file(tmp_path, safety={"operator_timeout_s": 0.5})
    bench.start_controller(graph, contract=contract)
    alive = bench.node.create_publisher(Empty, "controller_node/operator_alive", QoSProfile(depth=10))
    assert bench.until(lambda: alive.get_subscription_count() > 0)

    def status():
        return bench.newest("controller/status")

    assert status().operator_silent and "no operator is heard" in status().first_cause
    bench.send_chunk(ramp(0.2, 60, HOME))
    bench.run(0.3, "controller")
    assert status().state == "idle" and not bench.received["trajectory"]
    alive.publish(Empty())
    assert bench.run_until(lambda: not status().blocked_by)
    bench.send_chunk(ramp(0.2, 60, HOME), instruction_id=2)
    for _ in range(5):
        alive.publish(Empty())
        bench.run(0.2, "controller")
    assert status().state == "running" and status().control_source == "policy"
    bench.run(0.8, "controller")
    said = status()
    assert said.state == "holding" and said.ended_by == "hold" and said.operator_silent
    assert said.first_cause.startswith("The operator's page has been silent for 0.5")
    alive.publish(Empty())
    bench.run(0.3, "controller")
    assert status().state == "holding" and not bench.velocity_of_arm()[-10:].any()
    assert bench.call(Trigger, "controller_node/hold", Trigger.Request()).success
