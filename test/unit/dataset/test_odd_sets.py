"""Data sets by others as they are published: read where their meaning is certain, else refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_samples import MAPPING, make_foreign, make_ours
from recording_samples import CONTRACT

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.dataset.info_json import check_info, names_of
from vla_adapter_ros.dataset.mapping import dimension_names, parse_mapping, read_mapping
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.quality.dataset_report import check_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.importing import import_lerobot
from vla_adapter_ros.dataset.tools.info import describe_dataset
from vla_adapter_ros.errors import DatasetError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> DatasetReader:
    return make_ours(tmp_path_factory.mktemp("ours") / "set", (5, 4, 6))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, ours) -> Path:
    return make_foreign(tmp_path_factory.mktemp("foreign") / "set", ours)


@pytest.fixture
def foreign(tmp_path, whole) -> Path:
    """A v2.1 data set of three episodes with the cameras front and wrist."""
    return Path(shutil.copytree(whole, tmp_path / "v21"))


@pytest.fixture
def modern(tmp_path, ours) -> Path:
    """A v3.0 data set of three episodes without a contract."""
    root = Path(shutil.copytree(ours.root, tmp_path / "v30"))
    (root / "meta/contract.yaml").unlink()
    return root


def change_info(root: Path, change) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    change(info)
    (root / "meta/info.json").write_text(json.dumps(info))


def change_table(path: Path, name: str, column=None) -> None:
    table = pq.read_table(path)
    at = table.column_names.index(name)
    table = table.remove_column(at) if column is None else table.set_column(at, name, column)
    pq.write_table(table, path)


def commands(root: Path, capsys) -> dict[str, tuple[int, str]]:
    """Exit status and words of what people do first."""
    found = {}
    for name in ("info", "check", "draft-contract"):
        status = main(["dataset", name, str(root)])
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        found[name] = (status, out.out + out.err)
    return found


# Names and shapes


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([["a", "b", "c"]], ("a", "b", "c")),
        ([["a"], ["b", ["c"]]], ("a", "b", "c")),
        ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"left": ["a"], "right": {"arm": ["b", "c"]}}, ("a", "b", "c")),
        ({"a": 0, "c": 2, "b": 1}, ("a", "b", "c")),
        (["a", "b", "c"], ("a", "b", "c")),
        ([["a", "b"]], None),
        (None, None),
    ],
)
def test_names_may_be_nested(foreign, names, wanted):
    info = json.loads((foreign / "meta/info.json").read_text())
    info["features"]["action"] = {"dtype": "float32", "shape": [3], "names": names}
    feature = check_info(info, foreign)["features"]["action"]
    assert dimension_names(feature) == wanted
    assert names_of(feature, "v") == (wanted or ("v0", "v1", "v2"))


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ([48, 64, 3], ["height", "width", "channels"]),
        ([48, 64, 3], ["height", "width", "channel"]),
        ([48, 64, 3], None),
        ([3, 48, 64], ["channels", "height", "width"]),
        ([3, 48, 64], ["height", "width", "channels"]),
        ([3, 48, 64], ["rgb"]),
        ([48, 64, 3], ["channels", "height", "width"]),
        ([64, 48, 3], ["width", "height", "channels"]),
        ([3, 64, 48], ["channels", "width", "height"]),
        ([48, 3, 64], ["height", "channels", "width"]),
    ],
)
def test_shapes_of_cameras_in_any_order(foreign, shape, names):
    info = json.loads((foreign / "meta/info.json").read_text())
    info["features"]["observation.images.front"] |= {"shape": shape, "names": names}
    feature = check_info(info, foreign)["features"]["observation.images.front"]
    assert feature["shape"] == [48, 64, 3] and feature["names"] == ["height", "width", "channels"]


def test_a_shape_that_the_video_contradicts(foreign):
    info = json.loads((foreign / "meta/info.json").read_text())
    camera = info["features"]["observation.images.front"] | {"shape": [64, 48, 3]}
    camera["info"] = {"video.height": 48, "video.width": 64}
    info["features"]["observation.images.front"] = camera
    assert check_info(info, foreign)["features"]["observation.images.front"]["shape"] == [48, 64, 3]


# Templates


def test_a_v2_set_may_be_laid_out_as_v3(foreign, ours):
    for n in range(3):
        place = foreign / f"data/chunk-000/episode_{n:06d}.parquet"
        place.rename(place.with_name(f"file-{n:03d}.parquet"))
    change_info(
        foreign, lambda i: i.update(data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet")
    )
    np.testing.assert_array_equal(open_dataset(foreign).rows(2)["index"], ours.rows(2)["index"])


def test_a_v3_set_may_name_its_files_by_episode(modern, ours):
    for n in range(3):
        (modern / f"data/chunk-000/file-{n:03d}.parquet").rename(modern / f"data/chunk-000/e{n}.parquet")
        for key in ("gripper", "third_view"):
            folder = modern / f"videos/observation.images.{key}/chunk-000"
            (folder / f"file-{n:03d}.mp4").rename(modern / f"videos/{n}-{key}.mp4")
    change_info(
        modern,
        lambda i: i.update(
            data_path="data/chunk-{episode_chunk:03d}/e{episode_index}.parquet",
            video_path="videos/{episode_index}-{video_key}.mp4".replace("{video_key}", "gripper"),
        ),
    )
    dataset = open_dataset(modern)
    np.testing.assert_array_equal(dataset.rows(1)["action"], ours.rows(1)["action"])
    np.testing.assert_array_equal(dataset.image("gripper", 1, 2), ours.image("gripper", 1, 2))


@pytest.mark.parametrize("kind", ["data_path", "video_path"])
@pytest.mark.parametrize("field", ["chunk_key", "task", "0", "episode_index.real"])
def test_another_field_is_refused_by_name(foreign, capsys, kind, field):
    change_info(foreign, lambda i: i.update({kind: f"data/{{{field}}}/x"}))
    for status, words in commands(foreign, capsys).values():
        assert status == 1 and kind in words and "info.json" in words and "episode_index" in words


# Tasks and columns


def test_the_one_sentence_of_an_episode_stands_for_a_missing_column(foreign, modern):
    for root, paths in ((foreign, "data/*/*.parquet"), (modern, "data/*/*.parquet")):
        for path in root.glob(paths):
            change_table(path, "task_index")
        change_info(root, lambda i: i["features"].pop("task_index"))
        dataset = open_dataset(root)
        assert [dataset.task_of(n) for n in range(3)] == ["wave", "push", "wave"]
        assert {c.name: c.level for c in check_dataset(root).structure}["tasks"] == "pass"


def test_a_column_that_is_declared_and_missing_is_read_if_the_episode_tells(modern):
    change_table(modern / "data/chunk-000/file-001.parquet", "task_index")
    assert open_dataset(modern).row_tasks(1) == ["push"] * 4


def test_several_sentences_do_not_stand_for_a_missing_column(foreign):
    lines = [json.loads(line) for line in (foreign / "meta/episodes.jsonl").read_text().splitlines()]
    lines[1]["tasks"] = ["push", "pull"]
    (foreign / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for path in foreign.glob("data/*/*.parquet"):
        change_table(path, "task_index")
    with pytest.raises(
        DatasetError, match=r"no column task_index in .*episode_000001\.parquet, and episode 1"
    ):
        open_dataset(foreign).task_of(1)


def test_without_a_table_of_tasks(foreign, modern):
    (foreign / "meta/tasks.jsonl").unlink()
    (modern / "meta/tasks.parquet").unlink()
    for root in (foreign, modern):
        assert [open_dataset(root).task_of(n) for n in range(3)] == ["wave", "push", "wave"]


def test_without_total_tasks_and_with_numbers_that_nobody_uses(modern):
    change_info(modern, lambda i: i.pop("total_tasks"))
    pq.write_table(pa.table({"task": ["wave", "push"], "task_index": [0, 7]}), modern / "meta/tasks.parquet")
    change_table(modern / "data/chunk-000/file-001.parquet", "task_index", pa.array([7] * 4, pa.int64()))
    assert open_dataset(modern).task_of(1) == "push"


@pytest.mark.parametrize("column", ["observation.state", "action"])
def test_a_null_is_named(foreign, modern, column, capsys):
    for root, name in ((foreign, "episode_000001"), (modern, "file-001")):
        path = root / f"data/chunk-000/{name}.parquet"
        cells = pq.read_table(path)[column].to_pylist()
        cells[2] = None
        change_table(path, column, pa.array(cells, pa.list_(pa.float32())))
        with pytest.raises(DatasetError, match=rf"{name}\.parquet: column {column} holds null in row 2"):
            open_dataset(root).rows(1)
        assert open_dataset(root).rows(0)[column].ndim == 2
        found = commands(root, capsys)
        assert found["check"][0] == 1 and "holds null in row 2" in found["check"][1]


def test_a_declared_column_that_is_absent_is_named(foreign, capsys):
    change_info(
        foreign, lambda i: i["features"].update(force={"dtype": "float32", "shape": [1], "names": None})
    )
    for status, words in commands(foreign, capsys).values():
        assert status == 1 and "no column force, which info.json declares" in words


def test_nothing_was_recorded(foreign, modern, capsys):
    (foreign / "meta/episodes.jsonl").write_text("")
    change_info(modern, lambda i: i.update(total_episodes=0, total_frames=0, total_tasks=0))
    shutil.rmtree(modern / "meta/episodes")
    (modern / "meta/tasks.parquet").unlink()
    for root in (foreign, modern):
        found = commands(root, capsys)
        assert found["info"][0] == 0 and "0 episodes" in found["info"][1]
        assert found["check"][0] == 1 and "nothing was recorded" in found["check"][1]
        assert found["draft-contract"][0] == 1 and "has no episode" in found["draft-contract"][1]
        with pytest.raises(DatasetError, match="episode 0: it has none"):
            open_dataset(root).rows(0)


# Missing files


def test_a_camera_without_files_hides_nothing(foreign, ours, tmp_path, capsys):
    shutil.rmtree(foreign / "videos/chunk-000/observation.images.wrist")
    dataset = open_dataset(foreign)
    assert dataset.num_episodes == 3 and dataset.cameras == ("front",)
    np.testing.assert_array_equal(dataset.image("front", 1, 2), ours.image("third_view", 1, 2))
    for command in ("info", "check"):
        words = commands(foreign, capsys)[command][1]
        assert "observation.images.wrist/episode_000000.mp4 and 2 more" in words
    with pytest.raises(DatasetError, match=r"camera wrist: no file .*episode_000000\.mp4 and 2 more"):
        open_dataset(foreign, parse_mapping(MAPPING))


def test_episodes_are_checked_by_the_cameras_that_are_wanted(foreign):
    (foreign / "videos/chunk-000/observation.images.wrist/episode_000001.mp4").unlink()
    assert open_dataset(foreign).missing == (1,)
    only_front = {key: value for key, value in MAPPING.items() if key not in ("contract", "state", "action")}
    only_front["cameras"] = {"top": "front"}
    dataset = open_dataset(foreign, parse_mapping(only_front))
    assert (dataset.num_episodes, dataset.missing) == (3, ()) and dataset.rows(2)["index"][0] == 9
    with pytest.raises(DatasetError, match="allowed are"):
        next(dataset.images("wrist", 1))


def test_a_v3_camera_without_files_hides_nothing(modern, capsys):
    shutil.rmtree(modern / "videos/observation.images.gripper")
    assert open_dataset(modern).cameras == ("third_view",)
    found = commands(modern, capsys)
    assert "file-000.mp4 and 2 more" in found["info"][1] and found["info"][0] == 0
    assert found["check"][0] == 0 and "file-000.mp4 and 2 more" in found["check"][1]
    with pytest.raises(DatasetError, match=r"camera gripper: no file .*file-000\.mp4"):
        open_dataset(modern, contract=CONTRACT)


def test_gaps_keep_the_number_that_the_set_itself_gives(tmp_path, foreign, capsys):
    (foreign / "data/chunk-000/episode_000001.parquet").unlink()
    dataset = open_dataset(foreign, parse_mapping(MAPPING))
    assert [e.number for e in dataset.episodes] == [0, 2]
    report = import_lerobot(dataset, CONTRACT, tmp_path / "set")
    assert [e.source for e in report.episodes] == ["v21, episode 0", "v21, episode 2"]
    notes = json.loads((tmp_path / "set/meta/recordings.json").read_text())["episodes"]
    assert notes[1]["source"] == "v21, episode 2, rows 0 to 5"
    (foreign / "videos/chunk-000/observation.images.front/episode_000002.mp4").write_bytes(b"no video")
    words = commands(foreign, capsys)["check"][1]
    assert "camera front, episode 2" in words and "see `repair`" not in words


def test_an_episode_that_is_listed_twice_is_refused(foreign):
    lines = (foreign / "meta/episodes.jsonl").read_text()
    (foreign / "meta/episodes.jsonl").write_text(lines + lines.splitlines()[0] + "\n")
    with pytest.raises(DatasetError, match=r"episodes\.jsonl: episode_index 0 more than once"):
        open_dataset(foreign)


# Pointers and crashes


@pytest.mark.parametrize(
    "name",
    ["meta/info.json", "meta/tasks.parquet", "meta/episodes/chunk-000/file-000.parquet",
     "data/chunk-000/file-000.parquet", "meta/stats.json",
     "videos/observation.images.gripper/chunk-000/file-000.mp4"],
)  # fmt: skip
def test_a_pointer_is_called_one(modern, name, capsys):
    (modern / name).write_text(POINTER)
    words = commands(modern, capsys)["check"][1]
    assert f"{modern / name} is a Git LFS pointer: run `git lfs pull`" in words


def test_pointers_in_a_v2_set_and_beside_it(foreign, tmp_path):
    (foreign / "meta/episodes.jsonl").write_text(POINTER)
    with pytest.raises(DatasetError, match=r"episodes\.jsonl is a Git LFS pointer: run `git lfs pull`"):
        open_dataset(foreign)
    (tmp_path / "mapping.yaml").write_text(POINTER)
    with pytest.raises(DatasetError, match=r"mapping\.yaml: it is a Git LFS pointer"):
        read_mapping(tmp_path / "mapping.yaml")


def test_what_a_crashed_recorder_of_lerobot_leaves(modern, tmp_path, capsys):
    """Its tables have no end before it is closed; info.json counts the episodes already."""
    table = modern / "meta/episodes/chunk-000/file-000.parquet"
    cut = Path(shutil.copytree(modern, tmp_path / "cut"))
    (cut / table.relative_to(modern)).write_bytes(table.read_bytes()[:-30])
    data = Path(shutil.copytree(modern, tmp_path / "data"))
    for path in data.glob("data/*/*.parquet"):
        path.write_bytes(path.read_bytes()[:-30])
    gone = Path(shutil.copytree(modern, tmp_path / "gone"))
    shutil.rmtree(gone / "meta/episodes")
    for root, said in ((cut, "its end is missing"), (data, "its end is missing"), (gone, "did not finish")):
        (root / "meta/stats.json").unlink()
        for status, words in commands(root, capsys).values():
            assert status == 1 and said in words
    (modern / "meta/stats.json").unlink()
    assert "stats.json: no such file" in commands(modern, capsys)["check"][1]


# Pictures


def test_a_grey_picture_of_16_bits_is_depth(tmp_path, ours):
    root = make_foreign(tmp_path / "set", ours, images="image")
    path = root / "data/chunk-000/episode_000000.parquet"
    deep = cv2.imencode(".png", np.full((112, 112), 1500, np.uint16))[1].tobytes()
    change_table(path, "observation.images.front", pa.array([{"bytes": deep, "path": None}] * 5))
    with pytest.raises(DatasetError, match="16 bits is depth, not color"):
        open_dataset(root).image("front", 0, 0)


def test_pictures_may_lie_in_files_of_the_set(tmp_path, ours):
    root = make_foreign(tmp_path / "set", ours, images="image")
    path = root / "data/chunk-000/episode_000001.parquet"
    cells = pq.read_table(path)["observation.images.front"].to_pylist()
    (root / "images").mkdir()
    for n, cell in enumerate(cells):
        (root / f"images/{n}.png").write_bytes(cell["bytes"])
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    named = [{"bytes": None, "path": f"images/{n}.png"} for n in range(len(cells))]
    named[3]["path"] = "../../outside.png"
    (tmp_path.parent / "outside.png").write_bytes(cells[3]["bytes"])
    change_table(path, "observation.images.front", pa.array(named, kind))
    dataset = open_dataset(root)
    np.testing.assert_array_equal(dataset.image("front", 1, 2), ours.image("third_view", 1, 2))
    with pytest.raises(DatasetError, match="row 3"):
        dataset.image("front", 1, 3)


def encode(path: Path, images, **options: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 112, 112, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def test_videos_with_b_frames_and_without_a_count(tmp_path, ours, foreign):
    images = ours.decode("third_view", 2)
    moving = np.stack([np.roll(images[0], 4 * n, axis=1) for n in range(6)])
    video = foreign / "videos/chunk-000/observation.images.front/episode_000002.mp4"
    encode(video, moving, crf="1", bf="3", b_strategy="0", g="12")
    dataset = open_dataset(foreign, parse_mapping(MAPPING))
    assert np.abs(dataset.decode("third_view", 2).astype(int) - moving).mean() < 4
    report = import_lerobot(dataset, CONTRACT, tmp_path / "set")
    assert any("encoded again: it has B-frames" in line for line in report.episodes[2].remarks)
    found = DatasetReader(tmp_path / "set").decode("third_view", 2)
    assert np.abs(found.astype(int) - moving).mean() < 5
    encode(video, moving, bf="0")
    with (
        av.open(str(video)) as source,
        av.open(str(tmp_path / "f.mp4"), "w", options={"movflags": "frag_keyframe+empty_moov"}) as out,
    ):
        copy = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    shutil.copy(tmp_path / "f.mp4", video)  # no header counts its images
    levels = {check.name: check.level for check in check_dataset(foreign).structure}
    assert levels["images"] == "pass"


def test_depth_without_a_mark_is_no_image_of_colors(tmp_path, foreign):
    video = foreign / "videos/chunk-000/observation.images.front/episode_000000.mp4"
    with av.open(str(video), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 112, 112, "gray12le"
        for n in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((112, 112), 100 * n, np.uint16), format="gray12le")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DatasetError, match=r"holds depth \(gray12le\)"):
        open_dataset(foreign).image("front", 0, 0)
    assert {c.name: c.level for c in check_dataset(foreign).structure}["decoding"] == "fail"
    change_info(
        foreign,
        lambda i: i["features"]["observation.images.front"].update(info={"video.pix_fmt": "gray12le"}),
    )
    assert "front" not in open_dataset(foreign).cameras


def test_a_contract_that_is_a_pointer(modern):
    (modern / "meta/contract.yaml").write_text(POINTER)
    (line,) = check_dataset(modern).lines
    assert line.startswith("fail format") and "contract.yaml" in line and "Git LFS pointer" in line


def test_info_tells_the_tasks_of_every_row(modern):
    change_table(modern / "data/chunk-000/file-002.parquet", "task_index", pa.array([0, 0, 1, 1, 1, 0]))
    found = describe_dataset(modern)
    assert found["tasks"] == {"wave": 2, "push": 2} and found["episodes_of_several_tasks"] == 1


# Parts of data sets, and numbers of other types


def test_a_part_of_a_v3_set_keeps_its_numbers(modern, ours, tmp_path, capsys):
    table = pq.read_table(modern / "meta/episodes/chunk-000/file-002.parquet")
    (modern / "meta/episodes/chunk-000/file-002.parquet").unlink()
    (modern / "data/chunk-000/file-000.parquet").unlink()
    dataset = open_dataset(modern)
    assert (dataset.num_episodes, dataset.num_frames, dataset.missing) == (
        1,
        4,
        (0, 2),
    ) and table.num_rows == 1
    assert dataset.episodes[0].number == 1 and dataset.task_of(0) == "push"
    rows = dataset.rows(0)
    np.testing.assert_array_equal(rows["action"], ours.rows(1)["action"])
    assert rows["index"].tolist() == [0, 1, 2, 3] and not rows["episode_index"].any()
    np.testing.assert_array_equal(dataset.image("gripper", 0, 3), ours.image("gripper", 1, 3))
    found = commands(modern, capsys)
    assert found["info"][0] == 0 and "(2 more are missing)" in found["info"][1]
    assert (
        "2 more episodes lack files, such as" in found["check"][1] and "file-000.parquet" in found["check"][1]
    )
    report = import_lerobot(open_dataset(modern, contract=CONTRACT), CONTRACT, tmp_path / "set")
    assert [e.source for e in report.episodes] == ["v30, episode 1"] and report.kept == 1


def test_of_a_set_of_ours_nothing_may_be_missing(modern, ours):
    shutil.copy(ours.root / "meta/contract.yaml", modern / "meta/contract.yaml")
    (modern / "data/chunk-000/file-000.parquet").unlink()
    assert check_dataset(modern).level == "fail"
    (modern / "meta/episodes/chunk-000/file-002.parquet").unlink()
    with pytest.raises(DatasetError, match=r"describes 2 episodes, info\.json says 3"):
        open_dataset(modern)


def test_a_template_that_errs_about_the_chunk(foreign, ours):
    change_info(
        foreign,
        lambda i: i.update(data_path="data/chunk-{episode_index:03d}/episode_{episode_index:06d}.parquet"),
    )
    np.testing.assert_array_equal(open_dataset(foreign).rows(2)["index"], ours.rows(2)["index"])
    copy = foreign / "data/chunk-007/episode_000002.parquet"
    copy.parent.mkdir()
    shutil.copy(foreign / "data/chunk-000/episode_000002.parquet", copy)
    assert open_dataset(foreign).missing == (2,)  # which of the two is meant, nobody knows


def test_whole_numbers_as_doubles(modern, ours):
    for path in modern.glob("data/*/*.parquet"):
        for name in ("frame_index", "episode_index", "index", "task_index"):
            change_table(path, name, pq.read_table(path)[name].cast(pa.float64()))
    dataset = open_dataset(modern)
    assert dataset.rows(2)["task_index"].dtype == np.int64 and dataset.task_of(1) == "push"
    path = modern / "data/chunk-000/file-001.parquet"
    change_table(path, "task_index", pa.array([0.5] * 4))
    with pytest.raises(DatasetError, match="allowed is one whole number in each row"):
        dataset = open_dataset(modern)
        dataset.rows(1)


def test_pictures_without_a_struct(tmp_path, ours):
    root = make_foreign(tmp_path / "set", ours, images="image")
    path = root / "data/chunk-000/episode_000001.parquet"
    key = "observation.images.front"
    change_table(path, key, pa.array([cell["bytes"] for cell in pq.read_table(path)[key].to_pylist()]))
    np.testing.assert_array_equal(open_dataset(root).image("front", 1, 2), ours.image("third_view", 1, 2))


@pytest.mark.parametrize("name", ["meta/info.json", "meta/episodes.jsonl"])
def test_an_empty_file_is_called_empty(foreign, name, capsys):
    (foreign / name).write_bytes(b"")
    words = commands(foreign, capsys)["check"][1]
    assert "is empty (0 bytes)" in words if name.endswith(".json") else "nothing was recorded" in words


def test_the_older_name_of_what_a_video_says(foreign):
    change_info(
        foreign, lambda i: i["features"]["observation.images.front"].update(video_info={"video.codec": "av1"})
    )
    assert describe_dataset(foreign)["cameras"]["front"] == {"shape": [112, 112, 3], "codec": "av1"}
