"""The files of a demo: a video of both cameras, and a plot of the joints over the chunks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from matplotlib.figure import Figure

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.nodes.conversions import chunk_of, seconds
from vla_adapter_ros.observation.images import decode_image

PANEL = 448  # pixels per camera in the video
CAPTION = 48


class DemoVideo:
    """Writes `demo.mp4` from the messages of a demo while it runs, and `demo.png` at its end.

    Args:
        contract: Cameras (in order, side by side), rate and joints.
        output: Folder, which must exist.
    """

    def __init__(self, contract: Contract, output: Path) -> None:
        self._contract, self._output = contract, output
        self._lock = threading.Lock()
        self._text = ""
        self._images: dict[float, dict[str, np.ndarray]] = {}
        self._received = dict.fromkeys(contract.cameras, 0)
        self._first_image: float | None = None
        self._last_image = 0.0
        self._joints: list[tuple[float, list[float]]] = []
        self._chunks: list[tuple[float, np.ndarray]] = []
        self._container = av.open(str(output / "demo.mp4"), "w")
        self._stream = self._container.add_stream("h264", rate=round(contract.rate_hz))
        self._stream.width = PANEL * len(contract.cameras)
        self._stream.height = PANEL + CAPTION
        self._stream.pix_fmt = "yuv420p"

    def __enter__(self) -> DemoVideo:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._text = ""
            self._container.mux(self._stream.encode())
            self._container.close()
        self._plot()

    def start_episode(self, text: str) -> None:
        """Write images to the video from now on, under this instruction; the plot shows the last episode."""
        with self._lock:
            self._text = text
            self._joints, self._chunks = [], []

    def stop_episode(self) -> None:
        """Write no more images to the video."""
        with self._lock:
            self._text = ""

    def counts(self) -> dict[str, Any]:
        """Images received per camera, and how many were expected from the time of the first to the last."""
        span = self._last_image - (self._first_image or 0.0)
        expected = round(span * self._contract.rate_hz) + 1 if self._first_image is not None else 0
        return {"images_expected": expected, "images_received": self._received}

    def add_message(self, stream: str, message: Any) -> None:
        """Add a message of the graph: a camera's image, `joints` or `chunk`."""
        if stream in self._received:
            self._add_image(stream, message)
        elif stream == "joints" and self._text:
            positions = dict(zip(message.name, message.position, strict=True))
            row = [positions[joint] for joint in self._contract.arm_joints]
            self._joints.append((seconds(message.header.stamp), row))
        elif stream == "chunk" and self._text and message.num_rows:
            chunk = chunk_of(message)
            self._chunks.append((chunk.stamp, chunk.rows))

    def _add_image(self, camera: str, message: Any) -> None:
        stamp = seconds(message.header.stamp)
        self._received[camera] += 1
        if camera == self._contract.reference_camera:
            self._first_image = stamp if self._first_image is None else self._first_image
            self._last_image = stamp
        if not self._text:
            self._images.clear()
            return
        views = self._images.setdefault(stamp, {})
        views[camera] = decode_image(message)
        if len(views) == len(self._received):
            with self._lock:
                if self._text:
                    self._write_image(views)
            self._images = {s: v for s, v in self._images.items() if s > stamp}

    def _write_image(self, views: dict[str, np.ndarray]) -> None:
        picture = np.zeros((self._stream.height, self._stream.width, 3), np.uint8)
        for i, name in enumerate(self._contract.cameras):
            panel = cv2.resize(views[name], (PANEL, PANEL), interpolation=cv2.INTER_CUBIC)
            picture[:PANEL, i * PANEL : (i + 1) * PANEL] = panel
        cv2.putText(
            picture,
            self._text,
            (14, PANEL + 32),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.8,
            (255, 255, 255),
            2,
            cv2.LINE_AA,
        )
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))

    def _plot(self) -> None:
        """Measured joints over the rows of every chunk of the last episode."""
        if not self._joints or not self._chunks:
            return
        names = self._contract.arm_joints
        start = self._joints[0][0]
        times = np.array([t for t, _ in self._joints]) - start
        measured = np.array([row for _, row in self._joints])
        figure = Figure(figsize=(9, 1.7 * len(names)))
        axes = figure.subplots(len(names), 1, sharex=True)
        for i, (axis, name) in enumerate(zip(axes, names, strict=True)):
            column = self._contract.action_joints.index(name)
            for stamp, rows in self._chunks:
                row_times = stamp - start + np.arange(len(rows)) / self._contract.rate_hz
                axis.plot(
                    row_times,
                    rows[:, column],
                    ".-",
                    color="tab:orange",
                    alpha=0.45,
                    linewidth=0.8,
                    markersize=3,
                )
            axis.plot(times, measured[:, i], color="tab:blue", linewidth=1.5)
            axis.set_ylabel(f"{name}\n[rad]", fontsize=8)
        axes[0].set_title("measured joints (blue) over the rows of the action chunks (orange)")
        axes[-1].set_xlabel("simulated time [s]")
        figure.tight_layout()
        figure.savefig(self._output / "demo.png", dpi=110)
