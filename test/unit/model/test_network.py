from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from vla_adapter_ros.model import VlaAdapter, VlaAdapterConfig, preset
from vla_adapter_ros.model.config_parts import LlmConfig
from vla_adapter_ros.model.head import rope_tables, rotate
from vla_adapter_ros.model.language_model import LanguageModel, causal_bias, full_bias
from vla_adapter_ros.model.vision import PatchEmbed


def build(config: VlaAdapterConfig, seed: int = 0) -> VlaAdapter:
    torch.manual_seed(seed)
    return VlaAdapter(config).eval()


def example(batch: int = 2, prompt: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(2, 30, (batch, prompt), generator=generator)
    return (
        ids,
        torch.randn(batch, 2, 3, 56, 56, generator=generator),
        torch.randn(batch, 11, generator=generator),
    )


def configurations() -> list[VlaAdapterConfig]:
    tiny = preset("tiny")
    return [dataclasses.replace(tiny, token_order=order) for order in ("text_first", "official")]


@pytest.mark.parametrize("config", configurations(), ids=lambda c: c.token_order)
def test_shapes(config: VlaAdapterConfig) -> None:
    network, (ids, pixels, proprio) = build(config), example()
    conditions = network.conditions(ids, None, pixels)
    assert conditions.task.shape == (2, 4, 98, 128) and conditions.action.shape == (2, 4, 4, 128)
    assert network.patch_tokens(pixels).shape == (2, 98, 128)
    actions = network(ids, None, pixels, proprio)
    assert actions.shape == (2, 8, 8) and actions.dtype == torch.float32 and actions.isfinite().all()


@pytest.mark.parametrize("config", configurations(), ids=lambda c: c.token_order)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_changes_nothing(config: VlaAdapterConfig, attention: str) -> None:
    network, (ids, pixels, _) = build(dataclasses.replace(config, attention=attention)), example()
    padded = torch.cat([torch.full((2, 3), 7), ids], dim=1)
    mask = torch.cat([torch.zeros(2, 3), torch.ones(2, 5)], dim=1).long()
    with torch.no_grad():
        plain = network.conditions(ids, torch.ones_like(ids), pixels)
        left = network.conditions(padded, mask, pixels)
        torch.testing.assert_close(left.task, plain.task, rtol=0, atol=2e-5)
        torch.testing.assert_close(left.action, plain.action, rtol=0, atol=2e-5)
        wrong = network.conditions(padded, torch.ones_like(mask), pixels)
        assert (wrong.action - plain.action).abs().max() > 1e-3  # the mask is what hides the padding


@pytest.mark.parametrize("config", configurations(), ids=lambda c: c.token_order)
def test_who_sees_whom(config: VlaAdapterConfig) -> None:
    """Text first: patches see the sentence. Official order: they see its first token only."""
    network, (ids, pixels, _) = build(config), example()
    other = ids.clone()
    other[:, 2] = (other[:, 2] + 1) % 30
    with torch.no_grad():
        one, two = (network.conditions(i, None, pixels) for i in (ids, other))
    patches_differ = bool((one.task - two.task).abs().max() > 1e-6)
    assert patches_differ == (config.token_order == "text_first")
    assert (one.action - two.action).abs().max() > 1e-6


def test_action_slices() -> None:
    """Official: the last prompt token leads the action states, and the last query is never read."""
    ids, pixels, _ = example(prompt=4)
    official, text_first = (
        build(dataclasses.replace(preset("tiny"), token_order=order)) for order in ("official", "text_first")
    )
    for network, first in (
        (official, official.language_model.model.embed_tokens(ids[:, -1])),
        (text_first, text_first.action_queries.weight[0].expand(2, -1)),
    ):
        embedded = network.conditions(ids, None, pixels).action[:, 0]
        torch.testing.assert_close(embedded[:, 0], first)
    official.conditions(ids, None, pixels).action.sum().backward()
    assert official.action_queries.weight.grad[-1].abs().max() == 0
    text_first.conditions(ids, None, pixels).action.sum().backward()
    assert text_first.action_queries.weight.grad[-1].abs().max() > 0


def test_mask_is_causal_hides_padding_and_leaves_no_row_empty() -> None:
    bias = causal_bias(torch.tensor([[False, False, True, True]]), torch.float32)[0, 0]
    visible = bias == 0
    expected = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]).bool()
    assert torch.equal(visible, expected)


def test_full_mask_hides_only_padding_and_leaves_no_row_empty() -> None:
    bias = full_bias(torch.tensor([[False, False, True, True]]), torch.float32)[0, 0]
    expected = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]).bool()
    assert torch.equal(bias == 0, expected)


def language_model(kind: str, bidirectional: bool, attention: str) -> LanguageModel:
    torch.manual_seed(0)
    sizes = {"hidden": 32, "intermediate": 48, "layers": 2, "heads": 4, "kv_heads": 4, "vocab_size": 16}
    return LanguageModel(LlmConfig(**sizes, kind=kind, bidirectional=bidirectional), attention).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_later_tokens_are_seen_where_asked_and_padding_never(
    kind: str, bidirectional: bool, attention: str
) -> None:
    model, generator = language_model(kind, bidirectional, attention), torch.Generator().manual_seed(2)
    x = torch.randn(1, 6, 32, generator=generator)
    later, padded = x.clone(), torch.cat([torch.randn(1, 3, 32, generator=generator), x], dim=1)
    later[:, 4] += 1
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1]]).bool()
    inner = mask.clone()
    inner[:, 6] = False  # a gap, as the official order has between patches and text
    with torch.no_grad():
        plain, changed = model(x)[-1], model(later)[-1]
        seen = (changed - plain).abs().amax(dim=-1)[0] > 1e-4
        assert seen.tolist() == [bidirectional] * 4 + [True, True]
        left = model(padded, mask)[-1][:, 3:]
        torch.testing.assert_close(left, plain, rtol=0, atol=1e-5)
        gap = padded.clone()
        gap[:, 6] += 1
        one, two = model(padded, inner)[-1], model(gap, inner)[-1]
        assert torch.equal(one[inner], two[inner]) and not torch.equal(one[:, 6], two[:, 6])


@pytest.mark.parametrize("bidirectional", [True, False])
def test_llama_layers_written_out(bidirectional: bool) -> None:
    """Pre-norm, rotated halves, no biases, SiLU gate."""
    model = language_model("llama", bidirectional, "sdpa")
    x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(3))

    def norm(y: Tensor, weight: Tensor) -> Tensor:
        return y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6) * weight

    def rotate_half(y: Tensor) -> Tensor:
        angle = torch.arange(5)[:, None] * 1e6 ** -(torch.arange(4) / 4)
        a, b = y[..., :4], y[..., 4:]
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1)

    levels, y = model(x), x
    with torch.no_grad():
        for layer in model.model.layers:
            z = norm(y, layer.input_layernorm.weight)
            a = layer.self_attn
            q, k, v = (
                (z @ p.weight.T).view(1, 5, 4, 8).transpose(1, 2) for p in (a.q_proj, a.k_proj, a.v_proj)
            )
            scores = rotate_half(q) @ rotate_half(k).transpose(-2, -1) / 8**0.5
            if not bidirectional:
                scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
            y = y + (scores.softmax(-1) @ v).transpose(1, 2).flatten(2) @ a.o_proj.weight.T
            z, m = norm(y, layer.post_attention_layernorm.weight), layer.mlp
            gate = torch.nn.functional.silu(z @ m.gate_proj.weight.T)
            y = y + (gate * (z @ m.up_proj.weight.T)) @ m.down_proj.weight.T
        torch.testing.assert_close(levels[-1], norm(y, model.model.norm.weight), rtol=0, atol=1e-5)
    assert torch.equal(levels[0], x) and len(levels) == 3


def test_both_attentions_agree() -> None:
    ids, pixels, proprio = example()
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    for order in ("text_first", "official"):
        config = dataclasses.replace(preset("tiny"), token_order=order)
        eager, sdpa = (build(dataclasses.replace(config, attention=kind)) for kind in ("eager", "sdpa"))
        for padding in (None, mask):
            with torch.no_grad():
                one, two = (network(ids, padding, pixels, proprio) for network in (eager, sdpa))
            torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


def test_views_differ_in_the_stem() -> None:
    network, (_, pixels, _) = build(preset("tiny")), example()
    swapped = network.patch_tokens(pixels.flip(1))
    straight = network.patch_tokens(pixels)
    assert (swapped[:, 49:] - straight[:, :49]).abs().max() > 1e-3


def test_gate_starts_closed_and_gets_a_gradient() -> None:
    network, (ids, pixels, proprio) = build(preset("tiny")), example()
    gates = [block.gating_factor for block in network.action_head.model.mlp_resnet_blocks]
    assert all(gate.item() == 0.0 for gate in gates)
    network(ids, None, pixels, proprio).square().mean().backward()
    assert all(float(gate.grad.abs()) > 0 for gate in gates)


@pytest.mark.parametrize("head", ["base", "pro"])
def test_rows_of_a_chunk(head: str) -> None:
    network, (ids, pixels, proprio) = build(preset("tiny", head=head)), example()
    with torch.no_grad():
        spread = network(ids, None, pixels, proprio).std(dim=1).max()
    assert (spread > 1e-6) == (head == "pro")


def test_training_noise_is_a_setting() -> None:
    ids, pixels, proprio = example()
    tiny = preset("tiny")
    noisy = dataclasses.replace(tiny, head=dataclasses.replace(tiny.head, train_noise_std=0.02))
    for config, same in ((tiny, True), (noisy, False)):
        network = build(config).train()
        with torch.no_grad():
            one, two = (network(ids, None, pixels, proprio) for _ in range(2))
            assert torch.equal(one, two) == same
            network.eval()
            assert torch.equal(network(ids, None, pixels, proprio), network(ids, None, pixels, proprio))


def test_condition_split_follows_the_count() -> None:
    """With 512 task tokens and few patches everything is gated and the adapter group has proprio only."""
    config = dataclasses.replace(preset("tiny"), num_task_tokens=512)
    network, (ids, pixels, proprio) = build(config), example()
    seen = []
    block = network.action_head.model.mlp_resnet_blocks[0]
    block.register_forward_pre_hook(lambda m, args: seen.append((args[1].shape[1], args[2].shape[1])))
    assert network(ids, None, pixels, proprio).isfinite().all()
    assert seen == [(1, 102)]


def test_rotary_quirk_of_the_pro_head() -> None:
    cos, sin = rope_tables(3, 4, torch.float32, torch.device("cpu"))
    torch.testing.assert_close(cos[2], torch.tensor([2.0, 0.02, 2.0, 0.02]).cos())
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 1, 3, 4)
    y = rotate(x, (cos, sin))[0, 0, 2]
    c, s = cos[2], sin[2]
    expected = [1 * c[0] - 2 * s[0], 2 * c[1] + 1 * s[1], 3 * c[2] - 4 * s[2], 4 * c[3] + 3 * s[3]]
    torch.testing.assert_close(y, torch.stack(expected))


def test_bf16_tables_collapse_far_positions() -> None:
    coarse, _ = rope_tables(260, 8, torch.bfloat16, torch.device("cpu"))
    fine, _ = rope_tables(260, 8, torch.float32, torch.device("cpu"))
    assert torch.equal(coarse[256], coarse[257]) and not torch.equal(fine[256], fine[257])


def test_language_model_keeps_its_frequencies_in_float32() -> None:
    network = build(preset("tiny"))
    before = network.language_model.model.rotary_emb.inv_freq.clone()
    rotary = network.to(torch.bfloat16).language_model.model.rotary_emb
    assert network.dtype == torch.bfloat16
    assert torch.equal(rotary.inv_freq, before) and torch.equal(rotary.original_inv_freq, before)


def test_bf16_autocast_trains() -> None:
    network, (ids, pixels, proprio) = build(preset("tiny")).train(), example()
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(ids, None, pixels, proprio).abs().mean()
    loss.backward()
    missing = [
        name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert missing == []


def test_towers_keep_tokens_in_one_piece_and_views_apart() -> None:
    """The strides of a transposed view would go through every block, and compiled norms of it are NaN."""
    torch.manual_seed(0)
    assert PatchEmbed(14, 32)(torch.randn(2, 3, 28, 28)).is_contiguous()
    tower, images = build(preset("tiny")).vision_backbone, torch.randn(2, 2, 3, 56, 56)
    both = tower(images)
    swapped = tower(images.flip(0))
    torch.testing.assert_close(swapped, both.flip(0))
    first, second = both[0].unflatten(0, (2, -1))
    changed = images.clone()
    changed[0, 1] += 1.0
    again = tower(changed)[0].unflatten(0, (2, -1))
    torch.testing.assert_close(again[0], first)
    assert not torch.allclose(again[1], second)
