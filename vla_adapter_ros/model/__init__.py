"""VLA-Adapter in torch: network, preprocessing, normalization, checkpoints, policy."""

from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_presets import preset
from vla_adapter_ros.model.config_reader import config_from_dict
from vla_adapter_ros.model.engine import InferenceEngine
from vla_adapter_ros.model.network import Conditions, VlaAdapter
from vla_adapter_ros.model.normalization import FieldStatistics, Statistics, read_statistics
from vla_adapter_ros.model.policy import Observation, VlaAdapterPolicy
from vla_adapter_ros.model.tokenizer import TINY_WORDS, Tokenizer

__all__ = [
    "TINY_WORDS",
    "Conditions",
    "FieldStatistics",
    "InferenceEngine",
    "Observation",
    "Statistics",
    "Tokenizer",
    "VlaAdapter",
    "VlaAdapterConfig",
    "VlaAdapterPolicy",
    "config_from_dict",
    "preset",
    "read_statistics",
]
