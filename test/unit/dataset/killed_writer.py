"""A process that is killed while it saves its second episode."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__)
_SCRIPT = """
import sys, os, signal
sys.path.insert(0, sys.argv[3])
from recording_samples import CONTRACT, record
from vla_adapter_ros import files
from vla_adapter_ros.dataset.writer import DatasetWriter
writer = DatasetWriter(sys.argv[1], CONTRACT)
record(writer, "a", 4)
commit = files.commit_file
def die(path, *source):
    if sys.argv[2] in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
    commit(path, *source)
files.commit_file = die
record(writer, "b", 5, seed=1)
"""


def kill_while_saving(root: Path, moment: str) -> None:
    """Record four rows, then five more, and die when a file whose path contains `moment` is put in place."""
    process = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(root), moment, str(HERE.parents[1])],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[3])},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
