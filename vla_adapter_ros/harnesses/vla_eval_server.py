"""A model server for `vla-eval`: its benchmarks ask a checkpoint of ours for actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from vla_eval.model_servers.base import SessionContext
from vla_eval.model_servers.predict import PredictModelServer
from vla_eval.specs import (
    GRIPPER_CLOSE_POS,
    IMAGE_RGB,
    LANGUAGE,
    POSITION_DELTA,
    RAW,
    ROTATION_AA,
    STATE_EEF_POS_AA_GRIP,
    DimSpec,
)

from vla_adapter_ros.choices import PlatformName
from vla_adapter_ros.errors import ObservationError, ParameterError
from vla_adapter_ros.harnesses.observations import images_in_order
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_location import find_checkpoint
from vla_adapter_ros.model.device import resolve_device
from vla_adapter_ros.model.published import as_evaluated, platform_of, rows_to_execute

_LIBERO_CAMERAS = ("agentview", "wrist")


class VlaAdapterModelServer(PredictModelServer):  # type: ignore[misc]
    """Answers each observation with one row of a chunk; a new chunk is predicted when its rows are used up.

    Args:
        checkpoint: Directory, hub id or shipped name.
        platform: Of an official checkpoint; empty: it is one of ours.
        device: See `resolve_device`.
        cameras: The benchmark's names of the images, in the order of training; empty: see
            `images_in_order`.
        rows: Rows that are executed of each chunk; 0: see `rows_to_execute`.
        settings: Further ones of vla-eval's `PredictModelServer`.

    Raises:
        CheckpointError, ParameterError: the checkpoint or the device cannot be had, or `rows` is not allowed.
    """

    def __init__(
        self,
        checkpoint: str,
        platform: str = "",
        device: str = "auto",
        cameras: Sequence[str] = (),
        rows: int = 0,
        **settings: Any,
    ) -> None:
        policy = VlaAdapterPolicy.from_pretrained(
            find_checkpoint(checkpoint), platform=platform or None, device=resolve_device(device), dtype=None
        )
        if not 0 <= rows <= policy.config.chunk:
            raise ParameterError(f"rows = {rows}: allowed is 1 to {policy.config.chunk}, or 0")
        super().__init__(chunk_size=rows or rows_to_execute(policy), **settings)
        self._policy, self._cameras = as_evaluated(policy), tuple(cameras)
        self._policy.warm_up()

    def predict(self, obs: dict[str, Any], ctx: SessionContext) -> dict[str, np.ndarray]:
        """A chunk, float64 (H, A).

        Raises:
            ObservationError: an image, the state or the instruction is missing, or does not fit.
        """
        images = images_in_order(self._policy, obs.get("images") or {}, self._cameras)
        state = obs.get("states", obs.get("state"))
        if state is None:
            raise ObservationError("no state was sent: needed is `states` or `state`")
        text = str(obs.get("task_description", ""))
        return {"actions": self._policy.predict(images, text, np.asarray(state, dtype=np.float64))}

    def get_observation_params(self) -> dict[str, Any]:
        """What vla-eval sets of the benchmark: LIBERO's as in the published evaluation."""
        if platform_of(self._policy) is None:
            return {}
        params: dict[str, Any] = {"send_state": True, "send_wrist_image": self._policy.config.num_images > 1}
        if platform_of(self._policy) is PlatformName.LIBERO:
            params |= {"env_seed": 0, "quat_no_antipodal": True}
        return params

    def get_action_spec(self) -> dict[str, DimSpec]:
        """LIBERO's seven columns, or whatever the checkpoint was trained on."""
        if platform_of(self._policy) is PlatformName.LIBERO:
            return {"position": POSITION_DELTA, "rotation": ROTATION_AA, "gripper": GRIPPER_CLOSE_POS}
        return {"actions": RAW}

    def get_observation_spec(self) -> dict[str, DimSpec]:
        """The cameras that are looked at, the state and the instruction."""
        libero = platform_of(self._policy) is PlatformName.LIBERO
        contract = self._policy.contract
        names = self._cameras or (_LIBERO_CAMERAS if libero else contract.camera_names if contract else ())
        state = STATE_EEF_POS_AA_GRIP if libero else RAW
        return {**dict.fromkeys(names, IMAGE_RGB), "state": state, "language": LANGUAGE}
