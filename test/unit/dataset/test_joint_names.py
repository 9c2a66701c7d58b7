"""Names of joints and values of real robots: which move with a gripper or a hand."""

from __future__ import annotations

import pytest

from vla_adapter_ros.dataset.joint_names import is_gripper

GRIPPERS = (
    "gripper", "gripper.pos", "gripper_position", "left_gripper", "main_gripper", "leftgripper", "GRIPPER",
    "panda_finger_joint1", "fr3_finger_joint2", "finger_joint", "left_inner_finger_joint",
    "robotiq_85_left_knuckle_joint", "right_outer_knuckle_joint", "robotiq_85_left_finger_tip_joint",
    "r_gripper_finger_joint", "right_gripper_l_finger_joint", "jaw", "claw_left", "suction",
    "R_thumb_proximal_yaw_joint", "L_index_intermediate_joint", "R_middle_proximal_joint", "L_pinky_distal",
    "right_little_1_joint", "kLeftHandThumb0", "kRightHandIndex1", "left_hand_middle_0_joint",
    "rh_FFJ1", "rh_THJ5", "lh_LFJ4", "allegro_hand_joint_3",
)  # fmt: skip
ARMS = (
    "panda_joint1", "fr3_joint7", "shoulder_pan_joint", "shoulder_lift.pos", "elbow_flex", "wrist_roll.pos",
    "wrist_3_joint", "right_j6", "kLeftWristYaw", "left_shoulder_pitch_joint", "rh_WRJ1", "waist", "joint_0",
    "motor4", "torso_middle", "index", "x", "tool_x", "gripper_x", "left_hand_qw", "handle_angle",
)  # fmt: skip


@pytest.mark.parametrize("name", GRIPPERS)
def test_moves_with_a_gripper_or_a_hand(name):
    assert is_gripper(name)


@pytest.mark.parametrize("name", ARMS)
def test_moves_with_the_arm(name):
    assert not is_gripper(name)
