"""A script that does LIBERO's tasks of picking and placing, in the benchmark's own seven-wide actions.

It runs beside the simulator and looks at its state: where things are, how wide they are, and which of them
the task's goal names. It knows goals of the kinds (On THING PLACE) and (In THING PLACE), one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

OPEN, CLOSED = -1.0, 1.0
ACTION_M, ACTION_RAD = 0.05, 0.5
"""What an action of 1 asks for: OSC_POSE's scale per step [m, rad]."""
_GAIN, _TURN_GAIN = 5.0, 2.0  # the controller counts from where the hand is, and gets a part of the way
_FITS_M = 0.070  # between the open fingers, whose stroke is 80 mm
_ABOVE_M = 0.12  # of what is grasped, or of where it is put
_NEAR_M, _ON_PLACE_M = 0.012, 0.02
_LET_GO_M = 0.025  # so far above its place
_CLOSE_STEPS, _OPEN_STEPS = 12, 8
_MOST_STEPS = 90  # of a motion: then the next begins all the same


class PickAndPlace:
    """One episode's script.

    Args:
        env: LIBERO's `BDDLBaseDomain`, after its reset.

    Raises:
        ValueError: a goal of another kind.
    """

    def __init__(self, env: Any) -> None:
        self._env, self._sim = env, env.sim
        goals = env.parsed_problem["goal_state"]
        for goal in goals:
            if goal[0] not in ("on", "in") or len(goal) != 3 or goal[1] not in env.objects_dict:
                raise ValueError(f"goal {goal}: allowed are (on THING PLACE) and (in THING PLACE)")
        self._goals = [(thing, place) for _, thing, place in goals]
        self._upright = self._turn().copy()
        self._wanted = self._upright
        self._motions: list[tuple[str, Any]] = []
        self._steps = 0
        self._begin()

    def action(self) -> np.ndarray:
        """What to do in the next step, float64 (7,): translation, rotation, gripper."""
        if not self._goals:
            return np.array([0, 0, 0, 0, 0, 0, OPEN])
        name, done = self._motions[0]
        target, gripper, near_m = getattr(self, f"_{name}")()
        error = target - self._hand()
        self._steps += 1
        if done(error, near_m, self._steps) or self._steps > _MOST_STEPS:
            self._motions.pop(0)
            self._steps = 0
            if not self._motions:
                self._goals.pop(0)
                self._begin()
        turn = _rotation_vector(self._wanted @ self._turn().T)
        move = np.clip(_GAIN * error / ACTION_M, -1.0, 1.0)
        return np.array([*move, *np.clip(_TURN_GAIN * turn / ACTION_RAD, -1.0, 1.0), gripper])

    def _begin(self) -> None:
        """Plan the grasp of the next goal's thing."""
        self._steps = 0
        if not self._goals:
            return
        thing, _ = self._goals[0]
        points = self._points(thing)
        low, high = points.min(0), points.max(0)
        yaw, offset = self._grasp(points, thing)
        self._wanted = _about_z(yaw) @ self._upright
        # From here on relative to the thing's body: it may be moved while the hand comes.
        center = (low + high)[:2] / 2 + offset
        depth = min(0.03, 0.6 * (high[2] - low[2])) if not offset.any() else 0.02
        height = max(high[2] - depth, low[2] + 0.012)
        self._from_body = np.array([*center, height]) - self._place_of(thing)
        self._bottom = self._place_of(thing)[2] - low[2]
        self._motions = [
            ("above", _arrived),
            ("down", _arrived),
            ("close", _after(_CLOSE_STEPS)),
            ("lift", _arrived),
            ("carry", _arrived),
            ("lower", _arrived),
            ("open", _after(_OPEN_STEPS)),
            ("leave", _arrived),
        ]

    def _grasp(self, points: np.ndarray, thing: str) -> tuple[float, np.ndarray]:
        """Yaw of the hand [rad], and where it closes beside the thing's middle (2,) [m]: a rim, if wide."""
        closing = self._closing()
        yaws = np.linspace(-np.pi / 2, np.pi / 2, 37)[:-1]
        widths = np.array([np.ptp(points[:, :2] @ (_about_z(yaw) @ closing)[:2]) for yaw in yaws])
        fits = widths < _FITS_M
        if fits.any():
            cost = np.where(fits, widths + 0.015 * np.abs(yaws), np.inf)
            return float(yaws[np.argmin(cost)]), np.zeros(2)
        along = closing[:2] / np.linalg.norm(closing[:2])
        half = np.ptp(points[:, :2] @ along) / 2
        others = [self._place_of(name)[:2] for name in self._env.objects_dict if name != thing]
        middle = (points.max(0) + points.min(0))[:2] / 2
        room = {
            side: min((float(np.linalg.norm(middle + side * half * along - o)) for o in others), default=1.0)
            for side in (1.0, -1.0)
        }
        side = max(room, key=lambda way: room[way])
        return 0.0, side * (half - 0.006) * along

    def _above(self) -> tuple[np.ndarray, float, float]:
        return self._on_thing() + np.array([0.0, 0.0, _ABOVE_M]), OPEN, 2 * _NEAR_M

    def _down(self) -> tuple[np.ndarray, float, float]:
        target, hand = self._on_thing(), self._hand()
        beside = np.linalg.norm((target - hand)[:2])
        return (target if beside < 0.02 else np.array([*target[:2], hand[2]])), OPEN, _NEAR_M

    def _close(self) -> tuple[np.ndarray, float, float]:
        return self._hand(), CLOSED, 0.0

    def _lift(self) -> tuple[np.ndarray, float, float]:
        return np.array([*self._hand()[:2], self._travel()]), CLOSED, 2 * _ON_PLACE_M

    def _carry(self) -> tuple[np.ndarray, float, float]:
        return np.array([*self._over_place()[:2], self._travel()]), CLOSED, _ON_PLACE_M

    def _lower(self) -> tuple[np.ndarray, float, float]:
        return self._over_place(), CLOSED, _NEAR_M

    def _open(self) -> tuple[np.ndarray, float, float]:
        return self._hand(), OPEN, 0.0

    def _leave(self) -> tuple[np.ndarray, float, float]:
        return np.array([*self._hand()[:2], self._travel()]), OPEN, 2 * _ON_PLACE_M

    def _on_thing(self) -> np.ndarray:
        return self._place_of(self._goals[0][0]) + self._from_body

    def _over_place(self) -> np.ndarray:
        """Where the hand lets go: the thing's middle is over the middle of its place."""
        thing, place = self._goals[0]
        held = self._hand() - self._place_of(thing)
        middle, top = self._surface(place)
        return np.array([*middle, top + self._bottom + _LET_GO_M]) + held

    def _travel(self) -> float:
        """Height at which the hand moves across [m]."""
        thing, place = self._goals[0]
        held = self._hand()[2] - (self._place_of(thing)[2] - self._bottom)
        tops = [self._points(n)[:, 2].max() for n in self._env.objects_dict if n != thing]
        return float(max([self._surface(place)[1] + 0.04, *tops]) + min(max(held, 0.05), 0.2) + 0.03)

    def _surface(self, place: str) -> tuple[np.ndarray, float]:
        """Middle (2,) and height of where a thing is put [m]."""
        env = self._env
        if place in env.object_sites_dict:
            site, parent = env.object_sites_dict[place], env.object_sites_dict[place].parent_name
            at = np.array(self._sim.data.get_site_xpos(place))
            inside = parent in env.objects_dict
            if inside:  # a basket: over its rim, it falls in
                return at[:2], float(self._points(parent)[:, 2].max()) - 0.03
            return at[:2], float(at[2] - np.asarray(site.size, float).ravel()[-1])
        points = self._points(place)
        return (points.max(0) + points.min(0))[:2] / 2, float(points[:, 2].min()) + 0.03

    def _place_of(self, name: str) -> np.ndarray:
        return np.array(self._sim.data.body_xpos[self._env.obj_body_id[name]])

    def _hand(self) -> np.ndarray:
        return np.array(self._sim.data.site_xpos[self._env.robots[0].eef_site_id])

    def _turn(self) -> np.ndarray:
        return np.array(self._sim.data.site_xmat[self._env.robots[0].eef_site_id]).reshape(3, 3)

    def _closing(self) -> np.ndarray:
        """Direction in which the fingers close, in the world (3,)."""
        left, right = (
            self._sim.data.body_xpos[self._sim.model.body_name2id(f"gripper0_{side}finger")]
            for side in ("left", "right")
        )
        return (left - right) / np.linalg.norm(left - right)

    def _points(self, name: str) -> np.ndarray:
        """Corners of what a thing collides with, in the world (N, 3)."""
        model, data = self._sim.model, self._sim.data
        bodies = _subtree(model, self._env.obj_body_id[name])
        geoms = [g for g in range(model.ngeom) if model.geom_bodyid[g] in bodies and model.geom_contype[g]]
        found = [
            _corners(model, g) @ np.reshape(data.geom_xmat[g], (3, 3)).T + data.geom_xpos[g] for g in geoms
        ]
        return np.concatenate(found)


def _arrived(error: np.ndarray, near_m: float, steps: int) -> bool:
    return float(np.linalg.norm(error)) < near_m


def _after(count: int) -> Any:
    return lambda error, near_m, steps: steps >= count


def _subtree(model: Any, body: int) -> set[int]:
    bodies = {body}
    for child in range(body + 1, model.nbody):
        if model.body_parentid[child] in bodies:
            bodies.add(child)
    return bodies


def _corners(model: Any, geom: int) -> np.ndarray:
    """Vertices of a mesh, else the corners of a box around the geom, in its own frame (N, 3)."""
    kind, size = int(model.geom_type[geom]), np.array(model.geom_size[geom])
    if kind == 7:
        mesh = model.geom_dataid[geom]
        first = model.mesh_vertadr[mesh]
        return np.array(model.mesh_vert[first : first + model.mesh_vertnum[mesh]])
    if kind == 2:
        size = np.full(3, size[0])
    elif kind in (3, 5):
        size = np.array([size[0], size[0], size[1] + (size[0] if kind == 3 else 0.0)])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    return signs * size


def _about_z(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _rotation_vector(turn: np.ndarray) -> np.ndarray:
    """Axis times angle of a rotation matrix (3,) [rad]; angles near pi are not needed here."""
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return np.zeros(3)
    return axis / sine * np.arctan2(sine, (np.trace(turn) - 1) / 2)
