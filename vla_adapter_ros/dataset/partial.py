"""Reads LeRobot v3.0 data sets by others of which only a part is there: copied in part, or unfinished."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.column_statistics import exact_statistics
from vla_adapter_ros.dataset.episode_list import (
    EpisodeList,
    absent_cameras,
    episodes_of,
    missing_files,
    read_facts,
)
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import DatasetError


class PartialReader(DatasetReader):
    """A LeRobot v3.0 data set; episodes whose rows are not there are left out, the others numbered anew.

    Args and errors as of `DatasetReader`; none of its episodes being there is an error too.
    """

    @property
    def stats(self) -> dict[str, dict[str, Any]]:
        """Statistics as stored; where episodes are missing, exact ones of the columns that are there."""
        return exact_statistics(self) if self.missing else super().stats

    def rows(self, episode: int) -> dict[str, np.ndarray]:
        """All columns of an episode, as in `DatasetReader`, with the numbers that the episode has here."""
        rows, facts = super().rows(episode), self._episode(episode)
        if self.missing:
            rows["episode_index"] = np.full(facts.length, facts.index)
            rows["index"] = facts.first_row + np.arange(facts.length)
        return rows

    def _read_episodes(self) -> EpisodeList:
        facts, total = read_facts(self.root), self.info.get("total_episodes", 0)
        cameras = self._declared(lambda feature: feature["dtype"] == "video")
        listed = episodes_of(facts[:total], self.root, self.info, cameras)
        there = [episode for episode in listed if episode.data.is_file()]
        if len(there) == total:
            return super()._read_episodes()
        gone = [episode for episode in listed if not episode.data.is_file()]
        if not there:
            what = missing_files([e.data for e in gone]) if gone else f"meta/episodes describes {len(facts)}"
            raise DatasetError(
                f"{self.root}: none of the {total} episodes that {layout.INFO} counts can be read: {what}; "
                "the program that recorded it did not finish, or files were not copied"
            )
        missing = (*(e.number for e in gone), *range(len(listed), total))
        lists = self.root / "meta/episodes"
        missing_file = str(gone[0].data) if gone else f"{lists} (it describes {len(facts)} episodes)"
        episodes, first = [], 0
        for index, episode in enumerate(there):
            episodes.append(replace(episode, index=index, first_row=first))
            first += episode.length
        return EpisodeList(tuple(episodes), absent_cameras(episodes, cameras), missing, missing_file)
