"""VLA-Adapter on real manipulators: record, fine-tune, deploy, move.

docs/explanation/architecture.md says what each package holds and where things are.
"""

import pkgutil

# The generated messages live in an installed folder of the same name; without
# this line a run from the repository root would hide them.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
