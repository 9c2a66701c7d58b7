"""What `make` makes of the statuses of its commands. Nothing is installed: the commands are stand-ins."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


def make(*words: str) -> tuple[int, str]:
    command = ["make", "--no-print-directory", "-o", "setup", "-C", str(REPOSITORY), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("target", ["test", "test-all"])
@pytest.mark.parametrize(("unit", "ros"), [(0, 0), (1, 0), (0, 1)])
def test_both_kinds_of_tests_run_and_one_red_makes_it_red(target, unit, ros):
    stand_ins = [f"{name}_TESTS=sh -c 'echo {name} $$*; exit {code}' x" for name, code in
                 (("UNIT", unit), ("ROS", ros))]  # fmt: skip
    status, out = make(target, *stand_ins, "TEST_ARGS=-k some")
    assert (status == 0) == (unit == ros == 0)
    quick = "-m not slow " if target == "test" else ""
    assert out.splitlines() == [f"UNIT {quick}-k some", f"ROS {quick}-k some"]


@pytest.mark.parametrize(("code", "status", "said"), [(0, 0, ""), (3, 0, "does not listen"), (1, 2, "")])
def test_a_language_blind_policy_is_a_sentence_and_not_an_error(tmp_path, code, status, said):
    command = tmp_path / "bin" / "vla-adapter"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexit {code}\n")
    command.chmod(0o755)
    found, out = make("train-demo", f"V={tmp_path}")
    assert found == status
    assert (said in out) and bool(out) == bool(said)
