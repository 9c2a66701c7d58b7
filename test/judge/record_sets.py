"""Record data sets for the judges: by our recorder, and the same consolidated.

    python test/judge/record_sets.py FOLDER

Makes `recorded`, `other` (of the same contract), and `recorded_joined`, `other_joined` with several episodes
per file. Images carry the number of their row, state and action too; every episode has a task of its own.
In the second half of each a human corrects the policy; the first is saved as a success, the second is labeled
one afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vla_adapter_ros.benchmarks.recording import write_benchmark_contract
from vla_adapter_ros.benchmarks.recording_frames import SceneMaker
from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.labels import label_episodes
from vla_adapter_ros.dataset.outcome import Label
from vla_adapter_ros.dataset.tools.consolidate import consolidate
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.observation.frame import Frame

TASKS = ("pick up the cube", "lege den Würfel ab", "open the drawer", "close it", "push the cup")
FIRST, SECOND = (12, 16, 11, 13, 12), (14, 10)  # lengths of the episodes
SIZE = (320, 240)
SECOND_BEGINS = 1000
POLICY, SUCCESS = layout.SOURCE_NUMBERS["policy"], Label(Outcome.SUCCESS)
NAMES = {"recorded": (FIRST, 0), "other": (SECOND, SECOND_BEGINS)}


def makers(contract: Contract) -> dict[str, SceneMaker]:
    """Camera -> what makes its numbered images."""
    return {n: SceneMaker(c.width, c.height, seed) for seed, (n, c) in enumerate(contract.cameras.items())}


def record(root: Path, contract: Contract, lengths: tuple[int, ...], first: int) -> None:
    """Record episodes whose rows are numbered from `first` on, in state and images."""
    ages = {name: 0.0 for name in (*contract.camera_names, contract.joint_state_topic, contract.action.topic)}
    number, scenes = first, makers(contract)
    with DatasetWriter(root, contract) as writer:
        for episode, length in enumerate(lengths):
            writer.start_episode(TASKS[episode % len(TASKS)])
            for n in range(length):
                images = {name: maker.image(number) for name, maker in scenes.items()}
                state = np.full(len(contract.state), float(number))
                action = np.full(len(contract.action_names), number + 0.5)
                frame = Frame(100 * episode + n / 30, images, state, action, ages, 0.0)
                writer.add_frame(frame, POLICY if n < length // 2 else layout.HUMAN)
                number += 1
            writer.save_episode(SUCCESS.as_json() if episode == 0 else None)
    label_episodes(root, [1], SUCCESS)


def main() -> int:
    """Record all sets into the folder named on the command line, which must be new."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    contract = write_benchmark_contract(folder / "contract.yaml", size=SIZE)
    for name, (lengths, first) in NAMES.items():
        record(folder / name, contract, lengths, first)
        print(consolidate(folder / name, folder / f"{name}_joined").line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
