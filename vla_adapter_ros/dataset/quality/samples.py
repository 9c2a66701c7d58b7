"""What is known of an episode, and of the rows of all episodes, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vla_adapter_ros.contract import Contract

CONTROL_SOURCES = {0: "none", 1: "human", 2: "policy"}
"""Who led in a row: the numbers of the column `control_source`."""


@dataclass(frozen=True)
class Samples:
    """What is known of an episode of T rows; None for what is not.

    Attributes:
        fps: Nominal rate [Hz].
        stamps: float64 (T,), when each row was captured [s].
        state: float64 (T, S); `state_names` has S names.
        action: float64 (T, A), scaled as recorded; `action_names` has A names.
        ages: float64 (T, N), age of each of the N `streams` [s].
        images: Camera -> float64 (M, 4), rows as of `measure_image`; their change is inf where the image
            before was not looked at.
        looked: int (M,), rows whose images were looked at, in order; None: all.
        dropped: Frames that the recorder says it left out.
        refused: Camera -> how many of its images could not be used, and why the first could not.
        sources: int (T,), who led: 0 nobody, 1 a human, 2 the policy.
        periods: Camera -> time between its images [s]; inf, or no entry, where it was not measured.
        obstacle: Why nothing could move, as the controller said; empty: it did not.
    """

    fps: float
    state: np.ndarray
    action: np.ndarray
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    stamps: np.ndarray | None = None
    ages: np.ndarray | None = None
    streams: tuple[str, ...] = ()
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    looked: np.ndarray | None = None
    dropped: int = 0
    refused: Mapping[str, tuple[int, str]] | None = None
    sources: np.ndarray | None = None
    periods: Mapping[str, float] = field(default_factory=dict)
    obstacle: str = ""

    def __post_init__(self) -> None:
        """Number the columns where a data set lacks what its info.json names: names must fit the array."""
        for part in ("state", "action"):
            width = getattr(self, part).shape[1]
            if len(getattr(self, f"{part}_names")) != width:
                object.__setattr__(self, f"{part}_names", tuple(f"{part}[{n}]" for n in range(width)))


def describing_contract(samples: Samples, contract: Contract | None) -> Contract | None:
    """The contract if it has as many values as the samples, else None: nobody knows which value is which."""
    if contract is None:
        return None
    widths = len(contract.state_names), len(contract.action_names)
    return contract if (samples.state.shape[1], samples.action.shape[1]) == widths else None


class AllRows(Protocol):
    """N rows of several episodes, one episode after the other, in the contract's names, order and units."""

    @property
    def state(self) -> np.ndarray:
        """States, float64 (N, S)."""

    @property
    def action(self) -> np.ndarray:
        """Actions, float64 (N, A)."""

    @property
    def episode(self) -> np.ndarray:
        """Episode of each row, int64 (N,)."""

    @property
    def first(self) -> np.ndarray:
        """First row of the episode of each row, int64 (N,)."""

    @property
    def contract(self) -> Contract:
        """Of the robot."""


@dataclass(frozen=True)
class JoinedRows:
    """Rows as `AllRows` describes them."""

    state: np.ndarray
    action: np.ndarray
    episode: np.ndarray
    first: np.ndarray
    contract: Contract
