"""The reference data on a GPU, in fp32 and bf16, through recorded graphs. Skipped where there is none.

pytest -q test/unit/model/test_golden_on_gpu.py test/unit/model/test_engine.py
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vla_adapter_ros.model import InferenceEngine
from vla_adapter_ros.model.engine.language_stage import EXPECTED_TOKENS

from .golden import Golden
from .golden_checks import open_policy
from .test_engine import VARIANTS, build, observation, plain

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "no_graphs"])
@pytest.mark.parametrize("key", TYPES)
@pytest.mark.parametrize("name", ["base", "pro"])
def test_golden_actions(name: str, key: str, graphs: bool) -> None:
    golden = Golden(name)
    policy = open_policy(golden, device="cuda", dtype=TYPES[key])
    engine = InferenceEngine(policy.network, graphs=graphs)
    allowed = 1e-4 if key == "fp32" else golden.tolerance["bf16"]["actions_norm"]
    for sample in (0, 1, 2, 0):
        ids, _ = policy.tokenize([golden.info["samples"][sample]["task"]])
        images = torch.from_numpy(np.stack(golden.images(sample, "cropped")))
        proprio = torch.from_numpy(policy.normalize_proprio(golden.array(sample, "proprio_raw"))).float()
        actions = engine.predict(images, ids[0], proprio).numpy()
        off = np.abs(actions - golden.array(sample, f"{key}/actions_norm")).max()
        assert off <= allowed, f"sample {sample}: off by {off:.2g}, allowed is {allowed:.2g}"


@pytest.mark.parametrize("allow_tf32", [True, False])
def test_fp32_is_exact_whatever_the_process_allows(monkeypatch: pytest.MonkeyPatch, allow_tf32: bool) -> None:
    """Convolutions and products in TF32 are off by 1e-3."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allow_tf32)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", allow_tf32)
    for name in ("official", "tiny"):
        network = build(VARIANTS[name])
        inputs = observation(network.config)
        expected = plain(network, *inputs)
        engine = InferenceEngine(network.to("cuda"))
        torch.testing.assert_close(engine.predict(*inputs), expected, rtol=0, atol=2e-5)
    assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == allow_tf32


@pytest.mark.parametrize("name", ["official", "llama", "text_first", "llama_text_first", "tiny"])
def test_prompts_in_turn_replay_the_right_graph(name: str) -> None:
    network = build(VARIANTS[name])
    longest = min(50, network.config.max_prompt_tokens)
    prompts = [observation(network.config, 1 + 7 * number % longest) for number in range(60)]
    expected = [plain(network, *inputs) for inputs in prompts]
    engine = InferenceEngine(network.to("cuda"))
    for inputs, actions in zip(prompts, expected, strict=True):
        torch.testing.assert_close(engine.predict(*inputs), actions, rtol=0, atol=1e-4)


def test_nothing_is_recorded_in_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = open_policy(Golden("pro"), device="cuda", dtype=torch.bfloat16)
    policy.warm_up()
    long = "lift " * (2 * EXPECTED_TOKENS)
    assert policy.is_warm_for("lift it") and not policy.is_warm_for(long)
    policy.warm_up_for(long)
    monkeypatch.setattr(policy.engine._recorder, "record", None)
    images = [np.zeros((224, 224, 3), np.uint8)] * 2
    for text in ("lift it", long, "put the bowl on the plate"):
        assert np.isfinite(policy.predict(images, text, np.zeros(policy.config.proprio_dim))).all()
