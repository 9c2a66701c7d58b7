"""Grounding pre-training: teach a small network which words mean which things, and where they are.

The published model gets this from a pretrained vision-language model. A model
trained from nothing on demonstrations alone grasps well but ignores the
instruction, so this stage stands in for the missing pre-training:

- Stage V, vision alone: the thing that each patch shows, and where its middle lies from there.
- Stage G, the whole backbone: from an instruction and the images to the position of
  the named object, read from the last ActionQuery's state, and of where it shall go, from the one before.
  It is asked for in the base frame, where the third view shows it, and from the tool, where the hand's
  camera does.

**The labels of both stages come from the simulator. They are used for this
stage and for it only**: policies are trained on demonstrations alone, and the
read-outs trained here are thrown away. What remains is a backbone checkpoint
without a policy head.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vla_adapter_ros.choices import Table
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import Tokenizer, VlaAdapter, VlaAdapterPolicy, preset
from vla_adapter_ros.paths import locate
from vla_adapter_ros.training.grounding_data import GroundingScenes, render_scenes
from vla_adapter_ros.training.grounding_losses import ReadOut, meters, named_losses, patch_loss
from vla_adapter_ros.training.grounding_topics import TOPICS, Asked, CubeTopic, Topic
from vla_adapter_ros.training.starting import raise_embeddings

_GAIN, _SHIFT = 0.15, 0.075  # brightness and contrast change at random by as much
UNSEEN_SEED = 10_000_000  # scenes for validation start here

PrintLine = Callable[[str], None]


@dataclass(frozen=True)
class GroundingSettings:
    """Optimizer settings; the defaults were measured on the tiny preset."""

    scenes: int = 6000
    vision_steps: int = 500
    sentence_steps: int = 1500
    batch_size: int = 32
    vision_rate: float = 1.5e-3
    sentence_rate: float = 1e-3
    vision_weight: float = 0.3
    """Weight of stage V's loss in stage G."""
    seed: int = 0
    threads: int = 1
    validation_scenes: int = 300


@dataclass(frozen=True)
class GroundingFigures:
    """How well a backbone is grounded, on scenes that it never saw.

    Attributes:
        renderer: How the scenes were drawn.
        scenes: Number of scenes.
        nearest_right: Fraction of (scene, named cube) whose predicted position is nearest to that cube.
        all_right: Fraction of scenes in which this holds for every cube, only the instruction being swapped.
        median_error_m: Median distance of the predicted position from the named cube's center [m].
    """

    renderer: str
    scenes: int
    nearest_right: float
    all_right: float
    median_error_m: float


def ground(
    output: str | Path,
    contract: Contract,
    settings: GroundingSettings | None = None,
    *,
    table: Table = Table.CUBES,
    report: PrintLine | None = None,
) -> GroundingFigures:
    """Render scenes, train both stages from nothing, and save the backbone to `output`.

    Args:
        output: Checkpoint directory to write; `grounding.json` in it holds settings and figures.
        contract: The simulated robot: cameras and widths.
        settings: Optimizer settings; None for the defaults.
        table: Whose things it learns.
        report: Called with a line of progress now and then.

    Raises:
        TrainingError: settings that cannot work, an output that is not empty, or a loss that is not finite.
        SimulationError: the simulator cannot start.
    """
    settings = settings or GroundingSettings()
    if settings.batch_size < 1 or settings.vision_steps < 0 or settings.sentence_steps < 1:
        raise TrainingError(f"{settings}: batch_size and sentence_steps must be at least 1")
    output = locate(output)
    if output.is_dir() and any(output.iterdir()):
        raise TrainingError(f"{output} is there already: choose another output, or remove it")
    print_line = report or (lambda line: None)
    started = time.perf_counter()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    topic = TOPICS[table]
    policy = new_backbone(contract, topic)
    data = render_scenes(
        topic,
        contract,
        policy.resize_images,
        _patches(policy),
        settings.scenes,
        first_seed=settings.seed * 1_000_000,
    )
    print_line(f"{len(data)} scenes rendered after {time.perf_counter() - started:.0f} s")
    read_out = ReadOut(policy.config.llm.hidden, len(topic.kinds))
    policy.network.train()
    _vision_stage(policy, read_out, data, settings, print_line)
    print_line(f"stage V done after {time.perf_counter() - started:.0f} s")
    _sentence_stage(policy, topic, read_out, data, settings, print_line)
    print_line(f"stage G done after {time.perf_counter() - started:.0f} s")
    policy.network.eval()
    unseen = render_scenes(
        topic,
        contract,
        policy.resize_images,
        _patches(policy),
        settings.validation_scenes,
        first_seed=UNSEEN_SEED,
    )
    figures = validate(policy, topic, read_out, unseen, "raycast")
    print_line(f"{figures}")
    policy.save_pretrained(output, dtype=torch.float16)
    text = json.dumps(
        {"settings": dataclasses.asdict(settings), "figures": dataclasses.asdict(figures),
         "labels": "simulator labels were used for this stage, and for no other"}, indent=2,
    )  # fmt: skip
    (output / "grounding.json").write_text(text + "\n", encoding="utf-8")
    return figures


def new_backbone(contract: Contract, topic: Topic = CubeTopic()) -> VlaAdapterPolicy:  # noqa: B008 - no state
    """An untrained tiny backbone for a robot's cameras; its head is replaced before fine-tuning."""
    tokenizer = Tokenizer.from_words(topic.words)
    config = preset(
        "tiny",
        num_images=len(contract.cameras),
        action_dim=len(contract.action_names),
        proprio_dim=len(contract.state_names),
        vocab=tokenizer.vocab_size,
    )
    config = dataclasses.replace(
        config,
        stem=topic.stem,
        num_task_tokens=config.num_images * topic.stem.tokens,
        preprocessing=dataclasses.replace(config.preprocessing, size=topic.stem.image_size),
    )
    network = VlaAdapter(config)
    raise_embeddings(network)
    return VlaAdapterPolicy(network, config, tokenizer)


@torch.inference_mode()
def validate(
    policy: VlaAdapterPolicy, topic: Topic, read_out: ReadOut, data: GroundingScenes, renderer: str
) -> GroundingFigures:
    """Ask for objects that the third view shows, in every scene, by instructions of which each names another.

    Args:
        policy: The backbone.
        topic: What the scenes show.
        read_out: Trained together with it.
        data: Scenes that it never saw.
        renderer: How they were drawn, for the record.
    """
    right, errors, all_right = [], [], []
    for i in range(len(data)):
        questions = _questions(topic, data.present[i] & data.seen[i, 0], np.random.default_rng([i, 6]))
        if not questions:
            continue
        asked = np.array([question.target for question in questions])
        ids, mask = policy.tokenize([question.text for question in questions])
        pixels = policy.pixel_values(data.images[i]).unsqueeze(0).expand(len(asked), -1, -1, -1, -1)
        states = policy.network.conditions(ids, mask, pixels).action[:, -1, -1]
        predicted = meters(read_out.position(states)[:, :3]).numpy()
        on_table = np.flatnonzero(data.present[i])
        distances = np.linalg.norm(predicted[:, None] - data.positions[i, on_table], axis=-1)
        hits = on_table[distances.argmin(1)] == asked
        right.extend(hits)
        all_right.append(hits.all())
        errors.extend(np.linalg.norm(predicted - data.positions[i, asked], axis=-1))
    return GroundingFigures(
        renderer, len(all_right), float(np.mean(right)), float(np.mean(all_right)), float(np.median(errors))
    )


def _vision_stage(
    policy: VlaAdapterPolicy,
    read_out: ReadOut,
    data: GroundingScenes,
    settings: GroundingSettings,
    print_line: PrintLine,
) -> None:
    network = policy.network
    modules = [network.vision_backbone, network.projector, read_out.patch]
    optimizer = _optimizer(modules, settings.vision_rate)
    rng = np.random.default_rng([settings.seed, 2])
    for step in range(settings.vision_steps):
        _set_rate(optimizer, settings.vision_rate * _schedule(step, settings.vision_steps))
        rows = rng.integers(len(data), size=settings.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            tokens = network.patch_tokens(_augmented(policy, data, rows, rng))
            loss = patch_loss(read_out, tokens, data, rows)
        _step(optimizer, modules, loss)
        if step % 100 == 0:
            print_line(f"stage V step {step} loss {loss.item():.3f}")


def _questions(topic: Topic, seen: np.ndarray, rng: np.random.Generator) -> list[Asked]:
    """Sentences about what is seen (K,), each of another object."""
    found: dict[int, Asked] = {}
    for _ in range(4 * int(seen.sum())):
        if (question := topic.ask(rng, seen)) is not None:
            found.setdefault(question.target, question)
    return [found[k] for k in sorted(found)]


def _sentence_stage(
    policy: VlaAdapterPolicy,
    topic: Topic,
    read_out: ReadOut,
    data: GroundingScenes,
    settings: GroundingSettings,
    print_line: PrintLine,
) -> None:
    network = policy.network
    modules = [
        network.vision_backbone, network.projector, network.language_model, network.action_queries, read_out,
    ]  # fmt: skip
    optimizer = _optimizer(modules, settings.sentence_rate)
    rng = np.random.default_rng([settings.seed, 3])
    for step in range(settings.sentence_steps):
        _set_rate(optimizer, settings.sentence_rate * _schedule(step, settings.sentence_steps))
        rows = rng.integers(len(data), size=settings.batch_size)
        asked = [_ask(topic, rng, data, row) for row in rows]
        ids, mask = policy.tokenize([question.text for question in asked])
        targets, places = np.array([(question.target, question.place) for question in asked]).T
        with torch.autocast("cpu", torch.bfloat16):
            tokens = network.patch_tokens(_augmented(policy, data, rows, rng))
            states = network.conditions_from_patches(ids, mask, tokens)
            position, chosen = named_losses(read_out, states, data, rows, targets, places)
            loss = position + chosen + settings.vision_weight * patch_loss(read_out, tokens, data, rows)
        _step(optimizer, modules, loss)
        if step % 100 == 0:
            print_line(
                f"stage G step {step} position {position.item():.3f} named patches {chosen.item():.3f}"
            )


def _ask(topic: Topic, rng: np.random.Generator, data: GroundingScenes, row: int) -> Asked:
    """A sentence about a scene; of one about which nothing can be said, any object that is there."""
    found = topic.ask(rng, data.present[row])
    if found is not None:
        return found
    target = int(np.flatnonzero(data.present[row])[0])
    return Asked(topic.kinds[target], target)


def _augmented(
    policy: VlaAdapterPolicy, data: GroundingScenes, rows: np.ndarray, rng: np.random.Generator
) -> Tensor:
    """Pixel values (B, V, C, h, w) with brightness and contrast changed at random per image."""
    unit = torch.from_numpy(data.images[rows]).float() / 255.0
    shape = (*unit.shape[:2], 1, 1, 1)
    gain = torch.from_numpy(rng.uniform(1 - _GAIN, 1 + _GAIN, shape)).float()
    shift = torch.from_numpy(rng.uniform(-_SHIFT, _SHIFT, shape)).float()
    return policy.pixel_values((unit * gain + shift).clamp(0.0, 1.0))


def _optimizer(modules: Sequence[nn.Module], rate: float) -> torch.optim.AdamW:
    parameters = [p for module in modules for p in module.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.02},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)


def _schedule(step: int, steps: int) -> float:
    """Warm-up of 50 steps, constant for the first half, then a line down to 5 %."""
    warm = min(1.0, (step + 1) / 50)
    half = steps / 2
    return warm * (1.0 if step < half else 1.0 - 0.95 * (step - half) / half)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _step(optimizer: torch.optim.Optimizer, modules: Sequence[nn.Module], loss: Tensor) -> None:
    if not torch.isfinite(loss):
        raise TrainingError(f"the loss became {loss.item()}: lower the learning rate")
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_([p for module in modules for p in module.parameters()], 1.0)
    optimizer.step()


def _patches(policy: VlaAdapterPolicy) -> int:
    return round(policy.config.patches_per_image**0.5)
