"""From action chunks and teleoperation to limited motion. Numpy only; time is always an argument."""

from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.core import MotionCore, Tick
from vla_adapter_ros.control.motion import Trajectory

__all__ = ["Chunk", "MotionCore", "Tick", "Trajectory"]
