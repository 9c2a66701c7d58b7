"""Set-up of every test: a ROS domain of its own, loopback only, the shipped Fast DDS profile."""

from __future__ import annotations

import os

from vla_adapter_ros.nodes.graph import graph_environment

os.environ.update(graph_environment(simulate=True))
# Parallel runs must not meet; domains up to 101 are free of port clashes on Linux.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
