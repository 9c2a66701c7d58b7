"""Checkpoints of unpublished sizes, read from their files: the engine against the reference path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vla_adapter_ros.benchmarks.reference import ReferencePath
from vla_adapter_ros.model import VlaAdapterPolicy

from .fx_recorder import recording_engine
from .odd_checkpoints import ODD, write_odd

RECORDED = ("one_image_26_layers", "three_images_30_layers_base")


QUICK = ("one_image_26_layers", "two_images_30_layers", "many_kv_heads")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ODD]
)
def test_what_was_written_is_read_and_computed(name: str, tmp_path: Path) -> None:
    sizes = ODD[name]
    written = write_odd(tmp_path, sizes)
    policy = VlaAdapterPolicy.from_pretrained(tmp_path, platform=sizes.platform)
    config = policy.config
    assert (config.llm, config.vits, config.head.kind) == (
        written.config.llm,
        written.config.vits,
        sizes.head,
    )
    assert (config.num_images, config.chunk) == {"bridge": (1, 5), "libero": (2, 8), "aloha": (3, 25)}[
        sizes.platform
    ]
    before, after = written.network.state_dict(), policy.network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)

    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(0, 256, (config.num_images, 224, 224, 3), dtype=np.uint8))
    proprio = torch.from_numpy(rng.uniform(-1, 1, config.proprio_dim).astype(np.float32))
    ids = policy.tokenize(["lift it?"])[0][0]
    expected = ReferencePath(written.network).predict(images, ids, proprio)
    assert expected.shape == (config.chunk, config.action_dim) and expected.abs().max() > 1e-2
    allowed = 5e-5
    torch.testing.assert_close(policy.engine.predict(images, ids, proprio), expected, rtol=0, atol=allowed)
    # Recording so many layers takes long: two are enough, beside test_engine_recordings.py.
    engine = policy.engine
    if name in RECORDED:
        engine, _ = recording_engine(policy.network)
    torch.testing.assert_close(engine.predict(images, ids, proprio), expected, rtol=0, atol=allowed)
    other = ReferencePath(written.network).predict(~images, ids, -proprio)
    assert (other - expected).abs().max() > 20 * allowed  # the inputs show
    torch.testing.assert_close(engine.predict(~images, ids, -proprio), other, rtol=0, atol=2 * allowed)
