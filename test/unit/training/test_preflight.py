"""Bad data is named before the first step; good data passes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_rows import CONTRACT, changed, made_rows
from training_samples import make_backbone, make_dataset

from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.dataset.quality.all_rows import check_grippers, check_speeds, check_units
from vla_adapter_ros.dataset.quality.clock import check_timing
from vla_adapter_ros.dataset.quality.instructions import check_instructions
from vla_adapter_ros.dataset.quality.joint_order import check_joint_order
from vla_adapter_ros.dataset.quality.value_ranges import check_constant, check_outliers
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import ContractMismatch, DatasetError, TrainingError, VlaAdapterError
from vla_adapter_ros.model import Tokenizer, VlaAdapterPolicy
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.training.finetune import finetune
from vla_adapter_ros.training.finetune_plan import make_plan
from vla_adapter_ros.training.settings import make_settings
from vla_adapter_ros.training.starting import Start

WORDS = Tokenizer.from_words()


def check_data(dataset, page, *, init, **settings):
    """What `finetune --check-only` does."""
    return make_plan(dataset, make_settings(**settings), Start(init)).check(page)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("set") / "data", episodes=4)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return make_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture
def copy(good, tmp_path):
    return Path(shutil.copytree(good, tmp_path / "copy"))


def edit_info(root: Path, **values) -> None:
    path = root / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def edit_rows(root: Path, episode: int, column: str, change) -> None:
    """Rewrite a column of an episode: `change` gets (T, D) or (T,)."""
    path = root / f"data/chunk-000/file-{episode:03d}.parquet"
    table = pq.read_table(path)
    at = table.column_names.index(column)
    values = change(np.array(table[column].to_pylist()))
    pq.write_table(
        table.set_column(at, table.schema.field(at), pa.array(values.tolist(), table.schema.field(at).type)),
        path,
    )


def video(root: Path) -> Path:
    return next(root.glob("videos/observation.images.gripper/*/file-001.mp4"))


def shorten(path: Path) -> None:
    with av.open(str(path)) as old:
        images = [frame.to_ndarray(format="rgb24") for frame in old.decode(video=0)][:7]
    with av.open(str(path), "w") as new:
        stream = new.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 112, 112, "yuv420p"
        for image in images:
            new.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        new.mux(stream.encode())


def lose_camera(root: Path) -> None:
    contract = replace(CONTRACT, cameras={**CONTRACT.cameras, "left_wrist": CONTRACT.cameras["gripper"]})
    write_contract(contract, root / "meta/contract.yaml")


def swap(values: np.ndarray) -> np.ndarray:
    return values[:, [1, 0, 3, 2, *range(4, values.shape[1])]]


def lose_row(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(values))[:, None] == 3, np.nan, values)


def hasten(values: np.ndarray) -> np.ndarray:
    return values[0] + (values - values[0]) / 2


FAULTS = {
    "empty data set": (lambda r: edit_info(r, total_episodes=0, total_frames=0), "is empty"),
    "missing video": (lambda r: video(r).unlink(), r"images: .*gripper/chunk-000/file-001.mp4 is missing"),
    "video shorter than rows": (
        lambda r: shorten(video(r)), r"file-001.mp4 \(camera gripper\): 7 images, 10 rows"),
    "damaged video": (lambda r: video(r).write_bytes(b"x" * 99), "file-001.mp4: no readable video"),
    "NaN in state": (
        lambda r: edit_rows(r, 2, "observation.state", lose_row),
        r"observation.state holds values that are not finite in 1 rows, the first is row 3 of episode 2",
    ),
    "wrong fps": (lambda r: edit_info(r, fps=20), "20.0 Hz, the contract says 10.0 Hz"),
    "rows faster than the rate": (
        lambda r: [edit_rows(r, n, "capture.stamp", hasten) for n in range(4)],
        r"timing: rows come at 20.00 Hz, the data set says 10 Hz",
    ),
    "unknown camera": (lose_camera, r"lacks the cameras \['left_wrist'\]; it has \['third_view', "),
    "task that is not there": (
        lambda r: edit_rows(r, 1, "task_index", lambda v: v * 0 + 7), r"task_index 0 to 7: it has 2 tasks",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_data_ends_a_training_before_it_begins(fault, copy, backbone, tmp_path):
    damage, message = FAULTS[fault]
    damage(copy)
    steps = []
    with pytest.raises(TrainingError, match=message):
        finetune(
            copy, tmp_path / "out", start=Start(backbone), steps=1, batch_size=2, progress=False,
            on_step=lambda n, _: steps.append(n),
        )  # fmt: skip
    assert not steps and not (tmp_path / "out").exists()


def test_a_changed_order_of_names_is_told(copy, backbone, tmp_path):
    info = json.loads((copy / "meta/info.json").read_text())
    names = info["features"]["observation.state"]["names"]
    names[0], names[1] = names[1], names[0]
    (copy / "meta/info.json").write_text(json.dumps(info))
    page = tmp_path / "page.html"
    with pytest.raises(
        TrainingError, match=r"(?s)contract: observation.state has the order \['fr3_joint2'.*page.html"
    ):
        check_data(copy, page, init=backbone, steps=1)
    assert "fail contract" in page.read_text()


def test_a_start_made_for_another_robot_is_refused(good, backbone, tmp_path):
    policy = VlaAdapterPolicy.from_pretrained(backbone)
    other = replace(CONTRACT, rate_hz=20.0)
    policy = VlaAdapterPolicy(
        policy.network, replace(policy.config, action_dim=8, proprio_dim=11), policy.tokenizer, None, other
    )
    policy.save_pretrained(tmp_path / "other")
    with pytest.raises((ContractMismatch, VlaAdapterError), match=r"rate_hz: 10.0 here, 20.0 there"):
        check_data(good, tmp_path / "page.html", init=tmp_path / "other", steps=1)


def test_the_page_shows_all_there_is_to_see(good, backbone, tmp_path):
    page = tmp_path / "deep/page.html"
    found = check_data([good, f"{good}=0.5"], page, init=backbone, steps=10, augmentation="official")
    assert found.level == "warn"  # joints of this made-up arm are out of their limits
    text = page.read_text()
    for line in found.lines:
        assert line.split(":")[0] in text
    assert text.count("data:image/png;base64,") == 5  # images, state, action, episodes, timing
    assert "“move left” (4)" in text and "data+" in text and "weight 0.5" in text
    assert "http" not in text
    names = [check.name for check in found.findings]
    for name in ("images", "contract", "selection", "timing", "action_is_next_state", "gripper_motion"):
        assert name in names


def test_good_rows_pass():
    rows = made_rows()
    checks = [
        check_instructions(rows, WORDS), check_constant(rows), check_units(rows), *check_grippers(rows),
        check_joint_order(rows), check_outliers("outliers_state", rows.contract.state_names, rows.state),
        check_timing([np.arange(30) * 0.1 + np.random.default_rng(0).normal(scale=0.003, size=30)], 10.0),
    ]  # fmt: skip
    assert [check.level for check in checks] == ["pass"] * 7, [check.line for check in checks]


@pytest.mark.parametrize("which", ["state", "action"])
def test_joints_in_another_order_in_one_episode_are_found(which):
    rows = made_rows()
    values = getattr(rows, which).copy()
    third = rows.episode == 3
    values[third] = swap(values[third])
    check = check_joint_order(changed(rows, **{which: values}))
    assert check.level == "fail"
    assert f"{which} of episode 3" in check.text and "fr3_joint2 at the place of fr3_joint1" in check.text


def test_an_episode_elsewhere_is_no_changed_order():
    rows = made_rows()
    state = rows.state.copy()
    state[rows.episode == 3, :4] += 1.0
    assert check_joint_order(changed(rows, state=state)).level == "pass"
    assert check_joint_order(made_rows(episodes=3)).level == "skip"


def test_degrees_are_told_from_radians():
    rows = made_rows()
    check = check_units(changed(rows, state=np.degrees(rows.state)))
    assert check.level == "fail" and "degrees or counts of a servo?" in check.text
    state = rows.state.copy()
    state[:5, 3] = -3.2  # a little beyond
    check = check_units(changed(rows, state=state))
    assert check.level == "warn" and check.value == pytest.approx(5 / 120)
    assert "fr3_joint4" in check.text and "-3 to -0.19" in check.text


def test_speeds_of_deltas_are_compared_with_the_limits():
    rows = made_rows()
    assert check_speeds(rows).level == "skip"
    delta = replace(CONTRACT, action=replace(CONTRACT.action, space="joint_delta"))
    step = np.full_like(rows.action, 0.1)  # 1 rad/s at 10 Hz
    assert check_speeds(changed(rows, contract=delta, action=step)).level == "pass"
    assert check_speeds(changed(rows, contract=delta, action=2 * step)).level == "warn"
    check = check_speeds(changed(rows, contract=delta, action=step * 60))
    assert check.level == "fail" and "is `scale` right?" in check.text


@pytest.mark.parametrize(
    ("change", "level", "message"),
    [
        (lambda v: 255 * v, "fail", "do not fit"),
        (lambda v: 2 * v - 1, "warn", "do not fit"),
        (lambda v: 0 * v + 1, "warn", "neither opens nor closes"),
        (lambda v: 1 - v, "warn", "swapped"),
        (lambda v: v, "pass", "0.0% of commands"),
    ],
)
def test_the_gripper_means_what_the_contract_says(change, level, message):
    rows = made_rows(length=30)
    action = rows.action.copy()
    value = np.where(np.arange(len(action)) % 30 >= 20, 0.0, 1.0)
    action[:, 7] = change(value)
    (check,) = check_grippers(changed(rows, action=action))
    assert (check.level, message in check.text) == (level, True), check.line


def test_values_that_never_or_hardly_change():
    rows = made_rows()
    state = rows.state.copy()
    state[:, 2], state[:, 4] = 0.2, 0.6 + 1e-8 * rows.state[:, 4]
    check = check_constant(changed(rows, state=state))
    assert check.level == "warn" and check.value == 2
    assert "(fr3_joint3)" in check.text and "(fr3_joint5)" in check.text
    still = np.where(np.arange(8) < 7, 1.0, rows.action)
    assert check_constant(changed(rows, action=still)).level == "fail"


def test_a_value_far_out_is_named():
    rows = made_rows()
    state = rows.state.copy()
    state[17, 5] = 40.0
    check = check_outliers("outliers_state", rows.contract.state_names, state)
    assert check.level == "warn" and "fr3_joint6 = 40" in check.text


def test_sentences():
    rows = made_rows()
    assert check_instructions(changed(rows, tasks=("pick up the red cube", " ")), WORDS).level == "fail"
    check = check_instructions(changed(rows, tasks=("take the fork", "take the spoon")), WORDS)
    assert check.level == "fail" and "look the same to the model" in check.text
    check = check_instructions(changed(rows, tasks=("take the fork", "take the cube")), WORDS)
    assert check.level == "warn" and "does not know fork" in check.text.replace("'", "")
    one = check_instructions(changed(rows, task=np.zeros(120, dtype=np.int64)), WORDS)
    assert one.level == "warn" and "cannot learn to listen" in one.text
    assert check_instructions(changed(rows, tasks=("Take it", "take it")), WORDS).level == "pass"


def test_timing():
    assert check_timing([], 10.0).level == "skip"
    gaps = np.full(200, 0.1)
    gaps[::20] = 0.2
    check = check_timing([np.cumsum(gaps)], 10.0)
    assert check.level == "warn" and "longest 200" in check.text
    assert check_timing([np.arange(20) / 15.0], 10.0).level == "fail"


def test_a_damaged_table_is_named(copy, backbone, tmp_path):
    (copy / "data/chunk-000/file-001.parquet").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"file-001.parquet: not readable"):
        check_data(copy, tmp_path / "page.html", init=backbone, steps=1)


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        (("拿起红色方块", "拿起蓝色方块"), "look the same to the model"),
        (("🟥", "🟦"), "has no word that the model can read"),
        (("возьми cube", "take the cube"), "does not know"),
    ],
)
def test_sentences_in_another_script_are_told_a_way_out(tasks, told):
    check = check_instructions(changed(made_rows(), tasks=tasks), WORDS)
    assert told in check.text and "--preset tiny" in check.text and "--init prismatic" in check.text


def test_a_tiny_model_from_scratch_knows_the_words_of_every_script():
    tasks = ("拿起，红色方块。", "पकड़ो, लाल घन!", "возьми: «кубик»")
    own = Tokenizer.from_words(tasks)
    assert not [word for task in tasks for word in own.unknown_words(task)]
    assert check_instructions(changed(made_rows(), tasks=tasks[:2]), own).level == "pass"


def test_a_task_that_nobody_can_see_is_none():
    check = check_instructions(changed(made_rows(), tasks=("take it", "\u200b")), WORDS)
    assert check.level == "fail" and "have none" in check.text


@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1, 1), (1, 5, 1)], ids=str)
def test_episodes_of_one_row_are_looked_at(lengths, backbone, tmp_path):
    with DatasetWriter(tmp_path / "set", CONTRACT) as writer:
        for number, length in enumerate(lengths):
            writer.start_episode("take it")
            for n in range(length):
                images = {name: np.full((112, 112, 3), 90, np.uint8) for name in CONTRACT.cameras}
                action = np.full(8, 0.1 * (n + number))
                stamp = 10.0 * number + 0.1 * n
                writer.add_frame(Frame(stamp, images, np.full(11, 0.1 * (n + number)), action, {}, stamp), 1)
            writer.save_episode()
    page = tmp_path / "page.html"
    try:
        check_data(tmp_path / "set", page, init=backbone, steps=1)
    except TrainingError as error:
        assert "cannot be trained on" in str(error)  # a single row moves nothing
    assert page.is_file()


def test_a_black_camera_and_repeated_images_are_named_before_a_training(backbone, tmp_path):
    with DatasetWriter(tmp_path / "set", CONTRACT) as writer:
        for episode in range(2):
            writer.start_episode("take it")
            for n in range(40):
                image = np.full((112, 112, 3), 90, np.uint8)
                image[30:80, 2 * (n - n % 2) : 2 * (n - n % 2) + 20] = 220  # each image stands for two rows
                images = dict(zip(CONTRACT.cameras, (image, 0 * image), strict=True))
                state = np.full(11, 0.3 * np.sin(n / 4))
                action = np.array([*(state[:7] + 0.02), float(n < 20)])
                writer.add_frame(Frame(100 * episode + 0.1 * n, images, state, action, {}, 0.0), 1)
            writer.save_episode()
    found = {
        c.name: c for c in check_data(tmp_path / "set", tmp_path / "p.html", init=backbone, steps=1).findings
    }
    assert found["black_camera"].level == "warn" and "2 of 2 episodes (0, 1)" in found["black_camera"].text
    assert found["repeated_frames"].level == "warn", found["repeated_frames"].line
    assert "a failure that stops no training" in found["black_camera"].text  # it says why it only warns
