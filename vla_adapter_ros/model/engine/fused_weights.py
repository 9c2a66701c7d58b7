"""Several weights in one tensor, without a second copy of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def fuse(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Concatenate on the first axis, and let the parameters be views of the result.

    One wide product then replaces several narrow ones, and the network still owns its weights: training
    or loading in place shows in the fused tensor. Moving the network to another device or type ends
    that, which `is_fused` tells.

    Args:
        parameters: Weights (n_i, ...) of equal trailing shape.

    Returns:
        (sum of n_i, ...).
    """
    if is_fused(parameters):
        first = parameters[0].data
        rows = sum(len(parameter) for parameter in parameters)
        return first.as_strided((rows, *first.shape[1:]), first.stride(), first.storage_offset())
    with torch.no_grad():
        whole = torch.cat([parameter.data for parameter in parameters])
        start = 0
        for parameter in parameters:
            parameter.data = whole[start : start + len(parameter)]
            start += len(parameter)
    return whole


def is_fused(parameters: Sequence[nn.Parameter]) -> bool:
    """Whether the parameters lie one behind the other in one tensor, as `fuse` leaves them."""
    first = parameters[0].data
    end = first.storage_offset()
    for parameter in parameters:
        data = parameter.data
        if (
            not data.is_contiguous()
            or data.dtype != first.dtype
            or data.untyped_storage().data_ptr() != first.untyped_storage().data_ptr()
            or data.storage_offset() != end
        ):
            return False
        end += data.numel()
    return len(parameters) > 1


def pad_rows(count: int, multiple: int) -> int:
    """The next multiple: matrix units are up to twice as fast on such row counts."""
    return -(-count // multiple) * multiple
