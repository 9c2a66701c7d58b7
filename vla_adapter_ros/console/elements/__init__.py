"""The page's own elements, in JavaScript: pictures, curves and Stop do not wait for the rest of the page."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui


class LiveLink(ui.element, component="live_link.js"):
    """The page's line to the console.

    Args:
        path: Of the WebSocket.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._props["path"] = path


class StopButton(ui.element, component="stop_button.js"):
    """Stops the arm, for everybody who sees the page.

    Args:
        hint: What stands below it.
    """

    def __init__(self, hint: str) -> None:
        super().__init__()
        self._props["hint"] = hint


class Cameras(ui.element, component="cameras.js"):
    """Live pictures.

    Args:
        names: Of the cameras, in the order of the `LiveHub`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._props["names"] = list(names)


class Plots(ui.element, component="curves.js"):
    """What the policy wants against what the arm does.

    Args:
        names: Of the action dimensions.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._props["names"] = list(names)


class Replay(ui.element, component="replay.js"):
    """An episode's videos beside its curves.

    Args:
        episode: What the data set calls it.
        cameras: With a video.
    """

    def __init__(self, episode: int, cameras: Sequence[str]) -> None:
        super().__init__()
        self._props["episode"] = episode
        self._props["cameras"] = list(cameras)


class Figure(ui.element, component="figure.js"):
    """The robot as bones, and the way that its tool would go."""
