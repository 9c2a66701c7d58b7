"""Let LeRobot's own tools delete, merge and continue a data set of ours, and check what comes out.

    python test/judge/check_tools.py [FOLDER]

Records two small data sets with our writer, whose images carry their numbers,
lets LeRobot's `delete_episodes`, `merge_datasets` and `add_frame` work on them,
and reads the results with LeRobot and with our reader. Prints one line per
check; the exit status is the number of checks that failed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from judged import Judge, stand_in_torchvision

from vla_adapter_ros.benchmarks.recording import write_benchmark_contract
from vla_adapter_ros.benchmarks.recording_frames import SceneMaker, read_number
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.recording.frame import Frame
from vla_adapter_ros.recording.reader import DatasetReader
from vla_adapter_ros.recording.writer import DatasetWriter

TASKS = ("pick up the cube", "lege den Würfel ab")
FIRST, SECOND = (12, 15, 9), (11, 7)  # lengths of the episodes


def record(root: Path, contract: Contract, lengths: tuple[int, ...], first: int, makers: dict) -> None:
    """Record episodes whose rows are numbered from `first` on, in state and images."""
    ages = {name: 0.0 for name in (*contract.camera_names, "/joint_states", contract.action.topic)}
    number = first
    with DatasetWriter(root, contract) as writer:
        for episode, length in enumerate(lengths):
            writer.start_episode(TASKS[episode % 2])
            for n in range(length):
                images = {name: maker.image(number) for name, maker in makers.items()}
                state = np.full(len(contract.state), float(number))
                action = np.full(len(contract.action_names), number + 0.5)
                writer.add(Frame(100 * episode + n / 30, images, state, action, ages, 0.0), 1)
                number += 1
            writer.save_episode()


def check_numbers(judge: Judge, what: str, dataset: object, numbers: list[int], tasks: list[str]) -> None:
    """Every row: its number in state, action and all images, and its task."""
    judge.equal(f"{what}: rows", len(dataset), len(numbers))
    wrong = []
    for row in range(min(len(dataset), len(numbers))):
        item, number = dataset[row], numbers[row]
        found = {"state": float(item["observation.state"][0]), "action": float(item["action"][0]) - 0.5}
        for name in dataset.meta.camera_keys:
            image = (item[name].numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8)
            found[name] = read_number(image)
        wrong += [f"row {row} {name}: {value}" for name, value in found.items() if value != number]
        if item["task"] != tasks[row]:
            wrong.append(f"row {row} task: {item['task']}")
    judge.check(f"{what}: numbers in states, actions and images, tasks", not wrong, "; ".join(wrong[:5]))


def rows_of(lengths: tuple[int, ...], first: int, kept: tuple[int, ...]) -> tuple[list[int], list[str]]:
    """Numbers and tasks of the rows of the kept episodes."""
    starts = np.cumsum([first, *lengths])
    numbers = [int(starts[e]) + n for e in kept for n in range(lengths[e])]
    return numbers, [TASKS[e % 2] for e in kept for _ in range(lengths[e])]


def main() -> int:
    """Run all tools in a folder, a temporary one by default."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="tools"))
    stand_in_torchvision()
    from lerobot.datasets.dataset_tools import delete_episodes, merge_datasets
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    contract = write_benchmark_contract(folder / "contract.yaml")
    makers = {
        name: SceneMaker(camera.width, camera.height, seed)
        for seed, (name, camera) in enumerate(contract.cameras.items())
    }
    record(folder / "a", contract, FIRST, 0, makers)
    record(folder / "b", contract, SECOND, 1000, makers)
    judge = Judge()
    ours = [LeRobotDataset(f"local/{name}", root=folder / name) for name in "ab"]
    check_numbers(judge, "as recorded", ours[0], *rows_of(FIRST, 0, (0, 1, 2)))

    deleted = delete_episodes(ours[0], [1], output_dir=folder / "deleted", repo_id="local/deleted")
    deleted = LeRobotDataset("local/deleted", root=deleted.root)
    check_numbers(judge, "one deleted", deleted, *rows_of(FIRST, 0, (0, 2)))

    merged = merge_datasets(ours, output_repo_id="local/merged", output_dir=folder / "merged")
    merged = LeRobotDataset("local/merged", root=merged.root)
    parts = rows_of(FIRST, 0, (0, 1, 2)), rows_of(SECOND, 1000, (0, 1))
    wanted = [parts[0][n] + parts[1][n] for n in range(2)]
    check_numbers(judge, "merged", merged, *wanted)
    reader = DatasetReader(folder / "merged")
    found = [read_number(image) for e in reader.episodes for image in reader.images("gripper", e.index)]
    judge.check("merged: read by our reader", found == wanted[0])
    judge.check(
        "merged: statistics",
        np.allclose(merged.meta.stats["observation.state"]["max"], 1000 + sum(SECOND) - 1),
    )

    shutil.copytree(folder / "a", folder / "resumed")
    resumed = LeRobotDataset("local/resumed", root=folder / "resumed")
    for n in range(6):
        frame = {
            "observation.state": np.full(len(contract.state), float(2000 + n), np.float32),
            "action": np.full(len(contract.action_names), 2000.5 + n, np.float32),
            "capture.stamp": np.array([n / 30]),
            "capture.age": np.zeros(resumed.features["capture.age"]["shape"], np.float32),
            "control_source": np.array([1], np.int64),
            "task": "a third task",
        }
        frame |= {f"observation.images.{name}": maker.image(2000 + n) for name, maker in makers.items()}
        resumed.add_frame(frame)
    resumed.save_episode()
    resumed.finalize()
    resumed = LeRobotDataset("local/resumed", root=folder / "resumed")
    numbers, tasks = rows_of(FIRST, 0, (0, 1, 2))
    numbers, tasks = numbers + list(range(2000, 2006)), tasks + ["a third task"] * 6
    check_numbers(judge, "continued by LeRobot", resumed, numbers, tasks)
    judge.equal(
        "continued by LeRobot: our reader's episodes", DatasetReader(folder / "resumed").num_episodes, 4
    )
    print("everything as it should be" if not judge.failed else f"{judge.failed} checks failed")
    return min(judge.failed, 100)


if __name__ == "__main__":
    sys.exit(main())
