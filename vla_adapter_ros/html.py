"""HTML pages that need nothing else: made from templates/, in one style. A text never becomes markup."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Picture(NamedTuple):
    """A picture of a page.

    Attributes:
        title: What it shows; its heading, and its text where it cannot be seen.
        source: A file beside the page, or the picture itself, from `embedded`.
    """

    title: str
    source: str


def embedded(title: str, png: bytes) -> Picture:
    """A picture that lies in the page itself."""
    return Picture(title, f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}")


def write_html(path: Path, template: str, **values: Any) -> None:
    """Write a page, and its folder where there is none.

    Args:
        path: File to write.
        template: Name of a file in templates/, without its ending; it extends base.html.
        values: What the template shows, by name; one that is missing is an error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(template, **values), encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """A page as text; for the arguments see `write_html`."""
    return _TEMPLATES.get_template(f"{template}.html").render(values)
