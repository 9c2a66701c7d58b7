"""Each peculiarity of the published code, broken on purpose: the golden comparisons must notice.

`QUIRKS_PAGE=1 pytest test/unit/model/test_quirks.py` writes
docs/reference/quirks.md with the numbers of that run.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from vla_adapter_ros.model import VlaAdapterPolicy, preprocessing

from . import golden_checks as checks
from .broken_images import broken_crop, broken_lanczos
from .golden import REPOSITORY, Golden
from .golden_checks import Check, open_policy
from .golden_training_checks import Step, training_step, with_golden_lora
from .quirks import QUIRKS, Quirk
from .quirks_page import PAGE, page

WRITE = "QUIRKS_PAGE" in os.environ
FOUND: dict[tuple[Quirk, str], list[Check]] = {}


@cache
def golden(head: str) -> Golden:
    return Golden(head)


@cache
def policy(head: str, dtype: torch.dtype) -> VlaAdapterPolicy:
    return open_policy(golden(head), dtype=dtype)


def make_policy(quirk: Quirk, head: str) -> VlaAdapterPolicy:
    """A policy to break. Every mistake is undone, so one per head and type will do; not for training."""
    if "training_step" in quirk.test:
        return open_policy(golden(head))
    return policy(head, torch.bfloat16 if quirk.test.endswith("bf16") else torch.float32)


def lora_step(policy: VlaAdapterPolicy, golden: Golden, changes: dict) -> list[Check]:
    step, network, changes = Step(golden, "lora"), policy.network, dict(changes)
    train_norms = changes.pop("train_norms", False)
    if changes.pop("only_linear", False):
        changes["targets"] = [n for n, m in network.named_modules() if isinstance(m, torch.nn.Linear)]
        changes["targets"] = [n for n in changes["targets"] if not n.startswith(("action_", "proprio_"))]
    with_golden_lora(network, step, **changes)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad or (train_norms and "norm" in name))
    return training_step(policy, golden, step)


def run_test(quirk: Quirk, policy: VlaAdapterPolicy, head: str) -> list[Check]:
    """The comparisons of the test that the quirk names."""
    data, sample = golden(head), quirk.sample
    name, _, images = quirk.test.rstrip("]").partition("[")
    if images:
        return checks.head_split(policy, int(images))
    return {
        "token_ids_are_equal": lambda: checks.token_ids(policy, data, sample),
        "images_are_resized_within_one_level_and_cropped_exactly": lambda: checks.image_steps(data, sample),
        "jpeg_step_is_exact": lambda: checks.jpeg_step(data),
        "pixel_values": lambda: checks.pixel_values(policy, data),
        "numbers_are_scaled_exactly": lambda: checks.numbers(policy, data, sample),
        "every_stage_in_fp32": lambda: checks.stages_fp32(policy, data, sample),
        "every_stage_in_bf16": lambda: checks.stages_bf16(policy, data, sample),
        "predict_from_camera_images": lambda: checks.camera_images(policy, data, sample),
        "left_padding_does_not_change_the_result": lambda: checks.padded_batch(policy, data),
        "one_full_training_step": lambda: training_step(policy, data, Step(data, "full")),
        "one_lora_training_step": lambda: lora_step(policy, data, getattr(policy, "lora_changes", {})),
    }[name]()


def cases() -> list:
    """Every quirk on its first head; training and the other head in the long run, which writes the page."""
    return [
        pytest.param(
            quirk,
            head,
            id=f"{quirk.name}: {quirk.mistake}-{head}",
            marks=[pytest.mark.slow] * (n > 0 or "training_step" in quirk.test),
        )
        for quirk in QUIRKS
        for n, head in enumerate(quirk.heads)
    ]


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(("quirk", "head"), cases())
def test_the_mistake_is_noticed(quirk: Quirk, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "jpeg" in quirk.test or "camera" in quirk.test:
        pytest.importorskip(
            "simplejpeg", reason="the official JPEG step needs simplejpeg: pip install simplejpeg"
        )
    broken = make_policy(quirk, head)
    with monkeypatch.context() as patch:
        quirk.break_it(patch, broken)
        found = run_test(quirk, broken, head)
    red = [check for check in found if not check.ok]
    assert red, "no comparison noticed the mistake"
    assert not quirk.stage or quirk.stage in {check.stage for check in red}
    FOUND[quirk, head] = found


@pytest.mark.parametrize("head", ["base", "pro"])
def test_every_mistake_was_undone(head: str) -> None:
    """The shared policies are whole again, so no quirk was noticed because of the one before."""
    for sample in (0, 1):
        checks.require(checks.stages_fp32(policy(head, torch.float32), golden(head), sample))
        checks.require(checks.numbers(policy(head, torch.float32), golden(head), sample))
    checks.require(checks.stages_bf16(policy(head, torch.bfloat16), golden(head), 0))


def test_the_broken_image_steps_differ_in_one_thing_only() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    np.testing.assert_array_equal(broken_crop()(images, 0.9), preprocessing.center_crop(images, 0.9))
    images = np.random.default_rng(1).integers(0, 256, (1, 256, 300, 3), dtype=np.uint8)
    ours = preprocessing.lanczos_resize(images, 224)
    off = np.abs(broken_lanczos()(images, 224).astype(int) - ours)
    assert off.max() <= 1 and (off > 0).mean() < 1e-3


def test_every_quirk_names_a_test_that_exists() -> None:
    folder = Path(__file__).parent
    source = "".join((folder / f"test_{name}.py").read_text() for name in ("golden", "golden_training"))
    names = set(re.findall(r"def test_(\w+)\(", source))
    assert {quirk.test.partition("[")[0] for quirk in QUIRKS} <= names


def test_the_page_lists_every_quirk() -> None:
    if WRITE:
        (REPOSITORY / PAGE).write_text(page(FOUND), encoding="utf-8")
    text = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    rows = [
        tuple(cell.strip() for cell in line.split("|")[1:4]) for line in text.splitlines() if line[:1] == "|"
    ]
    assert rows[2:] == [(q.name, q.mistake, f"`{q.test}`") for q in QUIRKS]
