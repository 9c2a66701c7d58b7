"""The inference engine: one observation at a time, as fast as the hardware lets it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from vla_adapter_ros.choices import LinearKind
from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.engine.graphs import Recorder, compiling, full_float32, on_device
from vla_adapter_ros.model.engine.head_stage import HeadStage
from vla_adapter_ros.model.engine.language_stage import (
    EXPECTED_TOKENS,
    LONG_ROWS,
    ROWS,
    LanguageStage,
    Layout,
    Prompt,
    build_prompt,
    lay_out,
)
from vla_adapter_ros.model.engine.linear import Linears
from vla_adapter_ros.model.engine.vision_stage import VisionStage
from vla_adapter_ros.model.network import VlaAdapter
from vla_adapter_ros.model.preprocessing import Preprocessor

KEPT_PROMPTS = 32
KEPT_LENGTHS = 12
"""Padded lengths whose recorded or compiled language stage is kept."""


class InferenceEngine:
    """Runs a network on single observations, with just the work whose result is read.

    Against the plain forward pass: all images go through a tower as one batch; unread blocks, query and
    states are left out; embeddings of a prompt are kept; the head's projections of the states run for
    all blocks at once; sequences are padded to lengths that matrix units like. On a GPU each of the
    three stages is a recorded graph, of the language model one per padded length, checked when it is
    recorded. The weights are the network's own: some are fused in place, none is copied. Everything on a
    GPU happens with the network's as the current one, from whatever thread, and in fp32 without TF32.
    Predictions must come one at a time, as recordings share their memory.

    Args:
        network: In evaluation mode, on its final device and in its final type.
        graphs: Record CUDA graphs; default: on a GPU.
        compile_stages: Let torch.compile fuse kernels. Needs a C++ compiler on a CPU, and minutes at the
            first prediction of each padded length.
        linear: Ways other than `plain` replace weights of the network, which then is of use to this
            engine alone; see `Linears`.

    Raises:
        ModelConfigError: graphs without a GPU; or `linear` on one, together with torch.compile, or of a
            network whose weights another engine has replaced.
        GraphError: at the first prediction of each padded length: a graph does not do what its stage does.
    """

    def __init__(
        self,
        network: VlaAdapter,
        *,
        graphs: bool | None = None,
        compile_stages: bool = False,
        linear: LinearKind = LinearKind.PLAIN,
    ) -> None:
        on_gpu = network.device.type == "cuda"
        if linear != LinearKind.PLAIN and (on_gpu or compile_stages):
            raise ModelConfigError(f"linear = {str(linear)!r}: only on a CPU and without torch.compile")
        if graphs and not on_gpu:
            raise ModelConfigError(f"graphs = {graphs!r}: the network is on {network.device}, not on a GPU")
        self.network, self.graphs = network, on_gpu if graphs is None else graphs
        self._preprocessor = Preprocessor(network.config.preprocessing, network.device)
        # Not in inference mode: the fused weights must stay trainable.
        with torch.inference_mode(False), torch.no_grad():
            self._linears = linears = Linears(linear, network.device, may_measure=not compile_stages)
            self._vision = VisionStage(network, linears)
            self._head = HeadStage(network)
            self._language = LanguageStage(network, self._head.slots, linears)
            self._states = self._head.new_states()
        self._compiled = compile_stages
        # Such products take any number of rows.
        self._takes_any = network.device.type == "cpu" and network.dtype == torch.float32
        self._functions: dict[str, Callable[..., Tensor]] = {}
        self._of_lengths: OrderedDict[int, Callable[..., Tensor]] = OrderedDict()  # language stages
        self._prompts: OrderedDict[tuple[int, ...], Prompt] = OrderedDict()
        self._recorder = Recorder(network.device, network.dtype) if self.graphs else None
        self._watched = _constants_of(network)
        self._state = self._fingerprint()

    def describe(self) -> str:
        """Which ways to compute were chosen here: results of others differ by rounding."""
        attentions = [self._language.attend, *(tower.attend for tower in self._vision.towers)]
        chosen = "/".join(attention.name for attention in attentions)
        return f"attention {chosen}, {self._linears.describe()}"

    def is_current(self) -> bool:
        """False once the network was moved, converted or trained: then build a new engine."""
        return self._state == self._fingerprint()

    def _fingerprint(self) -> list[tuple[int, int]]:
        """Changes when weights move, or change in place."""
        return [(parameter.data_ptr(), parameter._version) for parameter in self._watched]

    @torch.inference_mode()
    def predict(
        self,
        images: Tensor,
        input_ids: Tensor,
        proprio: Tensor,
        mark: Callable[[str], None] = lambda _: None,
        *,
        fit: bool = False,
    ) -> Tensor:
        """Predict a chunk.

        Args:
            images: uint8 (images, size, size, 3), resized and cropped, on the CPU.
            input_ids: Prompt ids without padding, int64 (P,).
            proprio: Normalized proprioception, float32 (S,).
            mark: Called with the name of each stage when it has been issued, for measurements.
            fit: The images are of another size (h, w) and the stage is to resize them, see
                `Preprocessor.fit`; it does so where the network is.

        Returns:
            Normalized actions, float32 (H, A), on the CPU.
        """
        with on_device(self.network.device):
            prompt = self.prompt(input_ids)
            patches = self.vision(self.upload(images), fit=fit)
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
        first = True
        for count in prompt_tokens:
            ids = torch.zeros(count, dtype=torch.long)
            if first or not self.is_ready(count):
                self._predict_blank(ids)
            first = False

    def is_ready(self, prompt_tokens: int) -> bool:
        """Whether nothing is to be recorded or compiled for a prompt of this length; any thread may ask."""
        return not self._prepares or self._lay_out(prompt_tokens).padded in self._of_lengths

    @property
    def _prepares(self) -> bool:
        return self.graphs or self._compiled

    def _lay_out(self, prompt_tokens: int) -> Layout:
        if self._prepares:
            rows = LONG_ROWS if prompt_tokens > EXPECTED_TOKENS else ROWS
        else:
            rows = 1 if self._takes_any else ROWS
        return lay_out(self.network.config, prompt_tokens, self._head.selection, rows)

    def _predict_blank(self, input_ids: Tensor) -> None:
        config = self.network.config
        size = config.preprocessing.size
        blank = torch.zeros(config.num_images, size, size, 3, dtype=torch.uint8)
        self.predict(blank, input_ids, torch.zeros(config.state_width))

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
            with on_device(self.network.device), torch.inference_mode():
                self._prompts[key] = build_prompt(self.network, input_ids, self._lay_out(len(key)))
            if len(self._prompts) > KEPT_PROMPTS:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        return self._prompts[key]

    def vision(self, images: Tensor, fit: bool = False) -> Tensor:
        """Images on the device, see `predict`, to patch tokens (N, hidden)."""

        def run(images: Tensor) -> Tensor:
            images = self._preprocessor.fit(images) if fit else images
            return self._vision(self._preprocessor.pixels(images).to(self.network.dtype))

        size = f" of {images.shape[2]}x{images.shape[1]} images" if fit else ""
        return self._run(f"the vision stage{size}", run, (images,))

    def language(self, patches: Tensor, prompt: Prompt) -> Tensor:
        """Patch tokens (N, hidden) to the states that the head reads, (slots, R, hidden)."""
        length = prompt.length
        arguments = (patches, *(part for part in prompt if part is not None))
        if length not in self._of_lengths:
            self._of_lengths[length] = self._prepare(
                f"the language stage of {length} tokens", self._language_function(length), arguments
            )
            if len(self._of_lengths) > KEPT_LENGTHS:
                self._of_lengths.popitem(last=False)
        self._of_lengths.move_to_end(length)
        return self._call(self._of_lengths[length], arguments)

    def _language_function(self, length: int) -> Callable[..., Tensor]:
        """The language stage for sequences of this padded length."""
        rotary = self._language.rotary(length)

        def run(
            patches: Tensor, base: Tensor, patch_rows: Tensor, read_rows: Tensor, *visible: Tensor
        ) -> Tensor:
            laid_out = Prompt(base, patch_rows, read_rows, *(visible or (None,)))
            self._language(patches, laid_out, rotary, self._states)
            return self._states[:, :-1]  # the last row is the head's own

        return run

    def head(self, proprio: Tensor) -> Tensor:
        """Normalized proprioception (S,) and the states of the last `language` to actions, float32 (H, A)."""

        def run(proprio: Tensor) -> Tensor:
            return self._head(self._states, proprio)

        return self._run("the head", run, (proprio,), reads=(self._states,))

    def _run(
        self,
        name: str,
        function: Callable[..., Tensor],
        arguments: tuple[Tensor, ...],
        reads: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """A stage that is the same for all prompts."""
        if name not in self._functions:
            self._functions[name] = self._prepare(name, function, arguments, reads)
        return self._call(self._functions[name], arguments)

    def _call(self, function: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> Tensor:
        with self._exactly():
            return function(*arguments)

    def _prepare(
        self,
        name: str,
        function: Callable[..., Tensor],
        arguments: tuple[Tensor, ...],
        reads: tuple[Tensor, ...] = (),
    ) -> Callable[..., Tensor]:
        """The function as it is, compiled or recorded; `reads`: see `Recorder.record`."""
        with self._exactly():
            if self._compiled:
                function = torch.compile(function, dynamic=False)
            if self._recorder is not None:
                function = self._recorder.record(name, function, arguments, reads)
        return function

    @contextmanager
    def _exactly(self) -> Iterator[None]:
        """On the network's device, without TF32, and with any number of shapes to compile."""
        device = self.network.device
        with on_device(device), full_float32(device), compiling() if self._compiled else nullcontext():
            yield


def _constants_of(network: VlaAdapter) -> list[torch.nn.Parameter]:
    """Weights from which constants are computed, and a fused one: they tell when a new engine is due."""
    names = (
        "gating_factor", "action_head.model.layer_norm1", "action_head.model.fc1.", "row_embedding",
        "_token", "queries", "embed_tokens", "layers.0.self_attn.k_proj.weight",
    )  # fmt: skip
    return [p for name, p in network.named_parameters() if any(part in name for part in names)]
