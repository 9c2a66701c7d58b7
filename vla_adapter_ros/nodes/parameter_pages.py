"""The parameters of a node as its shipped file and as a table of the docs.

`python -m vla_adapter_ros.nodes.parameter_pages` writes the files in config/nodes.
"""

from __future__ import annotations

import json

from vla_adapter_ros.contract import config_folder
from vla_adapter_ros.nodes.parameter_rules import parameters_of
from vla_adapter_ros.nodes.parameters import KINDS


def parameter_file(node: str) -> str:
    """Text of the complete parameter file of a node, as shipped in config/nodes.

    Its key fits the node under every name and namespace.
    """
    lines = ["/**:", "  ros__parameters:"]
    for name, parameter in parameters_of(KINDS[node]).items():
        lines.append(f"    # {parameter.explained}")
        lines.append(f"    {name}: {json.dumps(parameter.default)}")
    return "\n".join(lines) + "\n"


def parameter_table(node: str) -> str:
    """The parameters of a node as a Markdown table."""
    lines = ["| parameter | default | meaning |", "|---|---|---|"]
    for name, parameter in parameters_of(KINDS[node]).items():
        lines.append(f"| `{name}` | `{json.dumps(parameter.default)}` | {parameter.explained} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for kind in KINDS:
        (config_folder() / "nodes" / f"{kind}.yaml").write_text(parameter_file(kind), encoding="utf-8")
