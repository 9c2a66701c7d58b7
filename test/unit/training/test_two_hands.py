"""Two arms with a gripper each, and without: data checks, a short training, and back to the controller."""

from __future__ import annotations

import numpy as np
import pytest
import two_hands
from training_samples import make_backbone

from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.dataset.quality.all_rows import check_grippers, check_units
from vla_adapter_ros.dataset.quality.value_ranges import check_constant
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.samples import compute_statistics, is_closed, read_rows
from vla_adapter_ros.training.data.selection import is_idle
from vla_adapter_ros.training.finetune import finetune
from vla_adapter_ros.training.starting import Start

CONTRACT, BARE = two_hands.CONTRACT, two_hands.without_hands()


@pytest.fixture(scope="module", params=[CONTRACT, BARE], ids=["two grippers", "none"])
def recorded(request, tmp_path_factory):
    contract = request.param
    return contract, two_hands.make_set(tmp_path_factory.mktemp("set") / "demonstrations", contract)


def read(contract, root, **columns: np.ndarray):
    rows = read_rows(DatasetReader(root), contract)
    for name, values in columns.items():
        rows.action[:, contract.action_names.index(name)] = values
    return rows


def test_what_is_closed_and_when(recorded):
    contract, root = recorded
    rows = read(contract, root)
    closed = is_closed(rows.action, contract)[:12]
    assert closed.shape == (12, len(contract.grippers))
    if not contract.grippers:
        assert (rows.waypoint == -1).all()
        return
    assert closed[:, 0].tolist() == [n >= 6 for n in range(12)]
    assert closed[:, 1].tolist() == [n > 5 for n in range(12)]
    assert rows.waypoint[:12].tolist() == [6] * 6 + [-1] * 6


def test_a_hand_that_rests_closed_does_not_hide_what_the_other_does(tmp_path):
    frames = [two_hands.make_frame(n) for n in range(12)]
    for frame in frames:
        frame.action[5] = 1.0
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        writer.start_episode("lift the box")
        for frame in frames:
            writer.add_frame(frame, 1)
        writer.save_episode()
    assert read(CONTRACT, tmp_path).waypoint.tolist() == [6] * 6 + [-1] * 6


def test_a_chunk_in_which_either_hand_moves_is_not_idle(recorded):
    contract, root = recorded
    rows = read(contract, root)
    rows.action[:, contract.arm_places] = 0.1
    idle = is_idle(rows, np.arange(12), 2, 0.01)
    if not contract.grippers:
        assert idle.all()
        return
    assert np.flatnonzero(~idle).tolist() == [5, 6]
    rows.action[:, 2] = 1.0
    assert np.flatnonzero(~is_idle(rows, np.arange(12), 2, 0.01)).tolist() == [5, 6]  # the right one alone


def test_binary_grippers_get_their_own_range(recorded):
    contract, root = recorded
    rows = read(contract, root)
    statistics = compute_statistics("set", rows, contract)
    quantiles = np.quantile(rows.action, 0.99, axis=0)
    if contract.grippers:
        assert (statistics.action.q01[2], statistics.action.q99[2]) == (0.0, 1.0)
        rows.action[:, 2] = 1.0
        assert compute_statistics("set", rows, contract).action.q01[2] == 0.0
    others = [n for n in range(len(contract.action_names)) if n != 2 or not contract.grippers]
    np.testing.assert_allclose(statistics.action.q99[others], quantiles[others])


def test_data_checks_name_each_hand(recorded):
    contract, root = recorded
    rows = read(contract, root)
    checks = check_grippers(rows)
    if not contract.grippers:
        assert [(c.name, c.level) for c in checks] == [("gripper", "skip")]
    else:
        assert [c.text.split(":")[0] for c in checks] == ["left_grip", "right_grip"]
        assert {c.level for c in checks} == {"pass"}
        wrong = check_grippers(read(contract, root, right_grip=100.0))
        assert [c.level for c in wrong] == ["pass", "fail"]
    assert check_constant(rows).level == "pass"
    assert check_units(rows).level == "pass"
    rows.action[:, contract.arm_places[0]] *= 180 / np.pi
    assert "action lead_left_waist" in check_units(rows).text


def test_a_short_training_and_back_to_the_controller(recorded, tmp_path):
    contract, root = recorded
    backbone = make_backbone(tmp_path / "tiny")
    trained = finetune(
        root,
        tmp_path / "policy",
        start=Start(backbone),
        steps=2,
        batch_size=2,
        warmup_steps=1,
        progress=False,
        pages=False,
    )
    policy = VlaAdapterPolicy.from_pretrained(trained.output)
    assert policy.contract == contract and policy.config.action_dim == len(contract.action_names)
    assert policy.config.output.gripper_columns == tuple(contract.gripper_places)
    frame = two_hands.make_frame(0, contract)
    rows = policy.predict(list(frame.images.values()), "lift the box", frame.state)
    core = MotionCore(policy.contract)
    here = frame.state[[0, 1, 3, 4]]
    rows[:, contract.arm_places] = here  # two steps have taught it no motion; grippers are as predicted
    arms = dict(zip(contract.arm_joints, here, strict=True))
    chunk = Chunk(0.05, rows, contract.action_names, contract.rate_hz, "session", 1, 0)
    for k in range(60):
        core.measure(arms, k * 0.01, k * 0.01)
        core.tick(k * 0.01)
        if k == 5:
            core.accept_chunk(chunk, 0.05)
    assert core.state == "running"
    told = core.gripper_positions
    assert len(told) == len(contract.grippers)
    if told:
        assert told[0] in (0.0, 0.04) and 0.02 <= told[1] <= 0.08
