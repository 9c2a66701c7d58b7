"""Reading data sets: those of others, and damaged ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recording_samples import CONTRACT, record

from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError

REPOSITORY = Path(__file__).parents[3]
SHARED = Path(os.environ.get("VLA_ADAPTER_SHARED", REPOSITORY.parent / "shared"))
SO101 = SHARED / "data/so101_lerobot_v30"


@pytest.fixture
def dataset(tmp_path) -> Path:
    with DatasetWriter(tmp_path, CONTRACT) as writer:
        for seed in range(3):
            record(writer, f"task {seed}", 4 + seed, seed)
    return tmp_path


@pytest.mark.skipif(
    not SO101.is_dir(),
    reason="real recordings are not here: VLA_ADAPTER_SHARED names the folder that holds data/",
)
def test_a_data_set_of_others_with_all_episodes_in_one_file():
    reader = DatasetReader(SO101)
    assert (reader.num_episodes, reader.num_frames, reader.fps) == (6, 1782, 30.0)
    assert reader.tasks == ("pick and place",)
    assert reader.cameras == ("wrist",)
    assert reader.contract is None
    assert len({episode.data for episode in reader.episodes}) == 1
    for n, episode in enumerate(reader.episodes):
        rows = reader.rows(n)
        assert rows["action"].shape == (episode.length, 6)
        assert rows["index"][0] == episode.first_row
        assert reader.task_of(n) == "pick and place"
    first, last = reader.decode("wrist", 0), reader.decode("wrist", 5)
    assert first.shape == (reader.episodes[0].length, 360, 640, 3)
    # The stored mean tells whether the images are those of this episode, in RGB order.
    stored = pq.read_table(SO101 / "meta/episodes/chunk-000/file-000.parquet")
    np.testing.assert_array_equal(reader.image("wrist", 5, 123), last[123])
    for number, images in ((0, first), (5, last)):
        mean = stored["stats/observation.images.wrist/mean"].to_pylist()[number]
        np.testing.assert_allclose(images.mean(axis=(0, 1, 2)) / 255, np.ravel(mean), atol=0.01)


def test_episodes_that_share_files_are_told_apart(dataset):
    """Join our three episodes into one data file, one episode file and one video per camera."""
    import av

    expected = {
        n: (DatasetReader(dataset).rows(n), DatasetReader(dataset).decode("gripper", n)) for n in range(3)
    }
    for kind in ("data", "meta/episodes"):
        paths = sorted((dataset / kind).glob("*/*.parquet"))
        table = pa.concat_tables([pq.read_table(path) for path in paths])
        if kind == "meta/episodes":
            starts = np.cumsum([0, *table["length"].to_pylist()])[:-1] / 10
            for name in table.column_names:
                values = None
                if name.endswith("from_timestamp"):
                    values = pa.array(starts)
                elif name.endswith("/file_index"):
                    values = pa.array([0, 0, 0])
                if values is not None:
                    table = table.set_column(table.column_names.index(name), name, values)
        for path in paths:
            path.unlink()
        pq.write_table(table, paths[0])
    for folder in (dataset / "videos").glob("*/chunk-000"):
        paths = sorted(folder.glob("*.mp4"))
        images = []
        for path in paths:
            with av.open(str(path)) as container:
                images += [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            path.unlink()
        with av.open(str(paths[0]), "w") as container:
            stream = container.add_stream("libx264", rate=10, options={"crf": "0", "bf": "0", "g": "100"})
            stream.width, stream.height, stream.pix_fmt = 112, 112, "yuv420p"
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    reader = DatasetReader(dataset)
    for n, (rows, images) in expected.items():
        np.testing.assert_array_equal(reader.rows(n)["action"], rows["action"])
        assert np.abs(reader.decode("gripper", n).astype(int) - images).mean() < 2
        assert reader.task_of(n) == f"task {n}"


def test_single_images_equal_those_of_the_whole_episode(dataset):
    reader = DatasetReader(dataset)
    images = reader.decode("third_view", 2)
    for row in (0, 3, 5):
        np.testing.assert_array_equal(reader.image("third_view", 2, row), images[row])


def test_unknown_episodes_and_cameras_are_named(dataset):
    reader = DatasetReader(dataset)
    with pytest.raises(DatasetError, match="episode 3: allowed are 0 to 2"):
        reader.rows(3)
    with pytest.raises(DatasetError, match="no image 4 of camera 'gripper' in episode 0"):
        reader.image("gripper", 0, 4)
    with pytest.raises(DatasetError, match=r"camera 'top': allowed are \['third_view', 'gripper'\]"):
        reader.decode("top", 0)


def test_damage_is_named(dataset, tmp_path_factory):
    with pytest.raises(DatasetError, match="no such file"):
        DatasetReader(tmp_path_factory.mktemp("empty"))
    info_file = dataset / "meta/info.json"
    info = json.loads(info_file.read_text())

    def with_info(**changes) -> None:
        info_file.write_text(json.dumps({**info, **changes}))

    with_info(codebase_version="v2.1")
    with pytest.raises(DatasetError, match=r"'v2.1', allowed is 'v3.0'"):
        DatasetReader(dataset)
    with_info(total_episodes=4)
    with pytest.raises(DatasetError, match=r"describes 3 episodes, info\.json says 4"):
        DatasetReader(dataset)
    with_info(total_frames=99)
    with pytest.raises(DatasetError, match=r"15 rows, info\.json says 99"):
        DatasetReader(dataset)
    with_info(total_tasks=4)
    with pytest.raises(DatasetError, match=r"3 tasks, info\.json says 4"):
        DatasetReader(dataset)
    info_file.write_text("{")
    with pytest.raises(DatasetError, match="not readable"):
        DatasetReader(dataset)
    with_info()
    episodes = dataset / "meta/episodes/chunk-000"
    (episodes / "file-000.parquet").rename(episodes / "file-007.parquet")
    with pytest.raises(DatasetError, match="place 0 holds episode 1"):
        DatasetReader(dataset)
    (episodes / "file-007.parquet").rename(episodes / "file-000.parquet")
    (dataset / "data/chunk-000/file-001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"file-001\.parquet: its end is missing"):
        DatasetReader(dataset).rows(1)


def test_a_video_with_too_few_images_is_noticed(dataset):
    videos = dataset / "videos/observation.images.gripper/chunk-000"
    (videos / "file-000.mp4").replace(videos / "file-002.mp4")  # 4 images for 6 rows
    with pytest.raises(DatasetError, match=r"4 images from 0.0000 s on, 6 expected"):
        DatasetReader(dataset).decode("gripper", 2)
