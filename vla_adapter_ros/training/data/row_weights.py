"""How often each row of a data set is drawn: by who led, what a human corrected, how the episode ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset.layout import CONTROL_SOURCE, HUMAN
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.outcome import INTERVENTION, intervention_rows
from vla_adapter_ros.dataset.quality.samples import CONTROL_SOURCES
from vla_adapter_ros.dataset.trial_facts import read_labels
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.training.setting_words import OutcomeFilter
from vla_adapter_ros.training.settings import FinetuneSettings


@dataclass(frozen=True)
class RowWeights:
    """What a row's weight depends on.

    Attributes:
        by_source: Weights by who led: none, human, policy.
        intervention: Factor of rows in which a human corrected the policy.
        outcome: Which episodes are learned from; rows of the others weigh 0.
    """

    by_source: tuple[float, float, float] = (0.0, 1.0, 0.0)
    intervention: float = 1.0
    outcome: OutcomeFilter = OutcomeFilter.ANY

    @classmethod
    def of(cls, settings: FinetuneSettings) -> RowWeights:
        """Those that the settings of a training ask for."""
        return cls(settings.source_weights, settings.intervention_weight, settings.outcome)


def weigh_rows(data: Dataset, columns: Mapping[str, np.ndarray], weights: RowWeights) -> np.ndarray:
    """Weight of each row, float64 (N,); 0: it is not learned from.

    Args:
        data: The data set.
        columns: Its columns, N rows of all episodes. Without `control_source` a human led; without
            `intervention` a human corrects who leads after the policy has led in the episode.
        weights: What is asked for.

    Raises:
        TrainingError: a control source that there is not, or no row is left.
        DatasetError: rows of the data set cannot be read.
    """
    count = data.num_frames
    control = columns[CONTROL_SOURCE].astype(int) if CONTROL_SOURCE in columns else np.full(count, HUMAN)
    known = np.isin(control, list(CONTROL_SOURCES))
    if not known.all():
        raise TrainingError(
            f"{data.root}: {CONTROL_SOURCE} = {control[~known][0]}: allowed are {CONTROL_SOURCES}"
        )
    weight = np.asarray(weights.by_source, dtype=np.float64)[control]
    corrected = columns.get(INTERVENTION)
    kept = kept_episodes(data, weights.outcome)
    for episode, is_kept in zip(data.episodes, kept, strict=True):
        rows = slice(episode.first_row, episode.first_row + episode.length)
        human = intervention_rows(control[rows]) if corrected is None else corrected[rows].astype(bool)
        weight[rows] *= np.where(human, weights.intervention, 1.0) * is_kept
    if (weight > 0).any():
        return weight
    if not any(kept):
        raise TrainingError(
            f"{data.root}: outcome = {weights.outcome!r} leaves none of its {len(kept)} episodes: label them "
            "with `vla-adapter dataset label`"
        )
    wanted = [who for n, who in CONTROL_SOURCES.items() if weights.by_source[n] > 0]
    raise TrainingError(
        f"{data.root}: no row in which a {' or a '.join(wanted) or 'human'} was in control: nothing to "
        f"learn from"
    )


def kept_episodes(data: Dataset, outcome: OutcomeFilter) -> list[bool]:
    """Whether each episode is learned from."""
    if outcome is OutcomeFilter.ANY:
        return [True] * len(data.episodes)
    if outcome is OutcomeFilter.SUCCESS:
        return [label.outcome is Outcome.SUCCESS for label in read_labels(data)]
    return [label.outcome is not Outcome.FAILURE for label in read_labels(data)]
