"""Renderers: they agree, they fall back, and they refuse what does not work."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation import render
from vla_adapter_ros.simulation.mjcf import build_model
from vla_adapter_ros.simulation.scene import sample_scene
from vla_adapter_ros.simulation.world import World

SIZES = {"third_view": (112, 112), "gripper": (112, 112)}
OPENGL = [name for name in ("egl", "osmesa") if render.opengl_works(name)]


@pytest.mark.skipif(not OPENGL, reason="neither EGL nor OSMesa works on this machine")
def test_ray_casting_and_opengl_draw_the_same_picture() -> None:
    cast, drawn = World(SIZES, "raycast"), World(SIZES, OPENGL[0])
    assert (cast.backend, drawn.backend) == ("raycast", OPENGL[0])
    for seed in range(3):
        for world in (cast, drawn):
            world.reset(sample_scene(seed))
        for camera in SIZES:
            difference = np.abs(cast.render(camera).astype(int) - drawn.render(camera))
            assert difference.mean() < 1.0  # of 255; measured 0.2
            assert (difference > 20).mean() < 0.01
    cast.close()
    drawn.close()


def test_both_views_show_every_cube_color() -> None:
    world = World(SIZES, "raycast")
    world.reset(sample_scene(3))
    image, pixels = world.render_with_things("third_view")
    assert image.shape == (112, 112, 3) and image.dtype == np.uint8
    assert set(pixels) == set(sample_scene(3).names)
    for color, mask in pixels.items():
        assert 30 < mask.sum() < 400
        red, green, blue = image[mask].mean(0)
        strongest = {
            "red": red > 1.5 * max(green, blue),
            "green": green > 1.5 * max(red, blue),
            "blue": blue > 1.5 * max(red, green),
            "yellow": min(red, green) > 1.5 * blue,
        }
        assert strongest[color]
    assert world.render("gripper").std() > 10


def test_absent_cubes_are_not_drawn() -> None:
    world = World({"third_view": (112, 112)}, "raycast")
    world.reset(sample_scene(0, ("red",)))
    image = world.render("third_view").astype(int)
    blue = image[..., 2] > 1.5 * np.maximum(image[..., 0], image[..., 1])
    assert not blue.any()


def test_images_need_not_be_square() -> None:
    world = World({"third_view": (96, 64)}, "raycast")
    world.reset(sample_scene(0))
    wide = world.render("third_view")
    assert wide.shape == (64, 96, 3)
    square = World({"third_view": (64, 64)}, "raycast")
    square.reset(sample_scene(0))
    assert np.array_equal(wide[:, 16:80], square.render("third_view"))


def test_only_ray_casting_knows_cube_pixels() -> None:
    world = World(SIZES, "auto")
    if world.backend == "raycast":
        pytest.skip("no OpenGL on this machine")
    world.reset(sample_scene(0))
    with pytest.raises(SimulationError, match="raycast"):
        world.render_with_things("third_view")


def test_the_environment_variable_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(render.ENVIRONMENT_VARIABLE, "raycast")
    assert render.choose_backend() == "raycast"
    monkeypatch.setenv(render.ENVIRONMENT_VARIABLE, "vulkan")
    with pytest.raises(SimulationError, match="vulkan"):
        render.choose_backend()


def test_auto_falls_back_to_ray_casting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(render.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(render, "opengl_works", lambda name: False)
    assert render.choose_backend("auto") == "raycast"
    with pytest.raises(SimulationError, match="does not work"):
        render.choose_backend("egl")


def test_missing_libraries_are_noticed_without_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render.ctypes.util, "find_library", lambda name: None)
    assert not render.opengl_works.__wrapped__("egl")


def test_a_driver_that_crashes_only_ends_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render.ctypes.util, "find_library", lambda name: "there")
    monkeypatch.setattr(render, "_PROBE", "import os; os.kill(os.getpid(), 11)  # {backend}")
    assert not render.opengl_works.__wrapped__("egl")


def test_a_process_bound_to_another_platform_still_draws() -> None:
    code = (
        "from vla_adapter_ros.simulation.world import World\n"
        "from vla_adapter_ros.simulation.scene import sample_scene\n"
        "world = World({'third_view': (32, 32)})\n"
        "world.reset(sample_scene(0))\n"
        "print(world.backend, world.render('third_view').mean() > 10)\n"
    )
    environment = {**os.environ, "PYOPENGL_PLATFORM": "glx", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop(render.ENVIRONMENT_VARIABLE, None)
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout.split() == ["raycast", "True"], run.stderr


@pytest.mark.parametrize("size", [(4, 64), (64, 5000)])
def test_odd_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(SimulationError, match="8 to 4096"):
        render.make_renderer(build_model(), *size)
