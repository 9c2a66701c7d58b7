"""How a user finds out what to write under each key of a contract: a command, a data sheet or a measurement.

The reference page, the editor's hints and the drafts that are made from a running graph say the same.
"""

from __future__ import annotations

FIND_OUT: dict[str, dict[str, str]] = {
    "Contract": {
        "schema": "always this number",
        "name": "choose one; the file has the same name",
        "robot_type": "the maker's name of the arm; the same for all robots of that kind",
        "rate_hz": (
            "choose how often the policy shall see and act, often 10 to 30; at most the rate of the "
            "reference camera, `ros2 topic hz TOPIC`"
        ),
        "reference_camera": (
            "the camera that shows the whole scene; of several the slowest, `ros2 topic hz TOPIC`"
        ),
        "cameras": "`ros2 topic list -t`: topics of type `sensor_msgs/msg/Image` or `CompressedImage`",
        "topics": "`ros2 topic list -t`: topics of the types under `topics.NAME.type`",
        "state": "what the policy shall know of the robot beside images: at least the joints that it moves",
        "action": "what the policy shall decide: what the leader or the demonstrations give",
        "teleop": "the device with which demonstrations are given",
        "command": "`ros2 control list_controllers`, and `ros2 topic info -v TOPIC` of what they hear",
        "limits": "an entry per joint that the action moves",
        "grippers": "an entry per hand that is no joint of the arm's own controller",
        "kinematics": "`ros2 topic echo --once --full-length robot_description`, or the maker's URDF file",
        "workspace": "measure the table and what stands around it, from the base of the arm",
        "safety": "the defaults, until you know better",
        "settle_s": "`ros2 topic delay TOPIC` of the slowest stream; the default suits most",
        "verified": "drive the robot with it; false in a file that only follows the maker's description",
        "home": (
            "bring the arm to where the demonstrations shall begin: `ros2 topic echo --once /joint_states`"
        ),
        "depth_cameras": "`ros2 topic list -t`: images of encoding 16UC1 or 32FC1",
    },
    "Camera": {
        "topic": "`ros2 topic list -t`",
        "width": "`ros2 topic echo --once --field width TOPIC`; of JPEGs the driver's settings",
        "height": "`ros2 topic echo --once --field height TOPIC`; of JPEGs the driver's settings",
        "transport": "`ros2 topic type TOPIC`: `Image` is raw, `CompressedImage` is compressed",
        "rotation": "look at an image (`rqt_image_view`): how far must it be turned to stand upright?",
        "max_age_s": "`ros2 topic delay TOPIC` and one and a half periods of the camera",
        "time": "`ros2 topic delay TOPIC`: receive if it says that there is no stamp, or an absurd delay",
        "encoding": (
            "`ros2 topic echo --once --field encoding TOPIC`; only where that is 8UC3 or 8UC1, and then by "
            "trying: with the wrong one red is blue"
        ),
        "fit": "only if the data set's images shall have another size than the camera's",
        "sync_tolerance_s": (
            "`ros2 topic echo --field header.stamp TOPIC` of both cameras: how far apart are images that "
            "were triggered together?"
        ),
        "pose": "a hand-eye calibration of the camera against the arm's base; without one leave it out",
    },
    "CameraPose": {
        "position": "the calibration's translation, or `ros2 run tf2_ros tf2_echo LINK CAMERA_OPTICAL_FRAME`",
        "orientation": "the calibration's quaternion, or the same `tf2_echo`",
        "focal_length": "`ros2 topic echo --once CAMERA/camera_info`: the first and the fifth number of k",
        "principal_point": "`ros2 topic echo --once CAMERA/camera_info`: the third and the sixth number of k",
        "link": "what the camera is screwed to: the base, or for a gripper camera a link of the hand",
    },
    "Topic": {
        "type": "`ros2 topic type TOPIC`",
        "max_age_s": (
            "`ros2 topic delay TOPIC` and some periods, `ros2 topic hz TOPIC`; for commands that are sent "
            "once, as long as they hold"
        ),
        "time": "`ros2 topic delay TOPIC`: receive if it says that there is no stamp, or an absurd delay",
        "joints": "`ros2 topic echo --once TOPIC` while one joint, or one sensor, is moved by hand",
    },
    "StateDimension": {
        "name": "choose one; often the joint's name",
        "topic": "`ros2 topic list -t`",
        "field": "`ros2 topic echo --once TOPIC`: which fields have values",
        "unit": (
            "`ros2 topic echo TOPIC` while a joint is turned by a right angle: rad if its value changes by "
            "1.57, degree by 90; m for those that slide; percent for a gripper from 0 to 100"
        ),
        "joint": "`ros2 topic echo --once --field name /joint_states`",
    },
    "Action": {
        "space": (
            "joint_position where the demonstrations give joint positions; see the page on action spaces"
        ),
        "topic": "choose one; the controller of this package publishes there",
        "dimensions": "the joints that the policy moves, in the leader's order, then the grippers",
        "max_age_s": "two periods of the commands",
        "delta_reference": (
            "what the deltas of the demonstrations were computed from; commanded drifts least"
        ),
        "frame": "base, unless the demonstrations were given along the tool's axes",
        "time": "header; receive only for recordings of others without stamps",
        "field": "`ros2 topic echo --once TOPIC` of the leader: which field has values",
        "type": "joint_state for a robot that this package drives",
        "source": (
            "command where demonstrations are given with a device; next_state where the arm itself is moved "
            "by hand, in freedrive or gravity compensation"
        ),
    },
    "ActionDimension": {
        "name": "`ros2 topic echo --once --field name TOPIC` of the leader",
        "unit": (
            "as for the state, in the messages of the human's device: rad, degree, m, percent; 1 for a "
            "gripper from closed to open"
        ),
        "scale": "1, unless the demonstrations are in other units than `unit`",
        "joint": (
            "`ros2 topic echo --once --field name /joint_states`: only if the leader calls it otherwise"
        ),
        "topic": "`ros2 topic list -t`: only in recordings of robots that others drive",
    },
    "Gripper": {
        "dimension": "one of the action's dimensions",
        "joint": (
            "open and close the gripper: which name's position changes in `ros2 topic echo /joint_states`"
        ),
        "open_position": "open it, then `ros2 topic echo --once /joint_states`",
        "closed_position": (
            "close it with nothing between the fingers, then `ros2 topic echo --once /joint_states`"
        ),
        "topic": (
            "`ros2 control list_controllers` and `ros2 topic list -t`; for gripper_command `ros2 action list "
            "-t`"
        ),
        "type": (
            "`ros2 topic type TOPIC`: Float64MultiArray is forward_position, JointTrajectory is "
            "joint_trajectory; an action of type GripperCommand is gripper_command"
        ),
        "open": (
            "`vla-adapter contract check FILE --live --move-leader` tells it: the value of the "
            "leader, or of the data, with the gripper open"
        ),
        "closed": "as open, with the gripper closed",
        "mode": "binary for a hand that only grasps; continuous where the width matters",
        "hysteresis": "the default, unless the hand opens and closes in turn while it holds something",
        "min_dwell_s": "the default, unless the hand needs time between two motions",
    },
    "Teleop": {
        "topic": "`ros2 topic list -t`: what the leader, or your own node, publishes",
        "groups": "only with several devices: one entry each",
        "route": "direct if the leader's own software moves the arm, else through_controller",
        "timeout_s": "some periods of the leader, `ros2 topic hz TOPIC`",
        "time": "`ros2 topic delay TOPIC`: receive if it says that there is no stamp, or an absurd delay",
        "takeover": (
            "motion for a leader arm that streams always; topic for one with a clutch; command for a device "
            "that is silent while nobody holds it"
        ),
        "takeover_threshold": "above the noise of a leader that nobody touches: `ros2 topic echo TOPIC`",
        "takeover_topic": "`ros2 topic list -t`",
        "hand_back": "instruct, if the policy shall wait for a new instruction after a human's correction",
        "publishers": "`ros2 topic info -v TOPIC` of the command's topic, while the leader runs",
    },
    "TeleopGroup": {
        "topic": "`ros2 topic list -t`",
        "dimensions": "those whose joints this device moves",
        "names": "`ros2 topic echo --once --field name TOPIC`",
    },
    "Command": {
        "type": (
            "`ros2 control list_controllers`, or `ros2 topic type TOPIC` of what the driver hears: "
            "JointTrajectory is joint_trajectory; Float64MultiArray is forward_position or forward_velocity"
        ),
        "topic": "`ros2 node info /CONTROLLER`: its subscriptions",
        "groups": "`ros2 control list_controllers -v`: with several, which joints each claims",
        "command_delay_s": (
            "`vla-adapter measure delay` while the controller runs; 0.1 suits most drivers; a trajectory "
            "controller needs at least 0.05 at the default rates"
        ),
    },
    "CommandGroup": {
        "topic": "`ros2 node info /CONTROLLER`: its subscriptions",
        "joints": (
            "`ros2 param get /CONTROLLER joints`; a forward controller takes their values in this order"
        ),
    },
    "JointLimits": {
        "position": "the URDF (`<limit lower= upper=>`) or the maker's data sheet; a little less",
        "velocity": "the URDF (`<limit velocity=>`) or the data sheet; begin with a quarter",
        "acceleration": (
            "the data sheet, or `joint_limits.yaml` of the maker's MoveIt configuration; without them "
            "begin low, with 2 rad/s^2 for an arm of a meter and 8 for a small servo arm"
        ),
        "jerk": "the data sheet, where it says one; the default is smooth",
    },
    "Kinematics": {
        "urdf": (
            "`ros2 topic list` shows robot_description if the driver publishes it; else the path of the "
            "maker's file"
        ),
        "base_link": (
            "the frame in which the box and the poses are meant: first link of the URDF, `check_urdf FILE`"
        ),
        "tool_link": "the link between the fingertips: last link of the URDF, `check_urdf FILE`",
    },
    "Workspace": {
        "low": "bring the tool to the corners by hand: `ros2 run tf2_ros tf2_echo BASE_LINK TOOL_LINK`",
        "high": "bring the tool to the corners by hand: `ros2 run tf2_ros tf2_echo BASE_LINK TOOL_LINK`",
    },
    "Safety": {
        "joint_state_timeout_s": "some periods of the joint states, `ros2 topic hz /joint_states`",
        "resume_within_s": "the default, unless a stream is known to pause for longer",
        "first_target_max_distance": "the farthest that a demonstration begins from where the arm stands",
        "first_target": "refuse, unless the arm may go to the start by itself",
        "tracking_error_max": (
            "`ros2 topic echo --field tracking_error controller/status` after a good motion, some times that"
        ),
        "deadman_topic": "`ros2 topic list -t`: the switch's topic, `std_msgs/msg/Bool`",
        "deadman_timeout_s": "some periods of the switch, `ros2 topic hz TOPIC`",
        "operator_timeout_s": "0 where nobody watches; else five periods of the page, which sends at 5 Hz: 1",
        "uncertainty_max": "0; 1 where the arm had better stand still than go on unsure",
        "scene": "`vla-adapter scene`, when nothing has changed and after a change that you made",
    },
    "SceneLimits": {
        "check": "warn; refuse where nobody reads what an instruction is answered",
        "displacement_max": "`vla-adapter scene`, some times in an unchanged scene: twice the largest score",
        "brightness_max": "`vla-adapter scene` by day and by night: what the policy still masters",
        "color_max": "`vla-adapter scene` under all lamps: what the policy still masters",
        "start_pose_max": "`vla-adapter scene`, with the arm where it usually starts",
    },
}
"""Part of a contract, such as Camera -> key -> how it is found out."""
