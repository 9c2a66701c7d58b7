"""What an import did, episode by episode, in values and in lines for people."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class EpisodeReport:
    """An imported episode.

    Attributes:
        index: Its number in the new data set; -1 if it was not kept.
        source: Where it comes from.
        frames: Number of rows.
        task: What was to be done.
        remarks: What is to be said about it, one remark each.
        left_out: First cause -> frames left out for it; of causes that differ in numbers only, the first one.
    """

    index: int
    source: str
    frames: int
    task: str
    remarks: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """The report in words."""
        head = f"episode {self.index}" if self.index >= 0 else "not kept"
        lines = [f"{head}: {self.source}: {self.frames} frames, {self.task!r}"]
        lines += [f"  {remark}" for remark in self.remarks]
        return lines + [f"  {count} frames left out: {reason}" for reason, count in self.left_out.items()]


@dataclass
class ImportReport:
    """What an import gave.

    Attributes:
        episodes: One entry each, also for those that could not be kept.
        remarks: What concerns the whole.
    """

    episodes: list[EpisodeReport] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """Episodes that are in the data set."""
        return sum(episode.index >= 0 for episode in self.episodes)


def describe_tasks(tasks: tuple[str, ...]) -> list[str]:
    """What is to be said of an episode whose task changes in between; empty if it does not."""
    return [f"its task changes on the way: {', '.join(map(repr, tasks))}"] if len(tasks) > 1 else []
