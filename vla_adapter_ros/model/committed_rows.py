"""What a network is told of the rows between its image and its chunk, which the arm carries out anyway.

The idea of a known prefix is that of training-time real-time chunking (arXiv 2512.05964). Here it stands
beside the proprioception, as the action tokens of a Bridge-Attention head are zeros.
"""

from __future__ import annotations

import numpy as np


def told_rows(rows: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The numbers that stand behind the state: of each row its values, and 1; zeros where none is known.

    Args:
        rows: Normalized, float32 (..., D, A), the row just before the chunk first.
        known: Which of them there are, bool (..., D).

    Returns:
        float32 (..., D * (A + 1)).
    """
    marks = known[..., None].astype(np.float32)
    told = np.concatenate([np.where(known[..., None], rows, np.float32(0)), marks], axis=-1)
    return told.reshape(*told.shape[:-2], -1)
