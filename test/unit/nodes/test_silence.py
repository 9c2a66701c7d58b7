"""Gaps of the inputs in simulated time: short ones end nothing, long ones end the instruction."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.nodes.silence import CONTROLLER, FRAMES, SilenceWatch, patience
from vla_adapter_ros.observation.builder import ObservationBuilder

CONTRACT = read_contract("franka_sim")
JOINTS = [*CONTRACT.arm_joints, "fr3_finger_joint1"]
LOOK_S = 0.05


class Robot:
    """Feeds a frame builder at the rates of a robot, and looks at it as the policy does."""

    def __init__(self, contract=CONTRACT) -> None:
        self.contract = contract
        self.builder = ObservationBuilder(contract, with_action=False)
        self.watch = SilenceWatch(patience(contract, self.builder, 1.0))
        self.cameras, self.joints, self.value = set(contract.cameras), list(JOINTS), 0.0
        self.tick, self.controller = 0, True
        self._status = self.camera_lead = 0.0
        self.ended_after: float | None = None
        self.silent = ""

    @property
    def now(self) -> float:
        return 100.0 + self.tick * 0.01

    def run(self, seconds: float) -> str:
        """Let time pass; returns why the instruction ended first, if it did."""
        begun, why = self.now, ""
        for _ in range(round(seconds / 0.01)):
            self.tick += 1
            self.feed()
            if self.tick % 5 == 0:
                why = why or self.find_silent()
                if why and self.ended_after is None:
                    self.ended_after = self.now - begun
        return why

    def feed(self) -> None:
        now = self.now
        if self.tick % 10 == 0:
            for name in self.cameras:
                self.builder.add_image(name, now + self.camera_lead, now, np.zeros((112, 112, 3), np.uint8))
        self.builder.add_joint_state("joint_states", now, now, self.joints, [self.value] * len(self.joints))
        self.builder.add_values(
            "end_effector_pose", now, now, ["position.x", "position.y", "position.z"], [0] * 3
        )
        self._status = now if self.controller else self._status

    def find_silent(self) -> str:
        newest = self.builder.newest_stamps() | {FRAMES: self.builder.last_good, CONTROLLER: self._status}
        self.silent = self.watch.find_silent(self.now, newest)
        return self.watch.reason(self.silent, self.contract, self.builder, self.now) if self.silent else ""


@pytest.fixture
def robot():
    robot = Robot()
    assert not robot.run(3.0)
    return robot


def test_a_short_gap_ends_nothing(robot):
    for name in CONTRACT.cameras:
        robot.cameras = set(CONTRACT.cameras) - {name}
        assert not robot.run(0.5)
        robot.cameras = set(CONTRACT.cameras)
        assert not robot.run(1.0)


@pytest.mark.parametrize("name", CONTRACT.cameras)
def test_a_long_gap_names_the_camera(robot, name):
    robot.cameras.discard(name)
    why = robot.run(2.0)
    topic = CONTRACT.cameras[name].topic
    assert why == f"camera {name} ({topic}) was silent for more than 0.58 s: give a new instruction"
    assert 0.58 <= robot.ended_after <= 0.58 + 0.1 + 2 * LOOK_S


def test_a_camera_whose_clock_is_set_is_named_with_the_reason(robot):
    robot.camera_lead = 3600.0
    why = robot.run(2.0)
    assert why.startswith(
        "camera third_view (third_view/image_raw) was silent for more than 0.58 s: give a new"
    )
    assert "refused, stamped 3600.000 s after their receipt: check the clocks, or say `time: receive`" in why


def test_the_contract_says_how_long_a_gap_may_be():
    safety = dataclasses.replace(CONTRACT.safety, resume_within_s=1.5)
    robot = Robot(dataclasses.replace(CONTRACT, safety=safety))
    robot.run(1.0)
    robot.cameras.discard("gripper")
    assert not robot.run(1.5)
    assert "more than 1.58 s" in robot.run(0.5)


def test_no_resumption_at_all_still_lets_images_come_at_their_rate():
    safety = dataclasses.replace(CONTRACT.safety, resume_within_s=0.0)
    robot = Robot(dataclasses.replace(CONTRACT, safety=safety))
    assert not robot.run(3.0)


def test_joint_states_that_lack_a_joint_are_silent(robot):
    robot.joints.remove("fr3_joint4")
    assert robot.run(1.0).startswith("joint_states was silent for more than 0.55 s")


def test_values_of_which_no_good_frame_comes_end_it_in_the_words_of_the_frame(robot):
    robot.value = math.nan
    why = robot.run(2.0)
    assert why.startswith("no good frame for more than") and "fr3_joint1" in why and "not finite" in why


def test_a_silent_controller_ends_it(robot):
    robot.controller = False
    assert robot.run(2.0) == "the controller was silent for more than 1 s: give a new instruction"
    assert 1.0 <= robot.ended_after <= 1.1


def test_a_process_that_got_no_processor_ends_nothing(robot):
    robot.tick += 500  # five seconds, in which others were not silent but this process was not there
    assert not robot.find_silent()
    assert not robot.run(1.0)


def test_a_new_instruction_counts_anew(robot):
    robot.cameras.discard("gripper")
    robot.run(0.5)
    robot.watch.reset()
    robot.cameras.add("gripper")
    assert not robot.run(1.0)


def test_a_clock_that_is_set_back_ends_nothing(robot):
    robot.tick -= 200
    assert not robot.run(2.0)
