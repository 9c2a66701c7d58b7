"""A training's start with a head of another design."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.contract import checkpoints_folder
from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.head_design import with_head_design
from vla_adapter_ros.training.settings import FinetuneSettings

SHIPPED = checkpoints_folder() / "franka_sim_tiny"


@pytest.fixture(scope="module")
def policy() -> VlaAdapterPolicy:
    return VlaAdapterPolicy.from_pretrained(SHIPPED, dtype=torch.float32)


def designed(policy: VlaAdapterPolicy, **values) -> VlaAdapterPolicy:
    return with_head_design(policy, FinetuneSettings(steps=1, **values))


def test_the_same_design_keeps_the_head(policy):
    assert designed(policy) is policy
    assert designed(policy, bridge="bridge", condition_layers="all") is policy
    assert designed(policy, head="pro", chunk=8, queries=4, conditions="both", gate="learned") is policy


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"head": "base"}, lambda c: c.head.kind is HeadKind.BASE),
        ({"head": "dit"}, lambda c: c.head.kind is HeadKind.DIT),
        ({"chunk": 12}, lambda c: c.chunk == 12),
        ({"conditions": "raw"}, lambda c: c.head.conditions == "raw"),
        ({"conditions": "query", "condition_layers": "last"}, lambda c: set(c.head.hidden_layers) == {3}),
        ({"condition_layers": "middle"}, lambda c: set(c.head.hidden_layers) == {2}),
        ({"bridge": "last_raw"}, lambda c: c.head.conditions == "raw" and set(c.head.hidden_layers) == {3}),
        ({"bridge": "all_query"}, lambda c: c.head.conditions == "query"),
        ({"bridge": "all_query", "condition_layers": "last"}, lambda c: set(c.head.hidden_layers) == {3}),
        ({"gate": "0"}, lambda c: c.head.gate == 0.0),
        ({"gate": "1"}, lambda c: c.head.gate == 1.0),
        ({"gate": "per-head"}, lambda c: c.head.gate is None and c.head.gate_per_head),
    ],
)
def test_another_design_keeps_the_backbone_and_gets_a_new_head(policy, values, expected):
    torch.manual_seed(0)
    found = designed(policy, **values)
    assert expected(found.config) and found.statistics is None
    old, new = policy.network.state_dict(), found.network.state_dict()
    backbone = [name for name in old if name.split(".")[0] not in ("action_head", "proprio_projector")]
    assert backbone and all(torch.equal(old[name], new[name]) for name in backbone)
    ready = found.with_new_head(
        action_dim=8, proprio_dim=11, chunk=found.config.chunk, statistics=policy.statistics,
        contract=policy.contract,
    )  # fmt: skip
    assert expected(ready.config)
    images = [np.full((112, 112, 3), 100, np.uint8)] * 2
    rows = ready.predict(images, "pick up the red cube", policy.statistics.proprio.mean)
    assert rows.shape == (found.config.chunk, 8) and np.isfinite(rows).all()


@pytest.mark.parametrize("count", [1, 2, 16])
def test_queries_that_are_there_stay_and_further_ones_are_as_large(policy, count):
    torch.manual_seed(0)
    found = designed(policy, queries=count)
    old, new = policy.network.action_queries.weight, found.network.action_queries.weight
    kept = min(count, len(old))
    assert new.shape[0] == count and torch.equal(new[:kept], old[:kept])
    if count > kept:
        assert new[kept:].std().item() == pytest.approx(old.std().item(), rel=0.3)


def test_parts_that_do_not_fit_are_refused(policy):
    with pytest.raises(ModelConfigError, match="gate"):
        designed(policy, head="dit", gate="per-head")
    with pytest.raises(ModelConfigError, match="gate"):
        designed(policy, head="dit", gate="1")
