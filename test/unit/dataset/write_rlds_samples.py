"""Writes the samples of RLDS data with TensorFlow Datasets itself, in an environment that has it.

    python test/unit/dataset/write_rlds_samples.py test/data/rlds

What the library reads of them afterwards goes beside them, as `NAME.npz`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from rlds_content import SIZE, bridge_episodes, libero_episodes


class _Sample(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        observation: dict[str, Any] = {
            name: tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format=self.coding)
            for name in self.cameras
        }
        observation["state"] = tfds.features.Tensor(shape=(self.width,), dtype=np.float32)
        scalar = tfds.features.Scalar
        steps = {
            "observation": observation,
            "action": tfds.features.Tensor(shape=(7,), dtype=np.float32),
            "discount": scalar(dtype=np.float32),
            "reward": scalar(dtype=np.float32),
            "is_first": scalar(dtype=np.bool_),
            "is_last": scalar(dtype=np.bool_),
            "is_terminal": scalar(dtype=np.bool_),
            "language_instruction": tfds.features.Text(),
        }
        features = {
            "steps": tfds.features.Dataset(steps),
            "episode_metadata": tfds.features.FeaturesDict({"file_path": tfds.features.Text()}),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, episode in enumerate(self.episodes()):
            last = len(episode["action"]) - 1
            steps = [
                {
                    "observation": {
                        **{name: pictures[n] for name, pictures in episode["images"].items()},
                        "state": episode["state"][n],
                    },
                    "action": episode["action"][n],
                    "discount": 1.0,
                    "reward": float(n == last),
                    "is_first": n == 0,
                    "is_last": n == last,
                    "is_terminal": n == last,
                    "language_instruction": episode["task"],
                }
                for n in range(last + 1)
            ]
            yield str(number), {"steps": steps, "episode_metadata": {"file_path": f"episode_{number}.hdf5"}}


class LiberoSample(_Sample):
    cameras, coding, width, episodes = ("image", "wrist_image"), "jpeg", 8, staticmethod(libero_episodes)


class BridgeSample(_Sample):
    cameras, coding, width, episodes = ("image_0",), "png", 7, staticmethod(bridge_episodes)


def main(target: Path) -> None:
    """Write all samples."""
    target.mkdir(parents=True, exist_ok=True)
    for kind in (LiberoSample, BridgeSample):
        with tempfile.TemporaryDirectory() as scratch:
            builder = kind(data_dir=scratch)
            builder.download_and_prepare()
            print(builder.info)
            shutil.rmtree(target / builder.name, ignore_errors=True)
            shutil.copytree(Path(builder.data_dir).parent, target / builder.name)
            read = {}
            for number, episode in enumerate(builder.as_dataset(split="train")):
                steps = list(tfds.as_numpy(episode["steps"]))
                for name in ("action", "language_instruction", "reward", "is_first", "is_last"):
                    read[f"{number}/{name}"] = np.array([step[name] for step in steps])
                for name in steps[0]["observation"]:
                    seen = np.stack([step["observation"][name] for step in steps])
                    read[f"{number}/{name}"] = seen[::5] if seen.ndim == 4 else seen
            np.savez_compressed(target / f"{builder.name}.npz", **read)


if __name__ == "__main__":
    tf.config.set_visible_devices([], "GPU")
    main(Path(sys.argv[1]))
