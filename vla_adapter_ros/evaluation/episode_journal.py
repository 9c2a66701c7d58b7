"""Keeps the results of a run as they come, so that one that was interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.suite import Result


class EpisodeJournal:
    """A file with the conditions in its first line and a result in each further one; removed at the end.

    Args:
        path: The file; None: nothing is kept.
        conditions: Of the run, ready for JSON.

    Raises:
        ParameterError: the file cannot be read, or was kept under other conditions.
    """

    def __init__(self, path: Path | None, conditions: Mapping[str, Any]) -> None:
        self._path = path
        self._file: TextIO | None = None
        self.results: list[Result] = []
        """Of the run that was interrupted."""
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._read(path, conditions) if path.exists() else 0
        self._file = file = path.open("a", encoding="utf-8")
        file.truncate(whole)  # a line that was cut off
        if not whole:
            self._write(conditions)

    def __enter__(self) -> EpisodeJournal:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is None or self._path is None:
            return
        self._file.close()
        if kind is None:
            self._path.unlink()

    def add(self, result: Result) -> None:
        """Keep a result."""
        if self._file is not None:
            self._write(asdict(result))

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _read(self, path: Path, conditions: Mapping[str, Any]) -> int:
        """Read what is whole; how many bytes that is."""
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        try:
            first, *rest = map(json.loads, whole.splitlines()) if whole else ({},)
            self.results = [_result(line) for line in rest]
        except (ValueError, TypeError, KeyError) as error:
            raise ParameterError(f"{path} is no journal of episodes ({error}): delete it") from None
        if whole and first != json.loads(json.dumps(conditions)):
            other = ", ".join(sorted(key for key in conditions if first.get(key) != conditions[key]))
            raise ParameterError(
                f"{path} was kept by a run with another {other}: delete it, or write to another file"
            )
        return len(whole.encode())


def _result(line: Mapping[str, Any]) -> Result:
    return Result(**{key: value for key, value in line.items() if key != "success"})
