"""Write the generated parts of docs/ from the code: `make reference`.

With --check it only looks, with --topics it also starts the nodes and writes their topics and services.
"""

from __future__ import annotations

import sys

from reference import REPOSITORY, pages, rendered, with_topics


def main() -> int:
    """Status 1 if a page is old and `--check` was given."""
    old = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (new := rendered(text)) != text:
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
