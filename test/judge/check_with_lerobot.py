"""Open a recorded data set with the real LeRobotDataset and compare everything with our own reader.

Runs in an environment of its own (requirements/judge_0.4.txt, judge_0.6.txt), since LeRobot brings
many packages that this project does not need:

    python test/judge/check_with_lerobot.py PATH_OF_DATA_SET

Prints one line per check; the exit status is the number of checks that failed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from pathlib import Path

import numpy as np
from judged import Judge, stand_in_torchvision

CHUNK = 8
PIXEL_TOLERANCE = 1.01 / 255  # decoders may round colors differently
DEPTH_SINCE, DEPTH_TOLERANCE_MM = (0, 6), 1.01  # it computes in single precision, and rounds
OURS = ("capture.stamp", "control_source", "intervention", "next.success")
INDEX = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def rows_to_check(lengths: list[int]) -> list[tuple[int, int]]:
    """First, last and some rows in between of episodes spread over the data set: (episode, row)."""
    rng = np.random.default_rng(0)
    episodes = np.unique(np.linspace(0, len(lengths) - 1, 25).round().astype(int))
    return [
        (int(e), int(row))
        for e in episodes
        for row in sorted({0, lengths[e] - 1, *rng.integers(0, lengths[e], 6).tolist()})
    ]


def check_rows(judge: Judge, dataset: object, reader: object) -> None:
    """Images, numbers and sentences of single rows."""
    wrong: list[str] = []
    worst, count, nearer = 0.0, 0, 0
    decoded: tuple[int, dict[str, np.ndarray]] = (-1, {})
    for number, row in rows_to_check([episode.length for episode in reader.episodes]):
        episode = reader.episodes[number]
        if decoded[0] != number:
            decoded = (number, {camera: reader.decode(camera, number) for camera in reader.cameras})
        rows, item = reader.rows(number), dataset[episode.first_row + row]
        for name in ("observation.state", "action", *OURS, *INDEX):
            if name not in rows:
                continue  # only our own data sets have the columns about the capture and the run
            # LeRobot hands double columns (our stamps) out in single precision.
            found, wanted = np.ravel(item[name].numpy()), np.ravel(rows[name][row])
            if not np.array_equal(found, wanted.astype(found.dtype)):
                wrong.append(f"{name} of row {row} in episode {number}")
        if item["task"] != reader.task_of(number):
            wrong.append(f"task of row {row} in episode {number}: {item['task']!r}")
        for camera in reader.cameras:
            image = item[f"observation.images.{camera}"].numpy().transpose(1, 2, 0)
            ours = decoded[1][camera].astype(np.float32) / 255
            errors = [float(np.abs(image - ours[n]).mean()) for n in range(len(ours))]
            worst = max(worst, float(np.abs(image - ours[row]).max()))
            count += 1
            nearer += errors[row] <= min(errors)
    judge.check("states, actions, stamps, indices and tasks", not wrong, "; ".join(wrong[:5]))
    judge.check("images equal ours", worst <= PIXEL_TOLERANCE, f"largest difference {worst * 255:.2f} of 255")
    judge.equal("images nearest to ours of the same row", nearer, count)


def check_depth(judge: Judge, dataset: object, reader: object, version: str) -> None:
    """Depth of single rows in mm, and its statistics, by a LeRobot that knows depth."""
    if reader.depth_cameras and tuple(map(int, version.split(".")[:2])) < DEPTH_SINCE:
        print(f"skip   depth: LeRobot {version} shows it as gray pictures, 0.6 reads it")
        return
    for camera in reader.depth_cameras:
        key, worst = f"observation.images.{camera}", 0.0
        for number, row in rows_to_check([episode.length for episode in reader.episodes]):
            depth = dataset[reader.episodes[number].first_row + row][key].numpy()
            ours = reader.image(camera, number, row)[np.newaxis].astype(np.float32)
            worst = max(worst, float(np.abs(depth - ours).max()) if depth.shape == ours.shape else np.inf)
        judge.check(f"depth of {camera} equals ours", worst <= DEPTH_TOLERANCE_MM, f"{worst:.2f} mm apart")
        judge.check(f"{camera} is depth", key in dataset.meta.depth_keys)
        mean = np.mean([reader.decode(camera, e.index).mean() for e in reader.episodes])
        stored = float(np.ravel(dataset.meta.stats[key]["mean"])[0])
        close = abs(stored - mean) < 0.03 * mean
        judge.check(f"mean of {camera}", close, f"{stored:.0f} mm stored, {mean:.0f} mm decoded")


def check_statistics(judge: Judge, dataset: object, reader: object) -> None:
    """Stored statistics against the data; those of images against decoded ones."""
    stats = dataset.meta.stats
    columns = [reader.rows(n) for n in range(reader.num_episodes)]
    run = [name for name in ("intervention", "next.success") if name in columns[0]]
    for name in ("observation.state", "action", *run, *INDEX):
        values = np.concatenate([rows[name] for rows in columns]).astype(np.float64)
        values = values.reshape(len(values), -1)
        wanted = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
        wanted |= {f"q{q:02d}": np.quantile(values, q / 100, axis=0) for q in (1, 10, 50, 90, 99)}
        bad = [key for key, v in wanted.items() if not np.allclose(stats[name][key], v, rtol=1e-4, atol=1e-5)]
        judge.check(f"statistics of {name}", not bad, ", ".join(bad))
    for camera in reader.cameras:
        some = np.unique(np.linspace(0, reader.num_episodes - 1, 10).round().astype(int))
        lengths = [reader.episodes[n].length for n in some]
        means = [reader.decode(camera, int(n)).mean(axis=(0, 1, 2)) / 255 for n in some]
        means = np.average(means, axis=0, weights=lengths)
        stored = np.ravel(stats[f"observation.images.{camera}"]["mean"])
        close = bool(np.abs(stored - means).max() < 0.03)
        judge.check(f"mean of {camera}", close, f"{stored.round(3)} stored, {means.round(3)} in ten episodes")
        positive = bool((np.ravel(stats[f"observation.images.{camera}"]["std"]) > 0).all())
        judge.check(f"spread of {camera}", positive)


def check_chunks(judge: Judge, root: Path, reader: object, open_dataset: object) -> None:
    """Actions ahead of a row, as training asks for them, and their padding at the end of an episode."""
    ahead = open_dataset(root, {"action": [k / reader.fps for k in range(CHUNK)]})
    episode = reader.episodes[-1]
    actions = reader.rows(episode.index)["action"]
    good = True
    for row in (0, episode.length - 3):
        item = ahead[episode.first_row + row]
        places = np.arange(row, row + CHUNK)
        wanted = actions[np.minimum(places, episode.length - 1)]
        good &= np.array_equal(item["action"].numpy(), wanted)
        good &= np.array_equal(item["action_is_pad"].numpy(), places >= episode.length)
    judge.check(f"chunks of {CHUNK} actions with padding", bool(good))


def main() -> int:
    """Check the data set named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder with meta, data and videos")
    parser.add_argument("--video-backend", default=None, help="torchcodec or pyav; default: LeRobot's choice")
    arguments = parser.parse_args()
    stand_in_torchvision()
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    from vla_adapter_ros.dataset.reader import DatasetReader

    def open_dataset(root: Path, deltas: dict[str, list[float]] | None = None) -> LeRobotDataset:
        return LeRobotDataset(
            "local/judged", root=root, delta_timestamps=deltas, video_backend=arguments.video_backend
        )

    version = importlib.metadata.version("lerobot")
    print(f"lerobot {version}, Python {sys.version.split()[0]}, {arguments.dataset}")
    reader, judge = DatasetReader(arguments.dataset), Judge()
    dataset = open_dataset(arguments.dataset)
    judge.equal("rows", len(dataset), reader.num_frames)
    judge.equal("episodes", dataset.num_episodes, reader.num_episodes)
    judge.equal("rate", float(dataset.fps), reader.fps)
    judge.equal(
        "cameras",
        sorted(dataset.meta.camera_keys),
        sorted(f"observation.images.{c}" for c in (*reader.cameras, *reader.depth_cameras)),
    )
    judge.equal("tasks", tuple(dataset.meta.tasks.index), reader.tasks)
    bounds = [(e["dataset_from_index"], e["dataset_to_index"]) for e in dataset.meta.episodes]
    wanted = [(e.first_row, e.first_row + e.length) for e in reader.episodes]
    judge.check("bounds of episodes", bounds == wanted)
    check_rows(judge, dataset, reader)
    check_depth(judge, dataset, reader, version)
    check_chunks(judge, arguments.dataset, reader, open_dataset)
    check_statistics(judge, dataset, reader)
    print("everything as it should be" if not judge.failed else f"{judge.failed} checks failed")
    return min(judge.failed, 100)


if __name__ == "__main__":
    sys.exit(main())
