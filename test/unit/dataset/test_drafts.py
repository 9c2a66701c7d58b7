"""Drafts of contracts and mappings for robots of others: pairs, grippers, names, units; never refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from stranger_sets import delayed, grip, make_set, motion

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.schema import JointLimits
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.drafting.assignment import least_cost_pairs
from vla_adapter_ros.dataset.tools.drafting.draft import draft_contract
from vla_adapter_ros.errors import DatasetError

STATE, ACTION = "observation.state", "action"


def draft(root: Path, **options) -> tuple:
    """Contract, mapping (or None) and the contract's text of a draft, which its own data opens with."""
    made = draft_contract(open_dataset(root), "drafted", options.pop("space", ""), **options)
    folder = root.parent
    (folder / "drafted.yaml").write_text(made.contract)
    contract = read_contract(folder / "drafted.yaml")
    mapping = None
    if made.mapping:
        mapping = folder / "mapping.yaml"
        mapping.write_text(made.mapping)
    open_dataset(root, mapping, contract).rows(0)
    return contract, mapping, made.contract


def levels_of_episode(root: Path, contract, mapping) -> dict:
    """Checks of the first episode, by name -> level."""
    report = check_dataset(root, mapping=mapping, contract=contract)
    return {check.name: check.level for check in report.episodes[0].findings}


def line_of(text: str, name: str) -> str:
    """The line of an action value in a contract's text."""
    lines = text[text.index("dimensions:") :].splitlines()
    return next(line for line in lines if f"name: {name}" in line)


@pytest.mark.parametrize("seed", range(20))
def test_pairs_have_the_least_cost(seed):
    rng = np.random.default_rng(seed)
    cost = rng.normal(size=(rng.integers(1, 5), rng.integers(1, 5)))
    pairs = least_cost_pairs(cost)
    assert len(pairs) == min(cost.shape) == len(set(pairs.values()))

    def best(row: int, taken: frozenset) -> float:
        if row == cost.shape[0]:
            return 0.0 if len(taken) == min(cost.shape) else math.inf
        options = [best(row + 1, taken)] if cost.shape[0] > cost.shape[1] else []
        options += [cost[row, c] + best(row + 1, taken | {c}) for c in range(cost.shape[1]) if c not in taken]
        return min(options)

    assert sum(cost[pair] for pair in pairs.items()) == pytest.approx(best(0, frozenset()))


def test_five_named_actions_are_paired_with_the_joints_that_they_move(tmp_path):
    names = ["shoulder_pan.pos", "shoulder_lift.pos", "elbow_flex.pos", "wrist_flex.pos", "wrist_roll.pos"]
    moved = [0, 1, 2, 4, 5]  # joint_4 is held
    commands = [motion(5, seed) for seed in range(3)]
    states = []
    for seed, command in enumerate(commands):
        joints = 0.01 * motion(6, seed + 50)
        joints[:, moved] += delayed(command)
        states.append(np.hstack([joints, delayed(grip(seed))]))
    actions = [np.hstack([command, grip(seed)]) for seed, command in enumerate(commands)]
    columns = {
        STATE: (states, [*(f"joint_{n}.pos" for n in range(1, 7)), "gripper.pos"]),
        ACTION: (actions, [*names, "gripper.pos"]),
    }
    contract, mapping, text = draft(make_set(tmp_path / "set", columns))
    assert mapping is None
    assert contract.action_names == (
        "joint_1.pos",
        "joint_2.pos",
        "joint_3.pos",
        "joint_5.pos",
        "joint_6.pos",
        "gripper.pos",
    )
    line = line_of(text, "joint_6.pos")
    assert (
        "wrist_roll.pos" in line
        and "2 rows later" in line
        and "CHECK" not in line
        and "correlates 1.00" in line
    )


def test_order_never_pairs_and_what_does_not_move_is_doubtful(tmp_path):
    commands = [motion(4, seed) for seed in range(2)]
    commands = [np.hstack([c[:, :3], np.zeros((60, 1))]) for c in commands]
    states = [delayed(command)[:, [2, 0, 3, 1]] for command in commands]
    columns = {STATE: (states, list("abcd")), ACTION: (commands, ["p", "r", "s", "t"])}
    contract, _, text = draft(make_set(tmp_path / "set", columns), grippers=["none"])
    assert contract.action_names == ("b", "d", "a", "c") and contract.grippers == ()
    assert "CHECK" in line_of(text, "c") and "CHECK" not in line_of(text, "a")


def test_names_that_the_data_contradict_are_marked(tmp_path):
    commands = [motion(3, seed) for seed in range(2)]
    columns = {
        STATE: ([delayed(c)[:, [1, 0, 2]] for c in commands], ["one", "two", "three"]),
        ACTION: (commands, ["one", "two", "three"]),
    }
    contract, _, text = draft(make_set(tmp_path / "set", columns), grippers=["none"])
    assert contract.action_names == ("two", "one", "three")
    assert "the data's one" in line_of(text, "two")


TWO = [
    f"{side}_{part}" for side in ("left", "right") for part in (*(f"joint_{n}" for n in range(6)), "gripper")
]


@pytest.mark.parametrize(
    ("state_names", "action_names", "places"),
    [
        (TWO, TWO, [6, 13]),  # ALOHA, AgileX
        ({"motors": TWO}, {"left": TWO[:7], "right": TWO[7:]}, [6, 13]),
        (None, None, [6, 13]),  # told by its values
        (TWO, [n.replace("joint", "arm").replace("gripper", "claw") for n in TWO], [6, 13]),
        (
            [n.replace("gripper", "finger_joint1") for n in TWO],
            [n.replace("gripper", "joint_6") for n in TWO],
            [6, 13],
        ),
    ],
    ids=["named", "by group", "no names", "other names", "only the state says it"],
)
def test_two_grippers(tmp_path, state_names, action_names, places):
    actions = []
    for seed in range(3):
        command = motion(14, seed)
        command[:, 6], command[:, 13] = grip(seed)[:, 0], grip(seed + 1)[:, 0]
        actions.append(command)
    states = [delayed(command) for command in actions]
    for state in states:
        state[:, [6, 13]] *= 0.04
    contract, _, _ = draft(
        make_set(tmp_path / "set", {STATE: (states, state_names), ACTION: (actions, action_names)})
    )
    assert contract.gripper_places == places and len(contract.arm_joints) == 12
    assert [g.joint for g in contract.grippers] == [contract.state[place].joint for place in places]
    assert [g.open_position for g in contract.grippers] == pytest.approx([0.04, 0.04])


def test_hands_of_several_joints_and_values_that_no_state_measures(tmp_path):
    arms = [f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist")]
    hands = [
        f"{side}_hand_{finger}" for side in ("left", "right") for finger in ("thumb_0", "index_0", "middle_1")
    ]
    commands = [motion(12, seed) for seed in range(2)]
    base = [motion(2, seed + 9) for seed in range(2)]
    columns = {
        STATE: ([delayed(c) for c in commands], arms + hands),
        ACTION: (
            [np.hstack([c, b]) for c, b in zip(commands, base, strict=True)],
            [*arms, *hands, "base_x", "base_turn"],
        ),
    }
    root = make_set(tmp_path / "set", columns)
    contract, mapping, text = draft(root)
    assert [g.dimension for g in contract.grippers] == hands
    assert contract.arm_joints == tuple(arms) and mapping is not None
    assert "base_x is left out" in text and "--gripper base_x" in text
    contract, _, _ = draft(root, grippers=[*hands, "base_x"])
    assert "base_x" in [g.dimension for g in contract.grippers]
    with pytest.raises(DatasetError, match=r"--gripper \['claw'\]: allowed are"):
        draft(root, grippers=["claw"])


def test_numbers_alone_tell_two_arms_and_a_file_beside_tells_body_parts(tmp_path):
    arms = [f"arm{arm}_j{n}" for arm in (1, 2) for n in range(1, 7)]
    commands = [motion(12, seed) for seed in range(2)]
    columns = {STATE: ([delayed(c) for c in commands], arms), ACTION: (commands, arms)}
    contract, _, text = draft(make_set(tmp_path / "one", columns))
    assert [g.dimension for g in contract.grippers] == ["arm1_j6", "arm2_j6"] and "CHECK" in line_of(
        text, "arm1_j6"
    )
    motors = [f"motor_{n}" for n in range(12)]
    columns = {name: (parts, motors) for name, (parts, _) in columns.items()}
    root = make_set(tmp_path / "two", columns)
    ranges = {"arm": {"start": 0, "end": 7}, "left_hand": {"start": 7, "end": 12}}
    (root / "meta/modality.json").write_text(json.dumps({"state": ranges, "action": ranges}))
    contract, _, _ = draft(root)
    assert [g.dimension for g in contract.grippers] == [f"left_hand_{n}" for n in range(5)]
    (root / "meta/modality.json").write_text('{"state": [], "action": {"arm": {"start": "a"}}}')
    assert draft(root)[0].action_names[0] == "motor_0"


def test_hands_in_bytes_stay_as_they_are(tmp_path):
    columns = one_arm(180 / math.pi, gripper=250)
    contract, mapping, _ = draft(make_set(tmp_path / "set", columns))
    assert contract.state[6].unit == "1" and contract.grippers[0].open == 250
    assert open_dataset(tmp_path / "set", mapping).rows(0)["action"][:, 6].max() == 250


def one_arm(scale: float = 1.0, offset: float = 0.0, gripper: float = 1.0, *, whole: bool = False) -> dict:
    """Columns of an arm of six joints and a gripper in some unit; actions reach farther than states."""
    actions = [np.hstack([1.3 * motion(6, seed) * scale + offset, grip(seed) * gripper]) for seed in range(2)]
    states = [np.hstack([(delayed(a)[:, :6] - offset) * 0.8 + offset, delayed(a)[:, 6:]]) for a in actions]
    if whole:
        actions, states = ([np.round(part) for part in parts] for parts in (actions, states))
    names = [*(f"joint{n}" for n in range(1, 7)), "gripper"]
    return {STATE: (states, names), ACTION: (actions, names)}


COUNT = 2048 / math.pi


@pytest.mark.parametrize(
    ("columns", "unit"),
    [
        (one_arm(), "rad"),
        (one_arm(180 / math.pi, gripper=100), "deg"),
        (one_arm(COUNT, 2048, 3000, whole=True), "counts"),
    ],
    ids=["rad", "deg", "counts"],
)
def test_a_draft_is_never_refused_by_its_own_data(tmp_path, columns, unit):
    root = make_set(tmp_path / "set", columns)
    contract, mapping, _ = draft(root)
    assert {d.unit for d in contract.state[:6]} == {"rad"}
    entries = yaml.safe_load(mapping.read_text())["state"] if mapping else {}
    assert (entries["joint1"]["unit"] if mapping else "rad") == unit
    levels = levels_of_episode(root, contract, mapping)
    assert levels["state_limits"] == levels["action_limits"] == "pass"
    rows = open_dataset(root, mapping, contract).rows(0)
    true = 1.3 * motion(6, 0)
    np.testing.assert_allclose(rows["action"][:, :6], true, atol=2e-3)
    limits = np.array([contract.limits[joint].position for joint in contract.arm_joints])
    assert (np.abs(limits) < 7).all()
    assert (limits[:, 0] < true.min(axis=0)).all() and (true.max(axis=0) < limits[:, 1]).all()
    gripper = contract.grippers[0]
    assert {gripper.open, gripper.closed} == set(np.unique(rows["action"][:, 6]).round(6)) or unit == "counts"


@pytest.mark.parametrize("scale", [COUNT, 180 / math.pi], ids=["counts", "degrees"])
def test_counts_and_degrees_that_are_declared_as_rad_do_not_pass(tmp_path, scale):
    columns = one_arm(scale, 2048 if scale == COUNT else 0)
    root = make_set(tmp_path / "set", columns)
    contract, _, _ = draft(make_set(tmp_path / "true", one_arm()))
    wide = {joint: JointLimits((-5000.0, 5000.0), 1e6, 1e8) for joint in contract.limits}
    report = check_dataset(root, contract=dataclasses.replace(contract, limits=wide))
    found = next(check for check in report.structure if check.name == "units")
    assert found.level == "fail" and "degrees or counts of a servo" in found.text


def test_one_unit_for_a_pair_and_none_for_pixels(tmp_path):
    rng = np.random.default_rng(0)
    actions = [np.round(rng.uniform(12, 511, (60, 2))).cumsum(axis=0) % 499 + 12 for _ in range(2)]
    states = [0.97 * delayed(part) for part in actions]
    columns = {STATE: (states, ["motor_0", "motor_1"]), ACTION: (actions, ["motor_0", "motor_1"])}
    contract, mapping, text = draft(make_set(tmp_path / "set", columns))
    assert mapping is None and contract.grippers == () and "pixels" in text
    assert {d.unit for d in (*contract.state, *contract.action.dimensions)} == {"1"}
    names = ["j1", "j2", "gripper"]  # the action's gripper reaches 100, the state's not 8
    actions = [np.hstack([motion(2, seed), 100 * grip(seed)]) for seed in range(2)]
    states = [np.hstack([delayed(part)[:, :2], 0.6 * delayed(part)[:, 2:] + 3]) for part in actions]
    contract, mapping, _ = draft(
        make_set(tmp_path / "more", {STATE: (states, names), ACTION: (actions, names)})
    )
    units = yaml.safe_load(mapping.read_text())
    assert units["state"]["gripper"]["unit"] == units["action"]["gripper"]["unit"] == "percent"


def test_forces_and_poses_beside_joints_are_no_angles(tmp_path):
    """A state of joints in degrees that also has a wrench, speeds and a pose of the tool."""
    joints = [f"Joint{n}.pos" for n in range(1, 4)]
    others = ["Force.fx", "Force.mz", "Joint_Vel1", "End_X", "End_Qw"]
    commands = [60 * motion(3, seed) for seed in range(3)]
    states = [np.hstack([delayed(c, 2), np.full((len(c), 5), 0.2)]) for c in commands]
    for rows in states:
        rows[:, 3:] += 0.1 * np.sin(np.arange(len(rows)))[:, None]
    columns = {"observation.state": (states, [*joints, *others]), "action": (commands, joints)}
    root = make_set(tmp_path / "set", columns)
    contract, mapping, _ = draft(root)
    units = {value.name: value.unit for value in contract.state}
    assert [units[name] for name in joints] == ["rad"] * 3
    assert units["Joint_Vel1"] == "rad/s"
    assert {units[name] for name in ("Force.fx", "Force.mz", "End_X", "End_Qw")} == {"1"}
    rows = open_dataset(root, mapping, contract).rows(0)["observation.state"]
    np.testing.assert_allclose(rows[:, 3], states[0][:, 3], atol=1e-6)  # the force as it is


def test_lerobots_percent(tmp_path):
    columns = one_arm(90.0, gripper=100)
    for parts, _ in columns.values():
        for part in parts:
            part[:, :6] = np.clip(part[:, :6], -100, 100)
    root = make_set(tmp_path / "set", columns, robot="so101_follower")
    contract, mapping, text = draft(root)
    assert {d.unit for d in contract.state} == {"1"} and "percent" in mapping.read_text()
    assert "percent" in text and "CHECK" in text
    assert np.abs(open_dataset(root, mapping).rows(0)["action"]).max() <= 1.0
    assert levels_of_episode(root, contract, mapping)["action_limits"] == "pass"


def test_commands_in_degrees_stay_within_the_limits_where_states_are_small(tmp_path):
    """States below 2.5 pi degrees look like rad; their commands, which are like them, show what they are."""
    columns = one_arm(7.0)
    _, mapping, _ = draft(make_set(tmp_path / "set", columns))
    assert yaml.safe_load(mapping.read_text())["state"]["joint1"]["unit"] == "deg"
    assert yaml.safe_load(mapping.read_text())["action"]["joint1"]["unit"] == "deg"


@pytest.mark.parametrize(
    ("state", "action", "cameras"),
    [
        ("state", "actions", {"image": (16, 12), "wrist_image": (16, 12)}),  # openpi's LIBERO
        ("observation.qpos", "action", {"observations.images.top": (16, 12)}),
        ("observation.state.joints", "action.joints", {"observation.image": (16, 12)}),
    ],
)
def test_columns_of_other_names_get_a_mapping(tmp_path, state, action, cameras, capsys):
    columns = one_arm()
    columns = {"velocity": columns[STATE], state: columns[STATE], action: columns[ACTION]}
    root = make_set(tmp_path / "set", columns, cameras=cameras)
    target = tmp_path / "robot.yaml"
    assert main(["dataset", "draft-contract", str(root), "--output", str(target)]) == 0
    said = capsys.readouterr().err
    mapping = tmp_path / "robot_mapping.yaml"
    assert f"import-lerobot --mapping {mapping}" in said and f"--dataset {root},mapping={mapping}" in said
    opened = open_dataset(root, mapping)
    np.testing.assert_array_equal(opened.rows(1)["action"], columns[action][0][1].astype(np.float32))
    assert len(opened.cameras) == len(cameras) and opened.image(opened.cameras[0], 1, 7)[0, 0, 0] == 7
    output = tmp_path / "ours"
    assert (
        main(["dataset", "import-lerobot", str(root), "--mapping", str(mapping), "--output", str(output)])
        == 0
    )
    assert DatasetReader(output).num_frames == 120
    capsys.readouterr()
    assert main(["dataset", "info", str(root)]) == 0
    shown = capsys.readouterr().out
    assert state in shown and action in shown and "joint1" in shown
    for camera in cameras:
        assert f"{camera}: 12 x 16" in shown


def test_a_column_can_be_named(tmp_path):
    columns = one_arm()
    root = make_set(tmp_path / "set", {"a": columns[STATE], "b": columns[ACTION]})
    with pytest.raises(DatasetError, match="say which with --action COLUMN"):
        draft(root)
    contract, mapping, _ = draft(root, state=["a"], action=["b"])
    assert len(contract.state) == 7 and "from a" not in mapping.read_text()
    with pytest.raises(DatasetError, match=r"--state \['c'\]: allowed are"):
        draft(root, state=["c"], action=["b"])


def test_odd_sizes_and_rates_have_a_way_in(tmp_path):
    columns = one_arm()
    root = make_set(tmp_path / "set", columns, cameras={"observation.images.front": (17, 13)}, fps=12.5)
    contract, mapping, _ = draft(root)
    assert contract.rate_hz == 12 and contract.cameras["front"].size == (16, 12)
    output = tmp_path / "ours"
    assert (
        main(["dataset", "import-lerobot", str(root), "--mapping", str(mapping), "--output", str(output)])
        == 0
    )
    made = DatasetReader(output)
    assert made.fps == 12 and made.episodes[0].length == 57
    wanted = np.minimum((np.arange(57) * 12.5 / 12 + 1e-6).astype(int), 59)
    np.testing.assert_array_equal(made.rows(1)["action"], columns[ACTION][0][1][wanted].astype(np.float32))
    reds = made.decode("front", 1)[:, 2:10, 2:10, 0].mean(axis=(1, 2))
    assert np.abs(reds - wanted).max() < 4


def test_a_data_set_whose_videos_are_not_there_yet_can_be_drafted(tmp_path):
    root = make_set(tmp_path / "set", one_arm())
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.images.front"]["dtype"] = "video"
    info["video_path"] = "videos/{video_key}/episode_{episode_index:06d}.mp4"
    (root / "meta/info.json").write_text(json.dumps(info))
    made = draft_contract(open_dataset(root), "drafted")
    assert "CHECK: camera front: no file" in made.contract and "width: 16" in made.contract
