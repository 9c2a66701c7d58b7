"""Camera images of a MuJoCo world, with OpenGL where it is there and by casting rays where it is not.

Both ways draw the same picture: one directional light, ambient light, no
shadow, no gloss, one sample per pixel. So a policy trained on one works on
the other. The choice is `auto` (EGL, then OSMesa, then rays) or comes from the
environment variable `VLA_ADAPTER_RENDERER`.
"""

from __future__ import annotations

import ctypes.util
import functools
import importlib
import os
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import mujoco
import numpy as np

from vla_adapter_ros.choices import RendererName
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.meshes import DRAWN_GROUP
from vla_adapter_ros.simulation.mjcf import AMBIENT, BACKGROUND, DIFFUSE, LIGHT_DIRECTION

ENVIRONMENT_VARIABLE = "VLA_ADAPTER_RENDERER"
_MUJOCO_MAJOR = int(mujoco.__version__.split(".")[0])
_LIBRARIES = {"egl": ("EGL", "OpenGL"), "osmesa": ("OSMesa",)}
# Drawn in a process of its own: a broken driver may end the process, and PyOpenGL keeps the
# first platform that it was asked for, so only a platform that works may be tried in ours.
_PROBE = """
import mujoco
from mujoco.{backend} import GLContext
context = GLContext(8, 8)
context.make_current()
model = mujoco.MjModel.from_xml_string('<mujoco/>')
mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
print('works', flush=True)
"""


class Renderer(Protocol):
    """Draws one camera of one size."""

    backend: str

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """The camera's image of the state in `data`: uint8 (H, W, 3), RGB."""

    def close(self) -> None:
        """Free what the renderer holds; it cannot draw afterwards."""


def choose_backend(backend: str = "auto") -> str:
    """The renderer that will be used: egl, osmesa or raycast.

    Args:
        backend: A word of `RendererName`. `auto` asks the environment variable
            `VLA_ADAPTER_RENDERER` first, then what works on this machine.

    Raises:
        SimulationError: an unknown name, or a named OpenGL renderer that does not work here.
    """
    if backend == "auto":
        backend = os.environ.get(ENVIRONMENT_VARIABLE, "auto") or "auto"
    if backend not in RendererName.words():
        raise SimulationError(f"renderer {backend!r}: allowed are {', '.join(RendererName.words())}")
    if backend == "auto":
        return next((name for name in _LIBRARIES if opengl_works(name)), "raycast")
    if backend != "raycast" and not opengl_works(backend):
        raise SimulationError(
            f"renderer {backend!r} does not work on this machine; allowed is 'raycast', which needs no "
            "OpenGL, or install libegl1 libopengl0 libgl1-mesa-dri (egl) or libosmesa6 (osmesa)"
        )
    return backend


@functools.lru_cache(maxsize=4)
def opengl_works(backend: str) -> bool:
    """Whether `backend` (egl or osmesa) can draw here; found out once per process, in a child process."""
    if not all(ctypes.util.find_library(library) for library in _LIBRARIES[backend]):
        return False
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    environment["LP_NUM_THREADS"] = "1"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE.format(backend=backend)],
            env=environment, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"works" in probe.stdout


def make_renderer(model: mujoco.MjModel, width: int, height: int, backend: str = "auto") -> Renderer:
    """A renderer for images of one size.

    Args:
        model: The model to draw; colors may change later, geoms may not.
        width: Pixels per row, 8 to 4096.
        height: Rows, 8 to 4096.
        backend: A word of `RendererName`, see `choose_backend`.

    Raises:
        SimulationError: a size or backend that is not allowed or does not work here.
    """
    if not (8 <= width <= 4096 and 8 <= height <= 4096):
        raise SimulationError(f"image size {width} x {height}: allowed is 8 to 4096 pixels each")
    chosen = choose_backend(backend)
    if chosen == "raycast":
        return RayCastRenderer(model, width, height)
    try:
        return OpenGLRenderer(model, width, height, chosen)
    except Exception as error:
        # Works in a process of its own but not in ours: PyOpenGL is bound to another platform here.
        if backend == "auto" and os.environ.get(ENVIRONMENT_VARIABLE, "auto") in ("", "auto"):
            return RayCastRenderer(model, width, height)
        raise SimulationError(f"renderer {chosen!r} cannot start in this process: {error}") from error


class OpenGLRenderer:
    """MuJoCo's OpenGL renderer on a headless context. Use one instance from one thread at a time."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int, backend: str) -> None:
        self.backend = backend
        os.environ.setdefault("LP_NUM_THREADS", "1")  # more threads slow small images down
        self._model = model
        self._context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[DRAWN_GROUP] = 1
        self._options.sitegroup[:] = 0
        self._scene = mujoco.MjvScene(model, maxgeom=200)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_HAZE] = 0
        self._view = mujoco.MjrRect(0, 0, width, height)
        self._upside_down = np.empty((height, width, 3), np.uint8)
        with _current(self._context):
            self._draw = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
            mujoco.mjr_resizeOffscreen(width, height, self._draw)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._draw)

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """See `Renderer.render`."""
        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        view.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, data, self._options, None, view, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        with _current(self._context):
            mujoco.mjr_render(self._view, self._scene, self._draw)
            mujoco.mjr_readPixels(self._upside_down, None, self._view, self._draw)
        return np.ascontiguousarray(self._upside_down[::-1])

    def close(self) -> None:
        """See `Renderer.close`."""
        with _current(self._context):
            self._draw.free()
        self._context.free()


def _current(context: Any) -> AbstractContextManager[Any]:
    """The OpenGL context made current; MuJoCo 3, the newest for Python 3.10, has no `as_current`."""
    if hasattr(context, "as_current"):
        return context.as_current()
    context.make_current()
    return nullcontext()


class RayCastRenderer:
    """Draws with MuJoCo's ray casting alone: no OpenGL, no display, no library but MuJoCo."""

    backend = "raycast"

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        self._model = model
        self._shape = (height, width, 3)
        self._count = width * height
        self._group = np.zeros(6, np.uint8)
        self._group[DRAWN_GROUP] = 1
        self._geoms = np.full(self._count, -1, np.int32)
        self._distances = np.zeros(self._count)
        self._normals = np.zeros(self._count * 3)
        self._to_light = -np.asarray(LIGHT_DIRECTION) / np.linalg.norm(LIGHT_DIRECTION)
        # Pixel centers on an image plane one unit ahead, scaled by tan(fovy / 2) per camera.
        across = (np.arange(width) + 0.5 - width / 2) / (height / 2)
        up = (height / 2 - np.arange(height) - 0.5) / (height / 2)
        self._plane = np.stack(np.broadcast_arrays(across[None, :], up[:, None]), -1).reshape(-1, 2)

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """See `Renderer.render`."""
        return self.render_with_geoms(data, camera)[0]

    def render_with_geoms(self, data: mujoco.MjData, camera: str) -> tuple[np.ndarray, np.ndarray]:
        """The image, and which geom each pixel shows: int32 (H, W), -1 for none."""
        index = self._model.camera(camera).id
        half = np.tan(np.radians(self._model.cam_fovy[index]) / 2)
        frame = data.cam_xmat[index].reshape(3, 3)
        rays = self._plane @ (half * frame[:, :2].T) - frame[:, 2]
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        self._cast(data, data.cam_xpos[index], rays)
        normals = self._normals.reshape(-1, 3)
        brightness = AMBIENT + DIFFUSE * np.maximum(normals @ self._to_light, 0.0)
        colors = np.vstack([self._model.geom_rgba[:, :3], BACKGROUND]) * 255.0  # row -1: nothing hit
        brightness[self._geoms < 0] = 1.0
        image = colors[self._geoms] * brightness[:, None]
        pixels = (np.minimum(image, 255.0) + 0.5).astype(np.uint8).reshape(self._shape)
        return pixels, self._geoms.reshape(self._shape[:2]).copy()

    def close(self) -> None:
        """See `Renderer.close`."""

    def _cast(self, data: mujoco.MjData, origin: np.ndarray, rays: np.ndarray) -> None:
        """What every ray (N, 3) hits: geoms and normals; `mj_multiRay` of MuJoCo 3 misses what is near."""
        if _MUJOCO_MAJOR >= 4:
            mujoco.mj_multiRay(
                self._model, data, origin, rays.reshape(-1), self._group, 1, -1,
                self._geoms, self._distances, self._normals, self._count, mujoco.mjMAXVAL,
            )  # fmt: skip
            return
        normals = self._normals.reshape(-1, 3)
        for index, ray in enumerate(rays):  # exact, but about 6 microseconds per pixel
            geom = self._geoms[index : index + 1]
            mujoco.mj_ray(self._model, data, origin, ray, self._group, 1, -1, geom, normals[index])
