"""What checkers by others say of our data sets: docs/reference/judges.md must explain each finding.

    python test/judge/second_opinions.py FOLDER ...

Runs robovet, rdq and lerobot-doctor on each data set. A failure, or a warning that is not known, is printed
and counted; the exit status is their number.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

KNOWN = {
    "robovet": (),
    "rdq": (
        r"task description\(s\) are one or two words",  # a short sentence is a sentence
        r"[Ll]icen[cs]e",  # the card leaves it to the user to name one
    ),
    "lerobot-doctor": (
        r"(capture\.age|control_source|intervention|next\.success).*(zero variance|constant)",  # notes
        r"shorter than (chunk_size|\d+ frames)|too short",  # as short as they were recorded
        r"episode\(s\) flagged",  # counts the lines above
    ),
}


def robovet(root: Path) -> list[str]:
    """Checks that failed or warned."""
    return _lines(["robovet", "doctor", str(root)], r"^\s*(FAIL|WARN)\b")


def rdq(root: Path) -> list[str]:
    """Findings of any level."""
    return _lines(["rdq", "check", str(root)], r"^\s*(ERROR|CRITICAL|WARN\w*|FAIL|INFO|CHECK)\b")


def doctor(root: Path) -> list[str]:
    """The lines below each check that failed or warned."""
    found, bad = [], False
    for line in _run(["lerobot-doctor", "check", str(root)]).splitlines():
        if head := re.match(r"\[(\w+)\]", line):
            bad = head[1] in ("WARN", "FAIL", "ERROR")
        elif line.startswith("Summary"):
            bad = False
        elif bad and line.startswith("  - "):
            found.append(line.strip(" -"))
    return found


def _run(command: list[str]) -> str:
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [str(tool), *command[1:]], capture_output=True, text=True, check=False, env={"COLUMNS": "1000"}
    )
    if not done.stdout:
        raise SystemExit(f"{command[0]}: {done.stderr[-500:]}")
    return done.stdout


def _lines(command: list[str], pattern: str) -> list[str]:
    return [line.strip() for line in _run(command).splitlines() if re.match(pattern, line)]


def main() -> int:
    """Ask all of them about every data set named on the command line."""
    unknown = 0
    for root in map(Path, sys.argv[1:]):
        for name, ask in (("robovet", robovet), ("rdq", rdq), ("lerobot-doctor", doctor)):
            found = ask(root)
            new = [line for line in found if not any(re.search(p, line) for p in KNOWN[name])]
            unknown += len(new)
            print(
                f"{'FAILED' if new else 'ok    '} {name} on {root}: {len(found)} findings, {len(new)} unknown"
            )
            for line in new:
                print(f"       {json.dumps(line, ensure_ascii=False)}")
    print("nothing that is not explained" if not unknown else f"{unknown} findings are not explained")
    return min(unknown, 100)


if __name__ == "__main__":
    sys.exit(main())
