"""Rendered scenes with labels for grounding pre-training.

The labels (which pixels show which cube, where cubes are) come from the
simulator. They are used for grounding pre-training only, never for policies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import SimulationError, TrainingError
from vla_adapter_ros.simulation.cube_colors import COLORS
from vla_adapter_ros.simulation.mujoco_kinematics import DOWN, Kinematics
from vla_adapter_ros.simulation.robot_models import FR3
from vla_adapter_ros.simulation.scene import Scene, sample_cubes
from vla_adapter_ros.simulation.things import Thing
from vla_adapter_ros.simulation.world import World

COLOR_NAMES = tuple(COLORS)
_REST_HEIGHT_M = FR3.area.rest_height
_FINGER_OPEN_M = FR3.grippers[0].open_position
MIN_VISIBLE_FRACTION = 0.001  # of an image's pixels that must show a cube, else it counts as unseen
MIN_PATCH_FRACTION = 0.06  # of a patch's pixels that must show a cube, else the patch shows none
_HELD, _NEAR = 0.25, 0.4  # fraction of scenes with a cube in the hand, and with the hand at a cube
_LOW_M = 0.07  # below this the fingers reach between cubes


@dataclass(frozen=True)
class GroundingScenes:
    """M rendered scenes; V views (cameras), K colors, G x G patches per view.

    Attributes:
        images: uint8 (M, V, h, w, 3), at the model's size.
        patch_colors: int64 (M, V, G * G): 0 for none, else 1 + color.
        patch_offsets: float32 (M, V, G * G, 2): from the patch's center to the middle of what is
            seen of its cube, right and down, in patch sides.
        present: bool (M, K): the color lies on the table or in the hand.
        seen: bool (M, V, K): enough of it is seen in the view.
        positions: float32 (M, K, 3): center in the base frame [m].
        from_tool: float32 (M, K, 3): center relative to the tool point, axes of the hand [m].
    """

    images: np.ndarray
    patch_colors: np.ndarray
    patch_offsets: np.ndarray
    present: np.ndarray
    seen: np.ndarray
    positions: np.ndarray
    from_tool: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def sample_grounding_scene(seed: int, kinematics: Kinematics) -> Scene:
    """A scene as it can occur while a cube is picked up: any arm pose, a cube perhaps in the hand.

    Args:
        seed: The same seed gives the same scene.
        kinematics: Of the simulated arm.
    """
    rng = np.random.default_rng([seed, 1])  # apart from the seeds of the task's own scenes
    while True:
        cubes, tool, finger = _draw_cubes_and_hand(rng)
        rotation = _about(rng.normal(0.0, 0.03, 3)) @ DOWN
        try:
            joints = kinematics.inverse(tool, rotation)
        except SimulationError:
            continue  # a tilted hand low and close to the base is out of reach; one in 600
        order = rng.permutation(len(cubes))
        shade = float(rng.uniform(0.9, 1.1))
        return Scene(seed, tuple(cubes[i] for i in order), tuple(joints.tolist()), finger, shade)


def _draw_cubes_and_hand(rng: np.random.Generator) -> tuple[list[Thing], np.ndarray, float]:
    """Cubes, tool point (3,) [m] and finger position [m]."""
    cubes = list(sample_cubes(rng))
    draw = rng.random()
    finger = float(rng.choice([_FINGER_OPEN_M, _FINGER_OPEN_M, 0.0])) * float(rng.uniform(0.9, 1.0))
    tool = np.array([rng.uniform(0.32, 0.66), rng.uniform(-0.25, 0.25), rng.uniform(0.1, 0.32)])
    if draw < _HELD:
        held = cubes[0]
        tool = np.array([*tool[:2], _REST_HEIGHT_M + rng.uniform(0.0, 0.2) * (rng.random() < 0.8)])
        center = tool + rng.normal(0.0, 0.004, 3)
        center[2] = max(center[2], _REST_HEIGHT_M)
        cubes[0] = replace(held, position=tuple(center.tolist()), yaw=float(rng.normal(0.0, 0.05)))
        finger = FR3.area.cube_side / 2
        cubes = [cubes[0], *(cube for cube in cubes[1:] if not _collides(tool, cube))]
    elif draw < _HELD + _NEAR:
        near = np.asarray(cubes[0].position)
        height = rng.uniform(_REST_HEIGHT_M, 0.16)
        tool = np.array([*(near[:2] + rng.normal(0.0, 0.1 * height + 0.003, 2)), height])
        if any(_collides(tool, cube) for cube in cubes[1:]):
            tool[2] = rng.uniform(0.08, 0.16)
        finger = _FINGER_OPEN_M
    return cubes, tool, finger


def render_scenes(
    contract: Contract,
    resize: Callable[[np.ndarray], np.ndarray],
    patches: int,
    count: int,
    *,
    first_seed: int = 0,
    backend: str = "raycast",
    progress: Callable[[int], None] | None = None,
) -> GroundingScenes:
    """Render `count` scenes with their labels.

    Args:
        contract: Cameras, their sizes and order.
        resize: Brings uint8 (V, H, W, 3) to the model's size.
        patches: Patches per side of an image, G.
        count: Number of scenes M.
        first_seed: Seed of the first scene; the others follow.
        backend: Renderer of the images; labels always come from ray casting.
        progress: Called with the number of scenes done.

    Raises:
        TrainingError: `count` is not positive.
    """
    if count < 1:
        raise TrainingError(f"{count} grounding scenes: allowed is 1 or more")
    sizes = {name: (camera.width, camera.height) for name, camera in contract.cameras.items()}
    world = World(sizes, "raycast")
    drawn = world if backend == "raycast" else World(sizes, backend)
    kinematics = Kinematics(world.model)
    rows = []
    for i in range(count):
        scene = sample_grounding_scene(first_seed + i, kinematics)
        world.reset(scene)
        if drawn is not world:
            drawn.reset(scene)
        rows.append(_labeled(world, drawn, kinematics, scene, resize, patches))
        if progress is not None:
            progress(i + 1)
    world.close()
    if drawn is not world:
        drawn.close()
    return GroundingScenes(*(np.stack(column) for column in zip(*rows, strict=True)))


def _labeled(
    world: World,
    drawn: World,
    kinematics: Kinematics,
    scene: Scene,
    resize: Callable[[np.ndarray], np.ndarray],
    patches: int,
) -> tuple[np.ndarray, ...]:
    """One scene's row of each array of `GroundingScenes`."""
    images, colors, offsets = [], [], []
    cameras = tuple(world.cameras)
    seen = np.zeros((len(cameras), len(COLOR_NAMES)), bool)
    for view, camera in enumerate(cameras):
        image, pixels = world.render_with_things(camera)
        images.append(image if drawn is world else drawn.render(camera))
        for color, mask in pixels.items():
            seen[view, COLOR_NAMES.index(color)] = mask.mean() >= MIN_VISIBLE_FRACTION
        patch_colors, patch_offsets = patch_labels(pixels, patches)
        colors.append(patch_colors)
        offsets.append(patch_offsets)
    present = np.zeros(len(COLOR_NAMES), bool)
    positions = np.zeros((len(COLOR_NAMES), 3), np.float32)
    from_tool = np.zeros_like(positions)
    tool, frame = kinematics.forward(np.array(scene.joints))
    for cube in scene.things:
        k = COLOR_NAMES.index(cube.name)
        present[k] = True
        positions[k] = cube.position
        from_tool[k] = frame.T @ (np.asarray(cube.position) - tool)
    return (
        resize(np.stack(images)), np.stack(colors), np.stack(offsets), present, seen, positions, from_tool,
    )  # fmt: skip


def patch_labels(pixels: dict[str, np.ndarray], patches: int) -> tuple[np.ndarray, np.ndarray]:
    """Which cube each patch of an image shows, and where that cube's middle is from there.

    Args:
        pixels: Per color, which pixels show it: bool (H, W).
        patches: Patches per side G; H and W are multiples of it.

    Returns:
        int64 (G * G,): 0 for none, else 1 + color; float32 (G * G, 2): offset right and down from
        the patch's center to the mean of the cube's pixels, in patch sides (0 where none).
    """
    height, width = next(iter(pixels.values())).shape
    side = np.array([width, height]) / patches
    best = np.full((patches, patches), MIN_PATCH_FRACTION)
    colors = np.zeros((patches, patches), np.int64)
    offsets = np.zeros((patches, patches, 2), np.float32)
    centers = np.stack(np.meshgrid(np.arange(patches), np.arange(patches)), -1) + 0.5
    for color, mask in pixels.items():
        if not mask.any():
            continue
        down, right = np.nonzero(mask)
        middle = np.array([right.mean() + 0.5, down.mean() + 0.5]) / side
        fraction = mask.reshape(patches, height // patches, patches, width // patches).mean((1, 3))
        wins = fraction > best
        best = np.where(wins, fraction, best)
        colors[wins] = 1 + COLOR_NAMES.index(color)
        offsets[wins] = (middle - centers)[wins]
    return colors.reshape(-1), offsets.reshape(-1, 2)


def _collides(tool: np.ndarray, cube: Thing) -> bool:
    """Whether the hand at `tool` would stand in a cube that it does not hold."""
    distance = np.abs(np.asarray(cube.position)[:2] - tool[:2])
    return bool(tool[2] < _LOW_M and distance[0] < 0.045 and distance[1] < 0.09)


def _about(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a rotation vector [rad]; Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
