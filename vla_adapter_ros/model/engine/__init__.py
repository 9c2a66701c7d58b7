"""Fast inference on single observations."""

from vla_adapter_ros.model.engine.engine import InferenceEngine

__all__ = ["InferenceEngine"]
