"""A policy: images, instruction and proprioception in physical units to an action chunk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vla_adapter_ros.choices import LinearKind
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import CheckpointError, ObservationError
from vla_adapter_ros.model.checkpoint import Checkpoint, read_checkpoint
from vla_adapter_ros.model.checkpoint_files import COMPONENTS
from vla_adapter_ros.model.checkpoint_location import find_checkpoint
from vla_adapter_ros.model.checkpoint_writer import write_checkpoint
from vla_adapter_ros.model.committed_rows import told_rows
from vla_adapter_ros.model.compatibility import check_parts
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import RopeTables
from vla_adapter_ros.model.device import fastest_dtype
from vla_adapter_ros.model.engine import InferenceEngine
from vla_adapter_ros.model.engine.language_stage import EXPECTED_TOKENS
from vla_adapter_ros.model.network import VlaAdapter
from vla_adapter_ros.model.normalization import Statistics, finish_gripper, normalize, unnormalize
from vla_adapter_ros.model.preprocessing import Preprocessor
from vla_adapter_ros.model.tokenizer import Tokenizer

_MOVES = 1e-3  # range of positions in the data [rad or m] from which a joint counts as moving
_PARTS = ("network", "config", "tokenizer", "statistics", "contract", "kept_files")


class Observation(NamedTuple):
    """The engine's arguments, in its order."""

    images: Tensor
    """Resized and cropped, uint8 (images, size, size, 3)."""
    input_ids: Tensor
    """int64 (P,)."""
    proprio: Tensor
    """Normalized, with what is told of committed rows, float32 (state_width,)."""


class VlaAdapterPolicy:
    """A network with everything needed to feed it and to read its output.

    Without `statistics` it is a backbone (grounded, no trained head): `with_new_head` makes a
    policy of it, and `predict` refuses. `kept_files` are those of the checkpoint that `save_pretrained`
    writes again as they were.
    """

    def __init__(
        self,
        network: VlaAdapter,
        config: VlaAdapterConfig,
        tokenizer: Tokenizer,
        statistics: Statistics | None = None,
        contract: Contract | None = None,
        *,
        kept_files: dict[str, bytes] | None = None,
    ) -> None:
        check_parts(config, tokenizer, statistics, contract)
        self.network, self.config, self.tokenizer = network, config, tokenizer
        self.statistics, self.contract = statistics, contract
        self.preprocessor = Preprocessor(config.preprocessing)
        self.kept_files = dict(kept_files or {})
        self._engine: InferenceEngine | None = None
        self._compile = False
        self._graphs: bool | None = None  # None: the engine's own choice
        self._linear = LinearKind.PLAIN

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        platform: str | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = torch.float32,
        preprocessing: Mapping[str, Any] | None = None,
        statistics_name: str | None = None,
        attention: str | None = None,
    ) -> VlaAdapterPolicy:
        """Load a checkpoint of this package or an official one.

        Args:
            path: The directory, or `owner/name` or `owner/name@revision` on the Hugging Face hub.
            platform: For official checkpoints, and needed there: `libero`, `calvin`, `aloha` or
                `bridge`. It stands for what they do not store; checkpoints of this package store everything.
            device: Where the network runs.
            dtype: Type in which it runs, whatever it is stored in; None: the fastest sound one, see
                `device.fastest_dtype`.
            preprocessing: Changes to single settings, kept by `save_pretrained`: `center_crop`,
                `jpeg_round_trip`, `rotate_180`, `resize`, `gripper_binarize`, `gripper_invert`,
                `gripper_columns`; for official checkpoints also `num_images`.
            statistics_name: Which entry of the statistics to use, if there are several.
            attention: Attention implementation (`sdpa` or `eager`) in place of the stored one.

        Raises:
            CheckpointError: incomplete, damaged, another layout, or a platform missing, unknown or in vain.
            ModelConfigError: `preprocessing` or `attention` is not allowed.
            StatisticsError: the statistics are unusable.
        """
        stored = read_checkpoint(
            find_checkpoint(path),
            platform=platform,
            preprocessing=preprocessing,
            statistics_name=statistics_name,
            attention=attention,
        )
        if dtype is None:
            weights = sum(parameter.numel() for parameter in stored.network.parameters())
            dtype = fastest_dtype(torch.device(device), weights)
        network = stored.network.to(device=device, dtype=dtype).eval()
        return cls(
            network, stored.config, stored.tokenizer, stored.statistics, stored.contract,
            kept_files=stored.kept_files,
        )  # fmt: skip

    def save_pretrained(self, path: str | Path, *, dtype: torch.dtype = torch.bfloat16) -> None:
        """Write a checkpoint directory that `from_pretrained` reads; weights are stored as `dtype`.

        Raises:
            CheckpointError: the weights were replaced for inference, see `use_linear`.
        """
        if any(parameter.is_meta for parameter in self.network.parameters()):
            raise CheckpointError("the weights were replaced for inference: load the checkpoint anew")
        checkpoint = Checkpoint(
            self.network, self.config, self.tokenizer, self.statistics, self.contract, self.kept_files
        )
        write_checkpoint(checkpoint, path, dtype=dtype)

    def replace(self, **parts: Any) -> VlaAdapterPolicy:
        """This policy with other parts: `network`, `config`, `tokenizer`, `statistics` or `contract`."""
        own = {name: getattr(self, name) for name in _PARTS}
        return VlaAdapterPolicy(**{**own, **parts})

    def with_new_head(
        self,
        *,
        action_dim: int,
        proprio_dim: int,
        chunk: int,
        statistics: Statistics,
        contract: Contract | None = None,
    ) -> VlaAdapterPolicy:
        """A policy with this one's backbone (a copy) and a freshly initialized head.

        A new head's rotary tables are fp32 where they would follow the weights' type, see `HeadConfig`.
        Draws from torch's global generator; seed it for a repeatable head.
        """
        head = self.config.head
        if head.rope_tables == RopeTables.MATCH:
            head = dataclasses.replace(head, rope_tables=RopeTables.FP32)
        output = self.config.output
        if contract is not None:
            output = dataclasses.replace(output, gripper_columns=tuple(contract.gripper_places))
        config = dataclasses.replace(
            self.config, action_dim=action_dim, proprio_dim=proprio_dim, chunk=chunk, head=head, output=output
        )
        network = VlaAdapter(config)
        network.load_state_dict(self.backbone_state(), strict=False)
        network = network.to(device=self.network.device, dtype=self.network.dtype).eval()
        return VlaAdapterPolicy(
            network, config, self.tokenizer, statistics, contract, kept_files=self.kept_files
        )

    def backbone_state(self) -> dict[str, Tensor]:
        """Weights by name of all but the head and the projection of the proprioception."""
        state = self.network.state_dict()
        return {name: value for name, value in state.items() if name.split(".")[0] not in COMPONENTS}

    def predict(
        self,
        images: Sequence[np.ndarray],
        instruction: str,
        proprio: np.ndarray,
        committed: np.ndarray | None = None,
    ) -> np.ndarray:
        """Predict a chunk of actions.

        Args:
            images: One uint8 RGB image (H, W, 3) per camera, in the order of training.
            instruction: What to do, in words.
            proprio: Proprioception in the robot's units, (S,): of the chunk's first row.
            committed: Rows in the robot's units that the arm carries out between the images and the chunk,
                (D, A), at most `max_delay_rows`; None: none. Of use to a network with `committed_rows` alone.

        Returns:
            Actions in the robot's units, float64 (H, A). The grippers' columns are what the data set
            had, unless `config.output` says otherwise.

        Raises:
            ObservationError: an input does not fit.
            CheckpointError: this is a backbone without a trained head.
        """
        # A GPU resizes images of one size itself.
        fit = self.network.device.type == "cuda" and len({np.shape(image) for image in images}) == 1
        observation = self.prepare(images, instruction, proprio, committed, fit=not fit)
        actions = self.engine.predict(*observation, fit=fit)
        return self.to_robot_units(actions.numpy(), np.asarray(proprio))

    def query_features(self) -> np.ndarray:
        """States of the ActionQuery tokens behind the last layer at the newest `predict`, float32 (F,)."""
        states = self.engine.query_states.float().cpu().numpy()
        return states.reshape(-1).copy()  # the engine keeps its own

    @property
    def engine(self) -> InferenceEngine:
        """The inference engine on the network as it is now; made anew after training or moving it."""
        if self._engine is None or not self._engine.is_current():
            self._engine = InferenceEngine(
                self.network, graphs=self._graphs, compile_stages=self._compile, linear=self._linear
            )
        return self._engine

    def compile(self) -> None:
        """Let torch.compile fuse the engine's kernels; the next warm-up takes minutes."""
        self._compile = True
        self._engine = None

    def use_graphs(self, wanted: bool) -> None:
        """Let the engine record CUDA graphs, or not; by default it does on a GPU.

        Without them each kernel is launched by itself, which takes longer: the way out of a `GraphError`.
        """
        self._graphs, self._engine = wanted, None

    def use_linear(self, kind: LinearKind) -> None:
        """Choose how a CPU computes the linear layers, for good; a GPU has its own way.

        Ways other than `plain` replace the network's weights when the engine is made: the policy predicts,
        but can no longer be saved or trained, and its device is final.
        """
        if self.network.device.type == "cpu":
            self._linear, self._engine = kind, None

    def warm_up(self, longest_prompt: int = EXPECTED_TOKENS) -> None:
        """Predict on blank input, so that later predictions take no longer the first time."""
        longest = min(longest_prompt, self.config.max_prompt_tokens)
        self.engine.warm_up([*range(1, longest, 8), longest])
        if self.contract is not None and self.network.device.type == "cuda":  # where images are resized
            cameras = self.contract.cameras.values()
            images = [np.zeros((camera.height, camera.width, 3), np.uint8) for camera in cameras]
            self.predict(images, "warm up", np.zeros(self.config.proprio_dim))

    def is_warm_for(self, instruction: str) -> bool:
        """Whether the first prediction for an instruction takes no longer than later ones.

        Raises:
            ObservationError: the instruction is empty or too long.
        """
        return self.engine.is_ready(self.tokenize([instruction])[0].shape[1])

    def warm_up_for(self, instruction: str) -> None:
        """Record or compile what an instruction needs, if it is not there yet; see `is_warm_for`."""
        if not self.is_warm_for(instruction):
            self.engine.warm_up([self.tokenize([instruction])[0].shape[1]])

    def to_robot_units(self, actions: np.ndarray, proprio: np.ndarray) -> np.ndarray:
        """The network's output to what `predict` returns: robot's units, grippers' columns done.

        Args:
            actions: (..., H, A).
            proprio: Of the first row of each chunk, in the robot's units (..., S).
        """
        if self.config.relative_to:
            actions = actions + self.row_origin(proprio)[..., None, :]
        return finish_gripper(self.unnormalize_actions(actions), self.config.output)

    def row_origin(self, proprio: np.ndarray) -> np.ndarray:
        """What the network's rows count from, normalized as they are, float64 (..., A).

        Zeros where they are absolute: see `config.relative_to`; so are joints that hardly move in the data,
        which normalization would make huge.

        Args:
            proprio: Of a chunk's first row, in the robot's units (..., S).
        """
        origin = np.zeros((*proprio.shape[:-1], self.config.action_dim))
        if not self.config.relative_to:
            return origin
        places, field = np.array(self.config.relative_to), self._statistics().action
        relative = (places >= 0) & (field.q99 - field.q01 > _MOVES)
        origin[..., relative] = proprio[..., places[relative]]
        origin = normalize(origin, field, self.config.normalization.action, clip=None)
        return np.where(relative, origin, 0.0)

    def prepare(
        self,
        images: Sequence[np.ndarray],
        instruction: str,
        proprio: np.ndarray,
        committed: np.ndarray | None = None,
        *,
        fit: bool = True,
    ) -> Observation:
        """Check one observation and turn it into the engine's arguments, on the CPU.

        Without `fit` images of one size keep it: the engine is to resize them, see `Preprocessor.fit`.

        Raises:
            ObservationError: image count, shape or type; proprioception width or a value that is not
                finite; an empty or too long instruction.
        """
        if len(images) != self.config.num_images:
            raise ObservationError(f"{len(images)} images: needed are {self.config.num_images}")
        for i, image in enumerate(images):
            if not isinstance(image, np.ndarray) or image.ndim != 3:
                raise ObservationError(f"image {i} is {_shape(image)}: needed is a uint8 array (H, W, 3)")
        vector = np.asarray(proprio)
        if vector.shape != (self.config.proprio_dim,) or vector.dtype.kind not in "fiu":
            raise ObservationError(
                f"proprioception {_shape(vector)}: needed are {self.config.proprio_dim} numbers"
            )
        if not np.isfinite(vector).all():
            raise ObservationError(f"proprioception {vector.tolist()} holds a value that is not finite")
        input_ids, _ = self.tokenize([instruction])
        resize = self.preprocessor.resize_all if fit else self._keep_size
        resized = resize(images)
        state = self.network_state(vector)
        if self.config.committed_rows and committed is not None:
            state[len(vector) :] = self._told(committed)
        return Observation(torch.from_numpy(resized), input_ids[0], torch.from_numpy(state))

    def _keep_size(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return self.preprocessor.turn_and_encode(np.stack(images))

    def network_state(self, proprio: np.ndarray) -> np.ndarray:
        """Proprioception in the robot's units (..., S) to the network's input, float32 (..., state_width).

        No committed row is told.
        """
        state = np.zeros((*proprio.shape[:-1], self.config.state_width), np.float32)
        state[..., : self.config.proprio_dim] = self.normalize_proprio(proprio)
        return state

    def _told(self, committed: np.ndarray) -> np.ndarray:
        """What the network is told of committed rows (D, A), float32 (max_delay_rows * (A + 1),)."""
        most, width = self.config.max_delay_rows, self.config.action_dim
        given = np.asarray(committed, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != width or len(given) > most or not np.isfinite(given).all():
            raise ObservationError(
                f"committed rows {_shape(committed)}: needed are at most {most} of {width} finite numbers"
            )
        rows, known = np.zeros((most, width), np.float32), np.arange(most) < len(given)
        rows[: len(given)] = self.normalize_actions(given)[::-1]
        return told_rows(rows, known)

    def tokenize(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Instructions to left-padded ids and mask, int64 (B, P) each.

        Raises:
            ObservationError: an instruction is empty or too long.
        """
        input_ids, mask = self.tokenizer.batch(instructions)
        if input_ids.shape[1] > self.config.max_prompt_tokens:
            raise ObservationError(
                f"instruction of {input_ids.shape[1]} tokens: at most {self.config.max_prompt_tokens} fit"
            )
        return input_ids, mask

    def resize_images(self, images: np.ndarray) -> np.ndarray:
        """uint8 (..., H, W, 3) to the model's size, uint8 (..., size, size, 3); see `Preprocessor.resize`."""
        return self.preprocessor.resize(images)

    def pixel_values(self, images: np.ndarray | Tensor) -> Tensor:
        """Images of the model's size (uint8 or float in [0, 1]) to pixel values."""
        return self.preprocessor.pixels(images)

    def normalize_actions(self, actions: np.ndarray) -> np.ndarray:
        """Actions in the robot's units (..., A) to training targets, float64 (..., A)."""
        settings = self.config.normalization
        return normalize(
            actions, self._statistics().action, settings.action,
            clip=1.0 if settings.clip_actions else None,
        )  # fmt: skip

    def unnormalize_actions(self, actions: np.ndarray) -> np.ndarray:
        """The network's output (..., A) to actions in the robot's units, float64 (..., A)."""
        return unnormalize(actions, self._statistics().action, self.config.normalization.action)

    def normalize_proprio(self, proprio: np.ndarray) -> np.ndarray:
        """Proprioception in the robot's units (..., S) to the network's input, float64 (..., S)."""
        settings = self.config.normalization
        return normalize(
            proprio, self._statistics().proprio, settings.proprio,
            clip=settings.clip_proprio, clip_unmasked=True,
            zero_range_to_zero=settings.zero_range_to_zero,
        )  # fmt: skip

    def _statistics(self) -> Statistics:
        if self.statistics is None:
            raise CheckpointError(
                "this checkpoint is a backbone without a trained policy head: fine-tune it first"
            )
        return self.statistics


def _shape(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"of type {value.dtype} and shape {value.shape}"
    return f"a {type(value).__name__}"
