"""The inference engine: one observation at a time, as fast as the hardware lets it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.engine.graphs import Recorder, on_device
from vla_adapter_ros.model.engine.head_stage import HeadStage
from vla_adapter_ros.model.engine.language_stage import LanguageStage, Prompt, build_prompt
from vla_adapter_ros.model.engine.vision_stage import VisionStage
from vla_adapter_ros.model.network import VlaAdapter
from vla_adapter_ros.model.preprocessing import Preprocessor

KEPT_PROMPTS = 32


class InferenceEngine:
    """Runs a network on single observations, with just the work whose result is read.

    Against the plain forward pass: all images go through a tower as one batch; unread blocks, query and
    states are left out; embeddings of a prompt are kept; the head's projections of the states run for
    all blocks at once; sequences are padded to lengths that matrix units like. On a GPU each of the
    three stages is a recorded graph, one per padded prompt length, checked when it is recorded. The weights
    are the network's own: some are fused in place, none is copied. Everything on a GPU happens with the
    network's as the current one, from whatever thread.

    Args:
        network: In evaluation mode, on its final device and in its final type.
        graphs: Record CUDA graphs; default: on a GPU.
        compile_stages: Let torch.compile fuse kernels. Needs a C++ compiler on a CPU, and minutes at the
            first prediction of each padded length.

    Raises:
        ModelConfigError: graphs without a GPU.
        GraphError: at the first prediction of each padded length: a graph does not do what its stage does.
    """

    def __init__(
        self, network: VlaAdapter, *, graphs: bool | None = None, compile_stages: bool = False
    ) -> None:
        on_gpu = network.device.type == "cuda"
        if graphs and not on_gpu:
            raise ModelConfigError(f"graphs = {graphs!r}: the network is on {network.device}, not on a GPU")
        self.network, self.graphs = network, on_gpu if graphs is None else graphs
        self._preprocessor = Preprocessor(network.config.preprocessing, network.device)
        # Not in inference mode: the fused weights must stay trainable.
        with torch.inference_mode(False), torch.no_grad():
            self._vision = VisionStage(network)
            self._head = HeadStage(network)
            self._language = LanguageStage(network, self._head.slots)
            self._states = self._head.new_states()
        self._compiled = compile_stages
        self._functions: dict[Any, Callable[..., Tensor]] = {}
        self._rotary: dict[int, tuple[Tensor, Tensor]] = {}  # tables by padded length
        self._prompts: OrderedDict[tuple[int, ...], Prompt] = OrderedDict()
        self._recorder = Recorder(network.device, network.dtype) if self.graphs else None
        self._watched = _constants_of(network)
        self._state = self._fingerprint()

    def is_current(self) -> bool:
        """False once the network was moved, converted or trained: then build a new engine."""
        return self._state == self._fingerprint()

    def _fingerprint(self) -> list[tuple[int, int]]:
        """Changes when weights move, or change in place."""
        return [(parameter.data_ptr(), parameter._version) for parameter in self._watched]

    @torch.inference_mode()
    def predict(
        self, images: Tensor, input_ids: Tensor, proprio: Tensor, mark: Callable[[str], None] = lambda _: None
    ) -> Tensor:
        """Predict a chunk.

        Args:
            images: uint8 (images, size, size, 3), resized and cropped, on the CPU.
            input_ids: Prompt ids without padding, int64 (P,).
            proprio: Normalized proprioception, float32 (S,).
            mark: Called with the name of each stage when it has been issued, for measurements.

        Returns:
            Normalized actions, float32 (H, A), on the CPU.
        """
        with on_device(self.network.device):
            prompt = self.prompt(input_ids)
            patches = self.vision(self.upload(images))
            mark("vision")
            self.language(patches, prompt)
            mark("llm")
            actions = self.head(self.upload(proprio)).cpu()
            mark("head")
        return actions

    @property
    def query_states(self) -> Tensor:
        """What the newest prediction read behind the last layer, of its last tokens, the ActionQueries.

        (Q, hidden), on the network's device; it changes with the next prediction.
        """
        count = min(self.network.config.num_queries, self._states.shape[1] - 1)
        return self._states[-1, -1 - count : -1]

    def warm_up(self, prompt_tokens: Iterable[int]) -> None:
        """Run on blank input, so that nothing is recorded or compiled once prompts of these lengths come.

        Where nothing ever is, one run is enough.
        """
        config, lengths = self.network.config, set[int]()
        size = config.preprocessing.size
        blank = torch.zeros(config.num_images, size, size, 3, dtype=torch.uint8)
        with on_device(self.network.device):
            for count in prompt_tokens:
                ids = torch.zeros(count, dtype=torch.long)
                length = self.prompt(ids).length
                if length not in lengths and (not lengths or self.graphs or self._compiled):
                    lengths.add(length)
                    self.predict(blank, ids, torch.zeros(config.state_width))

    def upload(self, tensor: Tensor) -> Tensor:
        """To the network's device, without waiting for it."""
        device = self.network.device
        if device.type != "cuda":
            return tensor
        with on_device(device):
            return tensor.pin_memory().to(device, non_blocking=True)

    def prompt(self, input_ids: Tensor) -> Prompt:
        """The laid-out sequence of a prompt; the latest ones are kept."""
        key = tuple(input_ids.tolist())
        if key not in self._prompts:
            self._prompts[key] = build_prompt(self.network, input_ids, self._head.selection)
            if len(self._prompts) > KEPT_PROMPTS:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        return self._prompts[key]

    def vision(self, images: Tensor) -> Tensor:
        """Images uint8 (images, size, size, 3) on the device to patch tokens (N, hidden)."""

        def run(images: Tensor) -> Tensor:
            return self._vision(self._preprocessor.pixels(images).to(self.network.dtype))

        return self._run("the vision stage", run, (images,))

    def language(self, patches: Tensor, prompt: Prompt) -> Tensor:
        """Patch tokens (N, hidden) to the states that the head reads, (slots, R, hidden)."""
        if prompt.length not in self._rotary:
            self._rotary[prompt.length] = self._language.rotary(prompt.length)
        rotary = self._rotary[prompt.length]

        def run(patches: Tensor, base: Tensor, patch_rows: Tensor, read_rows: Tensor) -> Tensor:
            laid_out = Prompt(base, patch_rows, read_rows, prompt.mask)
            self._language(patches, laid_out, rotary, self._states)
            return self._states[:, :-1]  # the last row is the head's own

        # The mask depends on the exact length, so where there is one, graphs are not shared.
        key = ("the language stage", prompt.length, None if prompt.mask is None else id(prompt))
        return self._run(key, run, (patches, prompt.base, prompt.patch_rows, prompt.read_rows))

    def head(self, proprio: Tensor) -> Tensor:
        """Normalized proprioception (S,) and the states of the last `language` to actions, float32 (H, A)."""

        def run(proprio: Tensor) -> Tensor:
            return self._head(self._states, proprio)

        return self._run("the head", run, (proprio,), reads=(self._states,))

    def _run(
        self,
        key: Any,
        function: Callable[..., Tensor],
        arguments: tuple[Tensor, ...],
        reads: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """The function as it is, compiled or recorded; `reads`: see `Recorder.record`."""
        with on_device(self.network.device):
            if self._recorder is None and not self._compiled:
                return function(*arguments)
            if key not in self._functions:
                if self._compiled:
                    function = torch.compile(function, dynamic=False)
                if self._recorder is not None:
                    name = key if isinstance(key, str) else f"{key[0]} of {key[1]} tokens"
                    function = self._recorder.record(name, function, arguments, reads)
                self._functions[key] = function
            return self._functions[key](*arguments)


def _constants_of(network: VlaAdapter) -> list[torch.nn.Parameter]:
    """Weights from which constants are computed, and a fused one: they tell when a new engine is due."""
    names = (
        "gating_factor", "action_head.model.layer_norm1", "action_head.model.fc1.", "row_embedding",
        "_token", "queries", "embed_tokens", "layers.0.self_attn.k_proj.weight",
    )  # fmt: skip
    return [p for name, p in network.named_parameters() if any(part in name for part in names)]
