"""The generated parts of docs/: each is a region of a page, written from the code and held by a test.

A region begins with `<!-- generated: NAME -->` and ends with `<!-- end of generated -->`. `REGIONS` says
which function makes which region; `write_reference.py` writes them all. The topics are looked up in a running
graph, and held by a test of the nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from reference.command_line import command_section, launch_arguments
from reference.contract import contract_keys, contract_schema_text
from reference.interfaces import action_tables, message_tables, service_tables
from vla_adapter_ros.contract.key_texts import SCHEMA_FILE
from vla_adapter_ros.control.supervisor import table_text
from vla_adapter_ros.dataset.quality.page import checks_table, numbers_table
from vla_adapter_ros.nodes.parameter_pages import parameter_table
from vla_adapter_ros.nodes.parameters import KINDS

REPOSITORY = Path(__file__).resolve().parents[2]
REGION = re.compile(r"(<!-- generated: ([^>]+?) -->\n).*?(<!-- end of generated -->)", re.DOTALL)
TOPICS = re.compile(r"(<!-- looked up: topics -->\n).*?(<!-- end of looked up -->)", re.DOTALL)
FILES: dict[Path, Callable[[], str]] = {REPOSITORY / "config" / SCHEMA_FILE: contract_schema_text}
"""Files that are generated as a whole."""
REGIONS: dict[str, Callable[[], str]] = {
    "contract keys": contract_keys,
    "command line": command_section,
    "launch arguments": launch_arguments,
    "messages": message_tables,
    "services": service_tables,
    "actions": action_tables,
    "controller states": table_text,
    "quality checks": checks_table,
    "quality settings": numbers_table,
} | {f"parameters of {kind}": lambda kind=kind: parameter_table(kind) for kind in KINDS}


def rendered(page: str) -> str:
    """The text of a page with every region as the code has it now.

    Raises:
        KeyError: a region that nothing makes.
    """
    return REGION.sub(lambda found: f"{found[1]}\n{REGIONS[found[2]]().strip()}\n\n{found[3]}", page)


def with_topics(page: str) -> str:
    """A page with its region `topics`, as a running graph has it now; needs ROS 2 and some seconds."""
    from reference.graph import topics_and_services

    return TOPICS.sub(lambda found: f"{found[1]}\n{topics_and_services().strip()}\n\n{found[2]}", page)


def pages() -> list[Path]:
    """Every page in docs/ that has a generated region."""
    return [
        page
        for page in sorted((REPOSITORY / "docs").rglob("*.md"))
        if REGION.search(page.read_text(encoding="utf-8"))
    ]
