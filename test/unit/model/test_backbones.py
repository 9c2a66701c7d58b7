"""Published backbones at tiny size: written under their own names, read back bit-equal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model import Tokenizer, VlaAdapter, VlaAdapterPolicy
from vla_adapter_ros.model.backbones import FRESH, read_backbone, resample_positions

from .small import LLAMA, QWEN2, small_batch, small_config, write_tokenizer

TOWERS = {"featurizer": "dino_featurizer", "fused_featurizer": "siglip_featurizer"}
PROJECTOR = {"fc1": "0", "fc2": "2", "fc3": "4"}
CONFIGS = {"qwen2": small_config(QWEN2), "llama": small_config(LLAMA)}


def backbone_weights(kind: str, dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """Random weights under our names."""
    torch.manual_seed(5)
    state = VlaAdapter(CONFIGS[kind]).to(dtype).state_dict()
    return {key: value for key, value in state.items() if key.split(".")[0] not in FRESH}


def prismatic(weights: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The nested dictionary of a Prismatic file."""
    parts: dict[str, dict[str, Tensor]] = {"vision_backbone": {}, "llm_backbone": {}, "projector": {}}
    for key, value in weights.items():
        part, rest = key.split(".", 1)
        if part == "vision_backbone":
            tower, rest = rest.split(".", 1)
            rest = rest.replace("scale_factor", "gamma")
            parts["vision_backbone"][f"{TOWERS[tower]}.{rest}"] = value
        elif part == "projector":
            layer, rest = rest.split(".")
            parts["projector"][f"projector.{PROJECTOR[layer]}.{rest}"] = value
        else:
            parts["llm_backbone"][f"llm.{rest}"] = value
    parts["llm_backbone"]["llm.lm_head.weight"] = torch.zeros(24, 32)
    parts["llm_backbone"]["llm.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    return parts


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    write_tokenizer(folder)
    return folder


def assert_equal_and_usable(policy: VlaAdapterPolicy, weights: dict[str, Tensor]) -> None:
    state = policy.network.state_dict()
    assert all(torch.equal(state[key], value) and state[key].dtype == value.dtype
               for key, value in weights.items())  # fmt: skip
    assert {key.split(".")[0] for key in set(state) - set(weights)} == set(FRESH)
    assert not any(tensor.is_meta for tensor in [*policy.network.parameters(), *policy.network.buffers()])
    assert policy.network.dtype == torch.bfloat16
    assert policy.network.language_model.model.rotary_emb.inv_freq.dtype == torch.float32
    ids, mask, pixels, proprio, target = small_batch()
    policy.network.loss(ids, mask, pixels, proprio, target).backward()
    assert policy.network.projector.fc1.weight.grad.abs().max() > 0
    with pytest.raises(CheckpointError, match="without a trained policy head"):
        policy.predict([np.zeros((28, 28, 3), np.uint8)] * 2, "lift", np.zeros(6))


@pytest.mark.parametrize("kind", CONFIGS)
def test_prismatic_file(kind: str, tmp_path: Path, tokenizer: Path) -> None:
    weights = backbone_weights(kind)
    file = tmp_path / "step.pt"
    torch.save({"model": prismatic(weights)}, file)
    assert_equal_and_usable(read_backbone(file, CONFIGS[kind], tokenizer=tokenizer), weights)


def test_prismatic_run_directory_with_its_optimizer(tmp_path: Path, tokenizer: Path) -> None:
    weights = backbone_weights("llama")
    (tokenizer / "checkpoints").mkdir()
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    state = {"model": prismatic(weights), "optimizer": optimizer}
    torch.save(state, tokenizer / "checkpoints" / "latest-checkpoint.pt")
    assert_equal_and_usable(read_backbone(tokenizer, CONFIGS["llama"]), weights)


def test_openvla_directory_in_shards(tokenizer: Path) -> None:
    weights = backbone_weights("llama")
    stored = {**weights, "language_model.lm_head.weight": torch.zeros(24, 32)}
    names = sorted(stored)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, keys in shards.items():
        save_file({key: stored[key].contiguous() for key in keys}, tokenizer / shard)
    index = {"weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    (tokenizer / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_equal_and_usable(read_backbone(tokenizer, CONFIGS["llama"]), weights)


def test_towers_from_files_of_their_own(tmp_path: Path, tokenizer: Path) -> None:
    """Models trained with frozen towers are published without them."""
    weights = backbone_weights("qwen2")
    parts = prismatic(weights)
    vision = parts.pop("vision_backbone")
    file, towers = tmp_path / "step.pt", {}
    torch.save({"model": parts}, file)
    with pytest.raises(CheckpointError, match=r"no vision towers.*featurizer"):
        read_backbone(file, CONFIGS["qwen2"], tokenizer=tokenizer)
    for ours, theirs in TOWERS.items():
        state = {key.split(".", 1)[1]: value for key, value in vision.items() if key.startswith(theirs)}
        if ours == "featurizer":  # published for larger images
            coarse = state["pos_embed"].float()
            state["pos_embed"] = (
                coarse.unflatten(1, (2, 2)).repeat_interleave(3, 1).repeat_interleave(3, 2).flatten(1, 2)
            )
        towers[ours] = tmp_path / f"{ours}.safetensors"
        save_file({key: value.contiguous() for key, value in state.items()}, towers[ours])
    policy = read_backbone(file, CONFIGS["qwen2"], tokenizer=tokenizer, towers=towers)
    name = "vision_backbone.featurizer.pos_embed"
    resampled = policy.network.state_dict()[name]
    torch.testing.assert_close(resampled, weights[name], rtol=0.1, atol=0.01)
    assert_equal_and_usable(policy, {**weights, name: resampled})
    with pytest.raises(CheckpointError, match=r"'eye'.*featurizer"):
        read_backbone(file, CONFIGS["qwen2"], tokenizer=tokenizer, towers={"eye": file})


def test_positions_of_a_plane_stay_a_plane() -> None:
    """Between grid points a linear ramp is kept; the ends are pulled in by the border."""
    ramp = torch.arange(8.0).expand(8, 8).reshape(1, 64, 1)
    small = resample_positions(ramp, 16).view(4, 4)
    torch.testing.assert_close(small[:, 1:3], torch.tensor([2.5, 4.5]).expand(4, 2), rtol=0, atol=0.1)
    assert torch.equal(resample_positions(ramp, 64), ramp)
    with pytest.raises(CheckpointError, match="64 to 15"):
        resample_positions(ramp, 15)


def test_what_does_not_fit_is_named(tmp_path: Path, tokenizer: Path) -> None:
    weights = backbone_weights("llama")

    def read(change: dict[str, dict[str, Tensor]], **state: object) -> VlaAdapterPolicy:
        parts = prismatic(weights)
        for part, entries in change.items():
            parts[part] = {**parts.get(part, {}), **entries}
        file = tmp_path / "changed.pt"
        torch.save({"model": parts, **state}, file)
        return read_backbone(file, CONFIGS["llama"], tokenizer=tokenizer)

    with pytest.raises(CheckpointError, match=r"unexpected.*extra"):
        read({"projector": {"projector.6.extra": torch.zeros(1)}})
    with pytest.raises(CheckpointError, match=r"projector\.fc1\.bias: \(1,\) instead of"):
        read({"projector": {"projector.0.bias": torch.zeros(1)}})
    with pytest.raises(CheckpointError, match="holds the parts"):
        read({"head": {"w": torch.zeros(1)}})
    with pytest.raises(CheckpointError, match="named tensors"):
        read({"projector": {"step": 3}})
    file = tmp_path / "flat.pt"
    torch.save(weights, file)
    with pytest.raises(CheckpointError, match="no 'model'"):
        read_backbone(file, CONFIGS["llama"], tokenizer=tokenizer)
    with pytest.raises(CheckpointError, match="tokenizer's folder"):
        read_backbone(file, CONFIGS["llama"])
    half = prismatic(weights)
    del half["llm_backbone"]["llm.model.norm.weight"]
    torch.save({"model": half}, file)
    with pytest.raises(CheckpointError, match=r"missing \['language_model\.model\.norm\.weight'\]"):
        read_backbone(file, CONFIGS["llama"], tokenizer=tokenizer)
    with pytest.raises(CheckpointError, match="does not fit"):  # biases that Llama does not have
        torch.save({"model": prismatic(backbone_weights("qwen2"))}, file)
        read_backbone(file, CONFIGS["llama"], tokenizer=tokenizer)


def test_openvla_prompt(tokenizer: Path) -> None:
    words = Tokenizer.from_folder(tokenizer, "openvla")
    ids = words.ids("LIFT it")
    text = [words.raw.id_to_token(i) for i in ids]
    assert text[:4] == ["<s>", "In:", "What", "action"] and text[-3:] == ["lift", "it?", "Out:"]
    assert words.pad_id == words.raw.token_to_id("<PAD>")
    with pytest.raises(CheckpointError, match="<PAD>"):
        Tokenizer(Tokenizer.from_words(("lift",)).raw, "openvla")
