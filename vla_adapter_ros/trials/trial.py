"""Runs of policies, read from the data sets in which they were recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset.layout import CONTROL_SOURCE, SOURCE_NUMBERS
from vla_adapter_ros.dataset.opening import Dataset, open_dataset
from vla_adapter_ros.dataset.outcome import count_interventions, intervention_rows
from vla_adapter_ros.dataset.trial_facts import TrialFacts, read_facts_of, read_labels, read_notes

_POLICY = SOURCE_NUMBERS["policy"]


@dataclass(frozen=True)
class Trial:
    """One run of a policy; what is not known is empty, None or NaN.

    Attributes:
        dataset: Name of the data set.
        episode: What the data set calls the episode.
        instruction: What was to be done at first.
        facts: Of the run.
        outcome: How it ended, as the operator said.
        reason: Why, in a few words.
    """

    dataset: str
    episode: int
    instruction: str
    facts: TrialFacts
    outcome: Outcome | None
    reason: str

    @property
    def alone(self) -> bool:
        """Whether no human corrected the policy."""
        return self.facts.interventions == 0

    @property
    def succeeded(self) -> bool:
        """Whether the policy did it alone: a success that a human helped with is not its own."""
        return self.outcome is Outcome.SUCCESS and self.alone


def read_trials(roots: Iterable[str | Path]) -> list[Trial]:
    """The runs in data sets: the episodes in which a policy led, in the order in which they began.

    Those whose beginning nobody wrote down come first, in the order of the data sets.

    Raises:
        DatasetError: no data set, or a damaged one.
    """
    found = [trial for root in roots for trial in _trials_of(open_dataset(root))]
    return sorted(found, key=lambda trial: trial.facts.started)


def _trials_of(dataset: Dataset) -> list[Trial]:
    trials = []
    notes, labels = read_notes(dataset), read_labels(dataset)
    for episode, entry, label in zip(dataset.episodes, notes, labels, strict=True):
        facts = read_facts_of(entry)
        if math.isnan(facts.policy_share):
            facts = _facts_of_rows(dataset, episode.index)
        if facts.policy_share > 0:
            said = episode.tasks[0] if episode.tasks else dataset.task_of(episode.index)
            name = dataset.root.resolve().name
            trials.append(Trial(name, episode.number, said, facts, label.outcome, label.reason))
    return trials


def _facts_of_rows(dataset: Dataset, episode: int) -> TrialFacts:
    """What the rows of an episode tell that was recorded without facts of its run."""
    if CONTROL_SOURCE not in dataset.features:
        return TrialFacts(policy_share=0.0)
    sources = dataset.rows(episode)[CONTROL_SOURCE]
    return TrialFacts(
        duration_s=(len(sources) - 1) / dataset.fps,
        policy_share=float((sources == _POLICY).mean()),
        interventions=count_interventions(sources),
        intervention_share=float(intervention_rows(sources).mean()),
    )
