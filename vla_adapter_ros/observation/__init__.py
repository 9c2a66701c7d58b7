"""What every stream of a robot said at one time: live, from a bag, and for the policy alike."""

from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.frame import Frame

__all__ = ["Frame", "ObservationBuilder"]
