"""Mean errors over the chunk rows that count."""

from __future__ import annotations

from torch import Tensor


def mean_of_valid(errors: Tensor, valid: Tensor) -> Tensor:
    """Mean of errors (B, H, A) over the rows that are valid, bool (B, H)."""
    # Multiplied, not picked: picking makes a GPU wait for the count.
    return (errors * valid[..., None]).sum() / (valid.sum().clamp(min=1) * errors.shape[-1])
