"""Attention of one observation: torch's fused kernel, or plain products where those are faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vla_adapter_ros.model.engine.choosing import fastest

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool], Tensor]


@dataclass(frozen=True)
class Attention:
    """A way to attend, and whether tokens see those before them only."""

    kernel: Kernel
    causal: bool

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attend.

        Args:
            q: Queries (B, heads, T, d).
            k: Keys (B, kv heads, T, d).
            v: Values, as the keys.
            mask: Additive (1, 1, 1, T), or None.

        Returns:
            (B, heads, T, d).
        """
        return self.kernel(q, k, v, mask, self.causal)

    @property
    def name(self) -> str:
        """`fused` or `plain`."""
        return self.kernel.__name__


def fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
    """Torch's own kernel; see `Attention`."""
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=k.shape[1] != q.shape[1]
    )


def plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
    """Two products with the softmax between them, in the type of the arguments; see `Attention`."""
    batch, heads, tokens, d = q.shape
    groups = batch * k.shape[1]  # heads that share keys are rows of one product
    scores = torch.bmm((q * d**-0.5).reshape(groups, -1, d), k.reshape(groups, tokens, d).transpose(1, 2))
    if mask is not None:
        scores.add_(mask[0])
    if causal:
        scores.view(-1, tokens, tokens).add_(_causal(tokens, scores.dtype))
    return torch.bmm(scores.softmax(dim=-1), v.reshape(groups, tokens, d)).view(batch, heads, tokens, d)


@lru_cache(maxsize=16)
def _causal(tokens: int, dtype: torch.dtype) -> Tensor:
    """Additive mask (T, T) on a CPU."""
    with torch.inference_mode(False):
        seen = torch.ones(tokens, tokens, dtype=torch.bool).tril_()
        return torch.zeros(tokens, tokens, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)


def choose_attention(
    shape: tuple[int, int, int, int],
    kv_heads: int,
    weights: Tensor,
    *,
    causal: bool,
    masked: bool,
    measure: bool,
) -> Attention:
    """The fused way, or the faster one where that is measured: in bf16 on a CPU.

    Args:
        shape: Of the queries, (B, heads, T, d).
        kv_heads: Heads of keys and values.
        weights: Any of the network's, for type and device.
        causal: Whether tokens see those before them only.
        masked: Whether there is a mask.
        measure: Whether measuring is wanted at all.
    """
    if not measure or weights.device.type != "cpu" or weights.dtype != torch.bfloat16:
        return Attention(fused, causal)
    batch, _, tokens, d = shape
    q, k, v = (
        torch.randn(batch, tokens, count, d).to(weights.dtype).transpose(1, 2)
        for count in (shape[1], kv_heads, kv_heads)
    )
    mask = torch.zeros(1, 1, 1, tokens, dtype=weights.dtype) if masked else None
    ways = {way: partial(way, q, k, v, mask, causal) for way in (fused, plain)}
    return Attention(fastest(ways), causal)
