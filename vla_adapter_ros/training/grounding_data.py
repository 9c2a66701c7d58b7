"""Rendered scenes with labels for grounding pre-training.

The labels (which pixels show which thing, where things are) come from the
simulator. They are used for grounding pre-training only, never for policies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics
from vla_adapter_ros.simulation.scene import Scene
from vla_adapter_ros.simulation.world import World
from vla_adapter_ros.training.grounding_topics import Topic, things_of

MIN_VISIBLE_FRACTION = 0.001  # of an image's pixels that must show a thing, else it counts as unseen
MIN_PATCH_FRACTION = 0.06  # of a patch's pixels that must show a thing, else the patch shows none


@dataclass(frozen=True)
class GroundingScenes:
    """M rendered scenes; V views (cameras), K kinds of things, G x G patches per view.

    Attributes:
        images: uint8 (M, V, h, w, 3), at the model's size.
        patch_kinds: int64 (M, V, G * G): 0 for none, else 1 + kind.
        patch_offsets: float32 (M, V, G * G, 2): from the patch's center to the middle of what is
            seen of its thing, right and down, in patch sides.
        present: bool (M, K): there is one.
        seen: bool (M, V, K): enough of it is seen in the view.
        positions: float32 (M, K, 3): center in the base frame [m].
        from_tool: float32 (M, K, 3): center relative to the tool point, axes of the hand [m].
    """

    images: np.ndarray
    patch_kinds: np.ndarray
    patch_offsets: np.ndarray
    present: np.ndarray
    seen: np.ndarray
    positions: np.ndarray
    from_tool: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def render_scenes(
    topic: Topic,
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
        topic: What they show.
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
    sizes = {name: camera.size for name, camera in contract.cameras.items()}
    world = World(sizes, "raycast", table=topic.table)
    drawn = world if backend == "raycast" else World(sizes, backend, table=topic.table)
    kinematics = Kinematics(world.model)
    rows = []
    for i in range(count):
        scene = topic.scene(first_seed + i, kinematics)
        world.reset(scene)
        if drawn is not world:
            drawn.reset(scene)
        rows.append(_labeled(topic, world, drawn, kinematics, scene, resize, patches))
        if progress is not None:
            progress(i + 1)
    world.close()
    if drawn is not world:
        drawn.close()
    return GroundingScenes(*(np.stack(column) for column in zip(*rows, strict=True)))


def _labeled(
    topic: Topic,
    world: World,
    drawn: World,
    kinematics: Kinematics,
    scene: Scene,
    resize: Callable[[np.ndarray], np.ndarray],
    patches: int,
) -> tuple[np.ndarray, ...]:
    """One scene's row of each array of `GroundingScenes`."""
    images, kinds, offsets = [], [], []
    cameras = tuple(world.cameras)
    seen = np.zeros((len(cameras), len(topic.kinds)), bool)
    for view, camera in enumerate(cameras):
        image, pixels = world.render_with_things(camera)
        images.append(image if drawn is world else drawn.render(camera))
        for name, mask in pixels.items():
            seen[view, topic.kinds.index(name)] = mask.mean() >= MIN_VISIBLE_FRACTION
        patch_kinds, patch_offsets = patch_labels(pixels, topic.kinds, patches)
        kinds.append(patch_kinds)
        offsets.append(patch_offsets)
    present = np.zeros(len(topic.kinds), bool)
    positions = np.zeros((len(topic.kinds), 3), np.float32)
    from_tool = np.zeros_like(positions)
    tool, frame = kinematics.forward(np.array(scene.joints))
    for k, thing in things_of(topic, scene):
        present[k] = True
        positions[k] = thing.position
        from_tool[k] = frame.T @ (np.asarray(thing.position) - tool)
    return (
        resize(np.stack(images)), np.stack(kinds), np.stack(offsets), present, seen, positions, from_tool,
    )  # fmt: skip


def patch_labels(
    pixels: dict[str, np.ndarray], kinds: tuple[str, ...], patches: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which thing each patch of an image shows, and where its middle is from there.

    Args:
        pixels: By name, which pixels show it: bool (H, W).
        kinds: All names.
        patches: Patches per side G; H and W are multiples of it.

    Returns:
        int64 (G * G,): 0 for none, else 1 + kind; float32 (G * G, 2): offset right and down from
        the patch's center to the mean of the thing's pixels, in patch sides (0 where none).
    """
    height, width = next(iter(pixels.values())).shape
    side = np.array([width, height]) / patches
    best = np.full((patches, patches), MIN_PATCH_FRACTION)
    shown = np.zeros((patches, patches), np.int64)
    offsets = np.zeros((patches, patches, 2), np.float32)
    centers = np.stack(np.meshgrid(np.arange(patches), np.arange(patches)), -1) + 0.5
    for name, mask in pixels.items():
        if not mask.any():
            continue
        down, right = np.nonzero(mask)
        middle = np.array([right.mean() + 0.5, down.mean() + 0.5]) / side
        fraction = mask.reshape(patches, height // patches, patches, width // patches).mean((1, 3))
        wins = fraction > best
        best = np.where(wins, fraction, best)
        shown[wins] = 1 + kinds.index(name)
        offsets[wins] = (middle - centers)[wins]
    return shown.reshape(-1), offsets.reshape(-1, 2)
