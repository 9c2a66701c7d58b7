"""Aligned frames, and LeRobot v3.0 data sets on disk.

`align` needs numpy only; `writer` and `reader` need PyAV and pyarrow and are
imported by name, so that a policy on a robot starts without them.
"""

from vla_adapter_ros.recording.align import FrameBuilder
from vla_adapter_ros.recording.frame import Frame

__all__ = ["Frame", "FrameBuilder"]
