"""VLA-Adapter checkpoints in LeRobot's commands: policy `vla_adapter`, environment `vla_adapter_sim`."""

from lerobot_policy_vla_adapter.configuration_vla_adapter import VlaAdapterConfig
from lerobot_policy_vla_adapter.environment import SimulatedArmConfig

__all__ = ["SimulatedArmConfig", "VlaAdapterConfig"]
