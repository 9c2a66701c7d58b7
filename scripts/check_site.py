"""Look whether a rendered page would load anything from another host: `check_site.py FOLDER`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?![^>]*rel=["']?(?:canonical|prev|next))[^>]*href=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|(?:@import|url\()\s*["']?(?:https?:)?//[^"'\s)]+""",
    re.IGNORECASE,
)


def foreign(folder: Path) -> list[str]:
    """`FILE: what it loads` for everything that comes from elsewhere."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".html", ".css")]
    if not files:
        return [f"{folder}: no pages"]
    return [
        f"{path.relative_to(folder)}: {found[0][:120]}"
        for path in files
        for found in LOADED.finditer(path.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    found = foreign(Path(sys.argv[1]))
    print("\n".join(found), end="\n" if found else "")
    raise SystemExit(bool(found))
