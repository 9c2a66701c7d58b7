"""Our writer and LeRobot's own on the same images, at a camera's rate: what a save stalls, what it costs.

    python test/judge/compare_writers.py [--seconds 20] [--episodes 3] [--json FILE]

Two cameras of 640x480 at 30 Hz. Each writer is given a frame when it is due and runs in a process of its
own; no ROS is involved. Printed per writer: how late `add` returned at the 95th percentile and at worst, how
long the save kept the next episode from beginning, the processor time as a share of one core until
everything is on disk (child processes included), and the size of the data set.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from judged import stand_in_torchvision

from vla_adapter_ros.benchmarks.recording import write_benchmark_contract
from vla_adapter_ros.benchmarks.recording_frames import SceneMaker

RATE_HZ = 30
WRITERS = ("ours", "lerobot svtav1", "lerobot h264", "lerobot h264 streaming")
Images = dict[str, np.ndarray]
Calls = tuple[Callable, Callable, Callable, Callable]  # begin, add, save, finish


def ours(root: Path, contract: Any) -> Calls:
    """Begin, add, save and finish with our writer, which commits in another thread as the recorder does."""
    from vla_adapter_ros.dataset.writer import DatasetWriter
    from vla_adapter_ros.observation.frame import Frame

    writer, pool = DatasetWriter(root, contract), ThreadPoolExecutor(1)
    saves = []
    ages = dict.fromkeys((*contract.camera_names, contract.joint_state_topic, contract.action.topic), 0.0)

    def add(number: int, images: Images, state: np.ndarray, action: np.ndarray) -> None:
        writer.add_frame(Frame(number / RATE_HZ, images, state, action, ages, 0.0), 1)

    def finish() -> None:
        for save in saves:
            save.result()
        writer.close()

    return (
        lambda: writer.start_episode("pick up the cube"),
        add,
        lambda: saves.append(pool.submit(writer.commit, writer.detach_episode())),
        finish,
    )


def lerobot(root: Path, contract: Any, vcodec: str, **more: Any) -> Calls:
    """The same with LeRobot's writer, with as many image threads as its recording script uses."""
    stand_in_torchvision()
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    def numbers(names: tuple[str, ...]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": (len(names),), "names": list(names)}

    features = {"observation.state": numbers(contract.state_names), "action": numbers(contract.action_names)}
    for name, camera in contract.cameras.items():
        shape = (camera.height, camera.width, 3)
        names = ["height", "width", "channels"]
        features[f"observation.images.{name}"] = {"dtype": "video", "shape": shape, "names": names}
    dataset = LeRobotDataset.create(
        "local/compared", RATE_HZ, features, root=root, use_videos=True, vcodec=vcodec,
        image_writer_threads=4 * len(contract.cameras), **more,
    )  # fmt: skip

    def add(number: int, images: Images, state: np.ndarray, action: np.ndarray) -> None:
        frame = {f"observation.images.{name}": image for name, image in images.items()}
        frame |= {"observation.state": state.astype(np.float32), "action": action.astype(np.float32)}
        dataset.add_frame(frame | {"task": "pick up the cube"})

    return lambda: None, add, dataset.save_episode, dataset.finalize


def measure(which: str, seconds: float, episodes: int) -> dict[str, float]:
    """Record with one writer in real time."""
    with tempfile.TemporaryDirectory(prefix="writers") as folder:
        root = Path(folder) / "data"
        contract = write_benchmark_contract(Path(folder) / "contract.yaml")
        makers = {n: SceneMaker(c.width, c.height, i) for i, (n, c) in enumerate(contract.cameras.items())}
        if which == "ours":
            begin, add, save, finish = ours(root, contract)
        else:
            _, codec, *streaming = which.split()
            more = {"streaming_encoding": True} if streaming else {}
            codec = "libsvtav1" if codec == "svtav1" else codec
            begin, add, save, finish = lerobot(root, contract, codec, **more)
        rows = round(seconds * RATE_HZ)
        state, action = np.zeros(len(contract.state)), np.zeros(len(contract.action_names))
        late, stalls, making = [], [], 0.0
        before, begun = _processor_time(), time.monotonic()
        for episode in range(episodes):
            begin()
            start = time.monotonic()
            for row in range(rows):
                number = episode * rows + row
                cpu = time.thread_time()
                images = {name: maker.image(number) for name, maker in makers.items()}
                making += time.thread_time() - cpu
                due = start + row / RATE_HZ
                time.sleep(max(0.0, due - time.monotonic()))
                add(number, images, state + number, action)
                late.append(time.monotonic() - due)
            asked = time.monotonic()
            save()
            stalls.append(time.monotonic() - asked)
        finish()
        used = _processor_time() - before - making
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
        return {
            "add_late_p95_s": float(np.quantile(late, 0.95)),
            "add_late_max_s": float(max(late)),
            "save_stall_max_s": max(stalls),
            "cores": used / (episodes * seconds),
            "wall_s": time.monotonic() - begun,
            "megabytes": size / 1e6,
        }


def _processor_time() -> float:
    """Of this process and of its children that have ended [s]."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def main() -> int:
    """Measure all writers one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of an episode")
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    print("| writer | add late p95 s | at worst s | save stalls s | share of one core | size MB |")
    print("|---|--:|--:|--:|--:|--:|")
    for which in WRITERS:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            f = found[which] = pool.submit(measure, which, options.seconds, options.episodes).result()
        columns = (
            f["add_late_p95_s"],
            f["add_late_max_s"],
            f["save_stall_max_s"],
            f["cores"],
            f["megabytes"],
        )
        print(
            f"| {which} | " + " | ".join(f"{value:.3g}" for value in columns) + " |",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
