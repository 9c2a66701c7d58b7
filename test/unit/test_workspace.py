"""A virtual environment inside a colcon workspace brings no packages of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAKE_PYTHON = """#!/bin/sh
# `python -m venv [options] FOLDER`, without a network: its pip and python do nothing.
for folder; do :; done
mkdir -p "$folder/bin"
for name in pip python; do printf '#!/bin/sh\\n' > "$folder/bin/$name"; chmod +x "$folder/bin/$name"; done
"""


@pytest.mark.skipif(sys.platform == "win32", reason="make and sh")
def test_make_setup_hides_its_environment_from_colcon(tmp_path: Path) -> None:
    python, venv = tmp_path / "python", tmp_path / "venv"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k not in ("ROS_DISTRO", "MAKEFLAGS", "MAKELEVEL")}
    subprocess.run(
        ["make", f"PYTHON={python}", f"V={venv}", f"{venv}/.packages"],
        cwd=ROOT, env=environment, check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    assert (venv / ".packages").is_file()
    assert (venv / "COLCON_IGNORE").is_file()


def test_the_page_hides_an_environment_in_the_workspace_before_the_build() -> None:
    text = (ROOT / "docs" / "how-to" / "ros_installation.md").read_text(encoding="utf-8")
    (made,) = re.finditer(r"python3 -m venv (?:--\S+ )*(~/ws/\S+)", text)
    hidden = text.find(f"touch {made[1]}/COLCON_IGNORE")
    assert made.start() < hidden < text.index("colcon build --symlink-install")
