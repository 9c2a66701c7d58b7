"""LIBERO's suites: how they are called, and how long an episode may take."""

from __future__ import annotations

LONGEST = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Steps of an episode by suite, without the still ones before it: as in VLA-Adapter's own evaluation."""
TASKS = {name: 90 if name == "libero_90" else 10 for name in LONGEST}
"""How many tasks each has."""
TRIALS = 50
"""Episodes of a task: it has as many stored initial states."""
STILL_STEPS = 10
"""Steps before an episode in which the arm does nothing, and things come to rest."""
RATE_HZ = 20.0
PICTURE = 256
"""Width and height of a camera's picture [pixels]."""
PERTURBATIONS = ("lan", "object", "swap", "task")
"""LIBERO-Pro's, as endings of a suite's name: other words, other objects, swapped places, other tasks."""
PERTURBED = tuple(f"{name}_{kind}" for name in LONGEST if name != "libero_90" for kind in PERTURBATIONS)

SUITES = (*LONGEST, *PERTURBED)


def base_suite(name: str) -> str:
    """The suite of LIBERO that a suite is, or perturbs.

    Raises:
        ValueError: it is neither.
    """
    base = name.rsplit("_", 1)[0] if name in PERTURBED else name
    if base not in LONGEST:
        raise ValueError(f"suite {name!r}: allowed is one of {list(SUITES)}")
    return base
