"""The diffusion transformer head: its schedule, its sampling, and that it learns."""

from __future__ import annotations

import pytest
import torch

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model import VlaAdapter
from vla_adapter_ros.model.experimental.diffusion_head import DitPolicy, schedule, time_features

from .small import ACTIONS, CHUNK, small_batch, small_config


def build(steps: int = 4, seed: int = 0) -> VlaAdapter:
    torch.manual_seed(seed)
    head = {"kind": "dit", "denoising_steps": steps, "blocks": 2}
    return VlaAdapter(small_config(head=head, token_order="text_first"))


def test_schedule_goes_from_the_chunk_to_noise() -> None:
    alpha, sigma = schedule(torch.tensor([0.0, 0.3, 0.5, 1.0]))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(4))
    torch.testing.assert_close(alpha[[0, 3]], torch.tensor([1.0, 0.0]), rtol=0, atol=1e-6)
    assert (alpha.diff() < 0).all() and (sigma.diff() > 0).all()


def test_times_are_told_apart() -> None:
    features = time_features(torch.linspace(0, 1, 11))
    distance = torch.cdist(features, features) + 9 * torch.eye(11)
    assert features.shape == (11, 256) and distance.min() > 1.0


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_sampling_undoes_the_noise_of_a_perfect_denoiser(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denoiser that knows the chunk is led to it; the noisy chunks on the way have the schedule's mix."""
    head = build(steps).action_head.model
    target, seen = torch.rand(2, CHUNK, ACTIONS), []

    def know(noisy: torch.Tensor, t: torch.Tensor, conditions: object) -> torch.Tensor:
        alpha, sigma = schedule(t[0])
        seen.append((t[0].item(), (noisy - alpha * target) / sigma))
        return target

    monkeypatch.setattr(head, "denoise", know)
    states = torch.zeros(2, 4, 3, 32)
    out = head(states, states, torch.zeros(2, 1, 32), None)
    torch.testing.assert_close(out, target)
    assert [t for t, _ in seen] == pytest.approx([1 - k / steps for k in range(steps)])
    for _, noise in seen:
        torch.testing.assert_close(noise, head.start_noise.expand(2, -1, -1), rtol=0, atol=1e-4)


def test_equal_inputs_give_equal_actions() -> None:
    """Whatever was drawn before, in another process or after loading; another noise gives another chunk."""
    one, two = build().eval(), build(seed=1).eval()
    for network in (one, two):  # the start is the identity and gives zeros
        torch.nn.init.normal_(
            network.action_head.model.final.weight, generator=torch.Generator().manual_seed(2)
        )
    ids, mask, pixels, proprio, _ = small_batch()
    with torch.no_grad():
        first = one(ids, mask, pixels, proprio)
        torch.randn(5)
        assert torch.equal(one(ids, mask, pixels, proprio), first)
        assert not torch.equal(one(ids, mask, pixels, proprio, torch.ones(CHUNK, ACTIONS)), first)
        two.load_state_dict(one.state_dict())
        assert torch.equal(two(ids, mask, pixels, proprio), first)
    assert torch.equal(build(seed=3).action_head.model.start_noise, one.action_head.model.start_noise)


def test_starts_as_the_identity() -> None:
    """Adaptive norms that start at zero: at first the blocks pass their rows on."""
    head: DitPolicy = build().action_head.model
    x, states = torch.randn(2, CHUNK, 32), torch.randn(2, 4, 3, 32)
    condition = head.read(states, states, torch.randn(2, 1, 32))[0]
    assert torch.equal(head.blocks[0](x, condition, torch.zeros(2, 9, 32)), x)
    moved = head.blocks[0](x, condition, torch.ones(2, 9, 32))
    assert (moved - x).abs().amax(dim=(0, 2)).min() > 1e-3


@pytest.mark.slow
def test_learns_chunks_from_their_conditions() -> None:
    """Three observations, three chunks: the sampled ones come much nearer, each to its own."""
    network, (ids, mask, pixels, proprio, target) = build(), small_batch()
    with torch.no_grad():
        conditions = network.conditions(ids, mask, pixels)
        before = (network.eval().head_actions(conditions, proprio) - target).abs().mean()
    head = [*network.action_head.parameters(), *network.proprio_projector.parameters()]
    optimizer = torch.optim.AdamW(head, lr=3e-3)
    torch.manual_seed(0)
    network.train()
    for _ in range(200):
        loss = network.head_loss(conditions, proprio, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        actions = network.eval().head_actions(conditions, proprio)
    error = (actions - target).abs().mean()
    assert error < 0.2 * before, (before, error)
    mixed = (actions - target.roll(1, dims=0)).abs().mean()
    assert mixed > 3 * error


def test_a_gate_is_refused() -> None:
    with pytest.raises(ModelConfigError, match=r"head\.gate = 0\.5"):
        small_config(head={"kind": "dit", "gate": 0.5})
