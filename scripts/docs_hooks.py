"""What `mkdocs build` does beside rendering docs/: it takes the pages of benchmarks/ in, with their pictures.

In the repository those lie beside docs/, so that links between the two need one `../` less, or more, here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
TAKEN = (".md", ".png")


def on_files(files: Any, config: Any) -> Any:
    """Add benchmarks/ to the site."""
    for path in sorted((ROOT / "benchmarks").iterdir()):
        if path.suffix in (*TAKEN, ".json"):
            files.append(File.generated(config, f"benchmarks/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between docs/ and benchmarks/ as they are in the site."""
    if page.file.src_uri.startswith("benchmarks/"):
        return re.sub(r"\]\(\.\./docs/", "](../", markdown)
    return re.sub(r"\]\(((?:\.\./)*)\.\./benchmarks/", r"](\1benchmarks/", markdown)
