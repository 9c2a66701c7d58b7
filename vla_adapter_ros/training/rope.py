"""Settles the rotary tables of a Pro head before its training goes on, for training and inference alike."""

from __future__ import annotations

import dataclasses

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.config_enums import RopeTables
from vla_adapter_ros.model.official import OFFICIAL_NAME
from vla_adapter_ros.training.cameras import rebuild
from vla_adapter_ros.training.setting_words import RopeOption


def with_rope_tables(policy: VlaAdapterPolicy, wanted: RopeOption) -> VlaAdapterPolicy:
    """The policy around the same tensors with these rotary tables; `auto` leaves them."""
    config = policy.config
    if wanted is RopeOption.AUTO or config.head.rope_tables is RopeTables(wanted):
        return policy
    head = dataclasses.replace(config.head, rope_tables=RopeTables(wanted))
    config = dataclasses.replace(config, head=head)
    return policy.replace(network=rebuild(config, policy.network.state_dict()), config=config)


def settle_rope_tables(policy: VlaAdapterPolicy) -> tuple[VlaAdapterPolicy, str]:
    """Name the rotary tables of a head whose training goes on, where so far the weights' type decides.

    Training has float32 weights, inference may have bf16 ones: with `head.rope_tables = "match"` the two
    would use different tables. An official head goes on with the bf16 tables that it was trained with, one
    that an earlier version of this package trained with the fp32 tables of that training. `fp32` and `bf16`
    stay as they are; a new head has fp32 already, see `VlaAdapterPolicy.with_new_head`.

    Args:
        policy: What is to be trained on, with its head.

    Returns:
        The policy around the same tensors, and a line for the user; empty if nothing changes.
    """
    config = policy.config
    if config.head.kind != HeadKind.PRO or config.head.rope_tables != RopeTables.MATCH:
        return policy, ""
    official = config.name.startswith(OFFICIAL_NAME)
    tables = RopeOption.BF16 if official else RopeOption.FP32
    settled = with_rope_tables(policy, tables)
    why = "which the official checkpoint was trained with" if official else "as in its training before"
    return settled, (
        f"rotary tables of the Pro head: {tables}, {why}; from now on at inference too, whatever the type of "
        "the weights (head.rope_tables in vla_adapter.json)"
    )
