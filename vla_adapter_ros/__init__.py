"""VLA-Adapter on real manipulators: record, fine-tune, deploy, move.

The rooms of this package: contract (what a robot gives and takes), model,
control, recording, training, simulation, nodes (the only room with rclpy)
and cli.
"""

import pkgutil

# The generated messages live in an installed folder of the same name; without
# this line a run from the repository root would hide them.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
