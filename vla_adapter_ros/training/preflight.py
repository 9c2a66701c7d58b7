"""What is looked at before the first step, so that a fault shows after seconds and not after hours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.all_rows import check_timing, judge_all_rows
from vla_adapter_ros.dataset.quality.checks import Place, Scope, checks_of
from vla_adapter_ros.dataset.quality.episode import judge
from vla_adapter_ros.dataset.quality.findings import Finding, Level, Verdict
from vla_adapter_ros.dataset.quality.sentences import check_sentences
from vla_adapter_ros.dataset.quality.settings import QualitySettings, count_faults, grade
from vla_adapter_ros.errors import DatasetError, TrainingError
from vla_adapter_ros.model import Tokenizer
from vla_adapter_ros.recording.description import names_of
from vla_adapter_ros.recording.layout import ACTION, STATE, image_key
from vla_adapter_ros.recording.mapped import image_size
from vla_adapter_ros.recording.opening import Dataset
from vla_adapter_ros.recording.survey import samples_of
from vla_adapter_ros.recording.video import count_frames
from vla_adapter_ros.training.data import Rows
from vla_adapter_ros.training.selection import split_rows
from vla_adapter_ros.training.settings import FinetuneSettings
from vla_adapter_ros.training.sources import OpenSource

_DEFAULTS = QualitySettings()


@dataclass(frozen=True)
class Preflight(Verdict):
    """What was found.

    Attributes:
        checks: In the order in which they are shown.
        stamps: True times of the rows of each episode [s], of the episodes that have some.
    """

    stamps: tuple[np.ndarray, ...] = ()

    def require_pass(self, page: Path | None = None) -> None:
        """Refuse to train if a check failed; `page` is where more is to be seen.

        Raises:
            TrainingError: with the lines of all that failed.
        """
        failed = [check for check in self.checks if check.level is Level.FAIL]
        if failed:
            lines = "\n  ".join(f"{check.name}: {check.text}" for check in failed)
            more = f"\nsee {page}" if page is not None else ""
            raise TrainingError(f"the data cannot be trained on:\n  {lines}{more}")


def check_files(sources: Sequence[OpenSource], contract: Contract) -> tuple[Finding, ...]:
    """Files and declared features of data sets against the contract: videos, camera sizes, order of names."""
    checks = []
    for source in sources:
        where = f" of {source.name}" if len(sources) > 1 else ""
        checks += [
            _check_videos(source.data, contract, where),
            _check_sizes(source.data, contract, where),
            _check_names(source.data, contract, where),
        ]
        missing = getattr(source.data, "missing", ())
        if missing:
            text = f"{len(missing)} episodes{where} that its list names are not there"
            checks.append(grade("format", len(missing), _DEFAULTS, text))
    return tuple(checks)


def check_rows(
    sources: Sequence[OpenSource], rows: Rows, settings: FinetuneSettings, tokenizer: Tokenizer, horizon: int
) -> Preflight:
    """Everything that the rows tell, over all data sets together; single episodes are judged one by one."""
    contract = rows.contract
    stamps, verdicts = _judge_episodes(sources, contract)
    checks = (
        _check_selection(rows, settings, horizon),
        check_sentences(rows, tokenizer),
        check_timing(stamps, contract.rate_hz),
        *judge_all_rows(rows),
        *verdicts,
    )
    return Preflight(checks, tuple(stamps))


def _check_selection(rows: Rows, settings: FinetuneSettings, horizon: int) -> Finding:
    """How many rows are trained on, and what becomes of the others."""
    train, _, held_out = split_rows(rows, settings, horizon)
    apart = len(np.unique(rows.episode[rows.usable])) - len(np.unique(rows.episode[train]))
    passes = settings.steps * settings.batch / len(train)
    text = (
        f"{len(train)} of {len(rows.weight)} rows are trained on, each about {passes:.1f} times; "
        f"{len(rows.weight) - int(rows.usable.sum())} have weight 0, {apart} episodes are "
        f"{'held out' if held_out else 'left out'}"
    )
    if not held_out:
        text += ": too few to hold any out, so the report will judge rows of the training"
    return grade("selection", float(not held_out), _DEFAULTS, text)


def _check_videos(data: Dataset, contract: Contract, where: str) -> Finding:
    needed: dict[Path, float] = {}
    for episode in data.episodes:
        for camera in contract.camera_names:
            if camera in episode.videos:
                part = episode.videos[camera]
                end = part.start_s * data.fps + episode.length
                needed[part.path] = max(needed.get(part.path, 0.0), end)
    faults = []
    for path, images in needed.items():
        name = path.relative_to(data.root) if path.is_relative_to(data.root) else path
        if not path.is_file():
            faults.append(f"{name} is missing")
            continue
        try:
            found = count_frames(path)
        except DatasetError as error:
            faults.append(str(error))
            continue
        if 0 < found < math.floor(images + 0.5):
            faults.append(f"{name} has {found} images for {math.floor(images + 0.5)} rows")
    good = f"{len(needed)} videos{where}, each with an image for every row"
    return count_faults("images", [fault + where for fault in faults], _DEFAULTS, good)


def _check_sizes(data: Dataset, contract: Contract, where: str) -> Finding:
    faults = []
    for name, camera in contract.cameras.items():
        height, width = image_size(data.features[image_key(name)])
        if (height, width) != (camera.height, camera.width):
            faults.append(f"{name} is {width}x{height}, the contract says {camera.width}x{camera.height}")
    return count_faults("contract", faults, _DEFAULTS, f"{', '.join(contract.camera_names)}{where}")


def _check_names(data: Dataset, contract: Contract, where: str) -> Finding:
    """Names that a data set declares against the contract: the same in another order is a fault."""
    other = []
    for feature, wanted in ((STATE, contract.state_names), (ACTION, contract.action_names)):
        found = names_of(data.features[feature], feature)
        if found == wanted:
            continue
        if sorted(found) == sorted(wanted):
            text = f"{feature}{where} has the order {list(found)}; allowed is the contract's {list(wanted)}"
            return Finding("contract", Level.FAIL, 1, text)
        other.append(f"{feature} is called {list(found)}{where}, the contract says {list(wanted)}")
    if other:
        text = "; ".join(other) + ": is this their order?"
        return Finding("contract", Level.WARN, len(other), text)
    return Finding("contract", Level.PASS, 0, f"state and action{where} are named as in the contract")


def _judge_episodes(
    sources: Sequence[OpenSource], contract: Contract
) -> tuple[list[np.ndarray], list[Finding]]:
    """True times of all episodes, and one line per check of single episodes; a failure is a warning here."""
    names = [check.name for check in checks_of(Scope.EPISODE, Place.TRAINING)]
    stamps, found = [], {name: [] for name in names}
    for source in sources:
        for episode in source.data.episodes:
            samples = samples_of(source.data, source.data.rows(episode.index), {}, every_image=False)
            if samples.stamps is not None:
                stamps.append(samples.stamps)
            verdict = judge(samples, _DEFAULTS, contract)
            where = f"{source.name} {episode.index}" if len(sources) > 1 else str(episode.index)
            for name in names:
                found[name].append((where, verdict[name]))
    return stamps, [_summary(name, checks) for name, checks in found.items()]


def _summary(name: str, checks: list[tuple[str, Finding]]) -> Finding:
    bad = [(where, check) for where, check in checks if check.level in (Level.WARN, Level.FAIL)]
    if not bad:
        made = [check for _, check in checks if check.level is not Level.SKIP]
        if not made:
            return checks[0][1]
        return Finding(name, Level.PASS, 0.0, f"{len(made)} episodes are as they should be")
    where, worst = max(bad, key=lambda item: item[1].level.rank)
    numbers = ", ".join(where for where, _ in bad[:8]) + (", ..." if len(bad) > 8 else "")
    text = f"{len(bad)} of {len(checks)} episodes ({numbers}); {where}: {worst.text}"
    return Finding(name, Level.WARN, len(bad), text)
