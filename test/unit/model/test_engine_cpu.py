"""Ways to compute on a CPU: each gives the same, replaced weights are gone, and 8 bits stay near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vla_adapter_ros.choices import LinearKind
from vla_adapter_ros.contract import checkpoints_folder
from vla_adapter_ros.contract.shipped import SHIPPED_CHECKPOINT
from vla_adapter_ros.errors import CheckpointError, ModelConfigError
from vla_adapter_ros.model import InferenceEngine, VlaAdapterPolicy
from vla_adapter_ros.model.engine import attention, linear
from vla_adapter_ros.model.engine.choosing import fastest

from .golden import Golden
from .golden_checks import open_policy
from .test_engine import VARIANTS, build, observation, plain

INT8_ERROR = 0.1
"""Largest difference of the shipped policy's normalized actions, which are within -1 and 1."""


@pytest.fixture
def always_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "fastest", lambda ways: True)


@pytest.mark.usefixtures("always_packed")
@pytest.mark.parametrize("name", ["official", "base", "llama", "three_images", "text_first", "tiny"])
def test_packed_weights_give_the_same(name: str) -> None:
    network = build(VARIANTS[name])
    cases = [observation(network.config, prompt) for prompt in (5, 30, 1)]
    expected = [plain(network, *inputs) for inputs in cases]
    engine = InferenceEngine(network, linear=LinearKind.PACKED)
    for inputs, actions in zip(cases, expected, strict=True):
        torch.testing.assert_close(engine.predict(*inputs), actions, rtol=0, atol=2e-5)
    assert engine.is_current() and "packed for" in engine.describe()


@pytest.mark.usefixtures("always_packed")
@pytest.mark.parametrize("kind", [LinearKind.PACKED, LinearKind.INT8])
def test_replaced_weights_are_no_second_copy(kind: LinearKind, tmp_path: Path) -> None:
    golden = Golden("pro")
    policy = open_policy(golden)
    policy.use_linear(kind)
    assert policy.engine.is_current() and policy.engine is policy.engine
    replaced = [name for name, weight in policy.network.named_parameters() if weight.is_meta]
    layers = policy.config.llm.layers
    assert len([name for name in replaced if "language_model" in name]) == 7 * layers
    assert any("projector.fc1" in name for name in replaced) and not any("head" in name for name in replaced)
    with pytest.raises(CheckpointError, match="replaced for inference"):
        policy.save_pretrained(tmp_path)
    with pytest.raises(ModelConfigError, match="another engine has replaced"):
        InferenceEngine(policy.network)


def test_ways_are_for_a_cpu_without_a_compiler() -> None:
    with pytest.raises(ModelConfigError, match="only on a CPU"):
        InferenceEngine(build(VARIANTS["tiny"]), linear=LinearKind.INT8, compile_stages=True)


@pytest.mark.parametrize("name", ["base", "pro"])
@pytest.mark.parametrize("kernel", [attention.fused, attention.plain])
def test_golden_actions_in_bf16_with_either_attention(
    monkeypatch: pytest.MonkeyPatch, name: str, kernel: object
) -> None:
    monkeypatch.setattr(attention, "fastest", lambda ways: kernel)
    golden = Golden(name)
    policy = open_policy(golden, dtype=torch.bfloat16)
    engine = InferenceEngine(policy.network, linear=LinearKind.PACKED)
    assert engine.describe().startswith(f"attention {kernel.__name__}")
    for sample in range(3):
        ids, _ = policy.tokenize([golden.info["samples"][sample]["task"]])
        images = torch.from_numpy(np.stack(golden.images(sample, "cropped")))
        proprio = torch.from_numpy(policy.normalize_proprio(golden.array(sample, "proprio_raw"))).float()
        off = np.abs(
            engine.predict(images, ids[0], proprio).numpy() - golden.array(sample, "bf16/actions_norm")
        )
        assert off.max() <= golden.tolerance["bf16"]["actions_norm"]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads", "d"), [(4, 4, 8), (6, 2, 8), (4, 1, 6)])
def test_plain_attention_is_the_fused_one(causal: bool, heads: int, kv_heads: int, d: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 20, count, d).transpose(1, 2) for count in (heads, kv_heads, kv_heads))
    mask = torch.zeros(1, 1, 1, 20)
    mask[..., 17:] = torch.finfo(torch.float32).min
    for given in (None,) if causal else (None, mask):
        expected = attention.fused(q, k, v, given, causal)
        torch.testing.assert_close(attention.plain(q, k, v, given, causal), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("gelu", [False, True])
def test_eight_bits_are_within_one_percent(gelu: bool) -> None:
    """Tokens of very different size, as language models have them, keep their own scale."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(96, 64)
    x = torch.randn(40, 96) * torch.logspace(-2, 3, 40)[:, None]
    expected = layer(x)
    expected = F.gelu(expected) if gelu else expected
    made = linear.Linears(LinearKind.INT8, torch.device("cpu"))([layer], 40, gelu)
    off = (made(x) - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(1e-3)
    assert off.max() < 0.02
    torch.testing.assert_close(made.add(x, expected), made(x) + expected)


@pytest.mark.slow
def test_action_error_of_eight_bits_on_a_trained_model() -> None:
    """The shipped policy, scenes drawn at random pixels and joints within the data's range."""
    folder = checkpoints_folder() / SHIPPED_CHECKPOINT
    exact, coarse = (VlaAdapterPolicy.from_pretrained(folder) for _ in range(2))
    coarse.use_linear(LinearKind.INT8)
    rng = np.random.default_rng(0)
    statistics = exact.statistics.proprio
    worst = 0.0
    for _ in range(10):
        blocks = rng.integers(0, 256, (2, 14, 14, 3), dtype=np.uint8)
        images = list(blocks.repeat(8, axis=1).repeat(8, axis=2))
        state = rng.uniform(statistics.q01, statistics.q99)
        inputs = exact.prepare(images, "pick up the red cube", state)
        worst = max(
            worst, float((exact.engine.predict(*inputs) - coarse.engine.predict(*inputs)).abs().max())
        )
    assert 1e-5 < worst < INT8_ERROR


def test_the_fastest_way_is_found() -> None:
    a = torch.randn(200, 200)

    def slow() -> None:
        for _ in range(20):
            a @ a

    assert fastest({"slow": slow, "fast": lambda: a @ a}) == "fast"
