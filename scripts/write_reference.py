"""Write the generated parts of docs/, and the schema of contracts, from the code: `make reference`.

With --check it only looks, with --topics it also starts the nodes and writes their topics and services.
"""

from __future__ import annotations

import sys

from reference import FILES, REPOSITORY, pages, rendered, with_topics


def main() -> int:
    """Status 1 if a page is old and `--check` was given."""
    old = []
    wanted = {page: rendered(page.read_text(encoding="utf-8")) for page in pages()} | {
        file: make() for file, make in FILES.items()
    }
    for page, new in wanted.items():
        if not page.exists() or page.read_text(encoding="utf-8") != new:
            old.append(str(page.relative_to(REPOSITORY)))
            if "--check" not in sys.argv:
                page.write_text(new, encoding="utf-8")
    if "--topics" in sys.argv:
        page = REPOSITORY / "docs" / "reference" / "topics.md"
        page.write_text(with_topics(page.read_text(encoding="utf-8")), encoding="utf-8")
    print("\n".join(old) or "every page is as the code says")
    return 1 if old and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
