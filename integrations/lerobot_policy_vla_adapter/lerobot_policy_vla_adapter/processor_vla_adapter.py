"""Pipelines around the policy: batches and devices alone, as a checkpoint normalizes by itself."""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    RenameObservationsProcessorStep,
)
from lerobot.processor.factory import make_policy_processor_pipelines

from lerobot_policy_vla_adapter.configuration_vla_adapter import VlaAdapterConfig


def make_vla_adapter_pre_post_processors(config: VlaAdapterConfig, dataset_stats: Any = None) -> Any:
    """LeRobot's pipelines before and after the policy.

    Args:
        config: Says the device.
        dataset_stats: Not used: a checkpoint has its own.
    """
    return make_policy_processor_pipelines(
        input_steps=[
            RenameObservationsProcessorStep(rename_map={}),
            AddBatchDimensionProcessorStep(),
            DeviceProcessorStep(device=config.device),
        ],
        output_steps=[DeviceProcessorStep(device="cpu")],
    )
