"""Writing checkpoints that the published loader takes, finding them, and refusing bad files."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vla_adapter_ros.contract import checkpoints_folder
from vla_adapter_ros.errors import CheckpointError, ObservationError, VlaAdapterError
from vla_adapter_ros.model import VlaAdapter, VlaAdapterPolicy, checkpoint_location, preset
from vla_adapter_ros.model.checkpoint_files import checkpoint_name
from vla_adapter_ros.model.checkpoint_location import ALLOWED, find_checkpoint
from vla_adapter_ros.model.weights import read_plain_pt, read_safetensors, stored_tensors
from vla_adapter_ros.training.starting import Start

from .golden import Golden
from .golden_checks import open_policy
from .official_sample import official_policy, write_official

HUB = "huggingface_hub is not installed: pip install huggingface_hub"


@pytest.mark.parametrize("name", ["base", "pro"])
def test_an_official_checkpoint_is_written_back_file_by_file(name: str, tmp_path: Path) -> None:
    golden = Golden(name)
    source = golden.checkpoint
    open_policy(golden).save_pretrained(tmp_path, dtype=torch.bfloat16)
    renamed = {path.name: path.name.replace("5000_", "") for path in source.iterdir() if path.is_file()}
    assert {path.name for path in tmp_path.iterdir()} == {*renamed.values(), "vla_adapter.json"}
    for theirs, ours in renamed.items():
        if ours.endswith(".safetensors"):
            before, after = load_file(source / theirs), load_file(tmp_path / ours)
        elif ours.endswith(".pt"):
            before, after = (torch.load(p, weights_only=True) for p in (source / theirs, tmp_path / ours))
        elif ours == "dataset_statistics.json":
            assert json.loads((tmp_path / ours).read_text()) == json.loads((source / theirs).read_text())
            continue
        else:
            assert (tmp_path / ours).read_bytes() == (source / theirs).read_bytes(), ours
            continue
        assert before.keys() == after.keys(), ours
        for key in before:
            assert before[key].dtype == after[key].dtype and torch.equal(before[key], after[key]), key


def test_a_model_of_ours_gets_every_official_file_and_key(tmp_path: Path) -> None:
    """Keys compared with files that the published code wrote."""
    source = Golden("pro").checkpoint
    official_policy().save_pretrained(tmp_path)

    def keys(data: object, path: str = "") -> set[str]:
        if isinstance(data, dict):
            return {f"{path}.{key}" for key in data} | {
                k for key in data for k in keys(data[key], f"{path}.{key}")
            }
        if isinstance(data, list) and data and isinstance(data[0], dict):
            return keys(data[0], f"{path}[]")
        return set()

    for name in ("config.json", "preprocessor_config.json", "generation_config.json"):
        theirs, ours = (json.loads((folder / name).read_text()) for folder in (source, tmp_path))
        for data in (theirs, ours):
            data.pop("norm_stats", None)  # named after the data sets
            data.pop("_name_or_path", None)  # a place on the machine that wrote it
        assert keys(theirs) <= keys(ours), name
        same = set(theirs) - {
            "text_config",
            "timm_model_kwargs",
            "bos_token_id",
            "eos_token_id",
            "means",
            "stds",
        }
        assert {key: theirs[key] for key in same} == {key: ours[key] for key in same}, name
    head = torch.load(tmp_path / "action_head--checkpoint.pt", weights_only=True)
    theirs = torch.load(source / "action_head--5000_checkpoint.pt", weights_only=True)
    assert head.keys() == theirs.keys() and {v.dtype for v in head.values()} == {torch.bfloat16}


@pytest.mark.parametrize("head", ["base", "pro"])
def test_a_model_of_ours_reads_back_as_an_official_one(tmp_path: Path, head: str) -> None:
    ours = official_policy(head)
    theirs = VlaAdapterPolicy.from_pretrained(write_official(tmp_path, head), platform="libero")
    before, after = ours.network.state_dict(), theirs.network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert theirs.statistics.to_dict() == ours.statistics.to_dict()
    images = [np.full((224, 224, 3), value, np.uint8) for value in (40, 200)]
    # Turned or not, an image of one color is the same, so only the rest can differ.
    np.testing.assert_array_equal(*(p.predict(images, "lift it?", np.zeros(8)) for p in (ours, theirs)))


def test_config_json_names_the_type_that_is_stored(tmp_path: Path) -> None:
    policy = VlaAdapterPolicy.from_pretrained(write_official(tmp_path / "a"), platform="libero")
    policy.save_pretrained(tmp_path / "b", dtype=torch.float32)
    data = json.loads((tmp_path / "b" / "config.json").read_text())
    assert data["torch_dtype"] == data["text_config"]["torch_dtype"] == "float32"
    assert {entry.dtype for entry in stored_tensors(tmp_path / "b").values()} == {"F32"}


def test_other_models_do_not_pass_for_official_ones(tiny_policy: VlaAdapterPolicy, tmp_path: Path) -> None:
    tiny_policy.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "vla_adapter_ros"
    (tmp_path / "vla_adapter.json").unlink()
    with pytest.raises(CheckpointError, match="timm_model_ids"):
        VlaAdapterPolicy.from_pretrained(tmp_path, platform="libero")


def test_a_diffusion_head_comes_back(tiny_policy: VlaAdapterPolicy, tmp_path: Path) -> None:
    config = preset("tiny", head="dit")
    torch.manual_seed(3)
    policy = VlaAdapterPolicy(
        VlaAdapter(config).eval(), config, tiny_policy.tokenizer, tiny_policy.statistics, tiny_policy.contract
    )
    policy.save_pretrained(tmp_path, dtype=torch.float32)
    images = [np.full((112, 112, 3), 90, np.uint8)] * 2
    again = VlaAdapterPolicy.from_pretrained(tmp_path)
    first, second = (p.predict(images, "pick up the cube", np.zeros(11)) for p in (policy, again))
    np.testing.assert_array_equal(first, second)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (open, (str(self.path), "w"))


def test_code_in_a_pt_file_is_refused_and_not_run(tiny_policy: VlaAdapterPolicy, tmp_path: Path) -> None:
    tiny_policy.save_pretrained(tmp_path)
    path = tmp_path / "action_head--checkpoint.pt"
    torch.save({"model.fc1.weight": Trap(tmp_path / "ran")}, path)
    with pytest.raises(CheckpointError, match=r"action_head--checkpoint\.pt cannot be read as plain weights"):
        VlaAdapterPolicy.from_pretrained(tmp_path)
    path.write_bytes(pickle.dumps({"w": Trap(tmp_path / "ran")}))
    with pytest.raises(CheckpointError, match="plain weights"):
        VlaAdapterPolicy.from_pretrained(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_plain_files_hold_tensors_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"module.a": torch.ones(2)}, path)
    assert list(read_plain_pt(path)) == ["a"]
    torch.save({"model": {"projector": {"a": torch.ones(2)}}, "step": 7}, path)
    assert read_plain_pt(path, nested=True)["model"]["projector"]["a"].sum() == 2
    with pytest.raises(CheckpointError, match="'model' is dict; a tensor is needed"):
        read_plain_pt(path)
    for content in ([torch.ones(2)], {1: torch.ones(2)}):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match="named tensors"):
            read_plain_pt(path)
    with pytest.raises(CheckpointError, match=r"none\.pt is missing"):
        read_plain_pt(tmp_path / "none.pt")


@pytest.mark.parametrize("kept", [0, 7, 4000, -1])
def test_weights_cut_short_are_refused(tiny_policy: VlaAdapterPolicy, tmp_path: Path, kept: int) -> None:
    tiny_policy.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    for read in (read_safetensors, stored_tensors, VlaAdapterPolicy.from_pretrained):
        with pytest.raises(CheckpointError, match=r"model.safetensors is damaged or cut short"):
            read(tmp_path)


def test_two_heads_or_none_are_refused(tiny_policy: VlaAdapterPolicy, tmp_path: Path) -> None:
    tiny_policy.save_pretrained(tmp_path)
    head = tmp_path / "action_head--checkpoint.pt"
    second = tmp_path / "action_head--5000_checkpoint.pt"
    second.write_bytes(head.read_bytes())
    with pytest.raises(
        CheckpointError, match=r"several files for action_head.*5000_.*action_head--checkpoint"
    ):
        VlaAdapterPolicy.from_pretrained(tmp_path)
    second.unlink()
    head.unlink()
    with pytest.raises(CheckpointError, match=r"incomplete: it lacks action_head--\*checkpoint.pt$"):
        VlaAdapterPolicy.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["official/pro@v1.0", "owner/model.name"])
def test_hub_ids_are_downloaded_without_code(
    tiny_policy: VlaAdapterPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub", reason=HUB)
    tiny_policy.save_pretrained(tmp_path / "cache")
    asked = {}

    def snapshot_download(repo_id: str, **options: object) -> str:
        asked.update(options, repo_id=repo_id)
        return str(tmp_path / "cache")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert VlaAdapterPolicy.from_pretrained(name).config == tiny_policy.config
    repository, _, revision = name.partition("@")
    assert (asked["repo_id"], asked["revision"]) == (repository, revision or None)
    assert asked["allow_patterns"] == list(ALLOWED) and not [p for p in ALLOWED if p.endswith((".py", "*"))]
    (tmp_path / name).mkdir(parents=True)
    assert find_checkpoint(name) == tmp_path / name  # a directory wins


def test_hub_without_network_or_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants", reason=HUB)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # it is read once, at import
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    by_hand = r"owner/name@v2.*hf download owner/name --revision v2 --local-dir"
    with pytest.raises(CheckpointError, match=by_hand):
        VlaAdapterPolicy.from_pretrained("owner/name@v2")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"'huggingface_hub' is not installed.*hf download"):
        find_checkpoint("owner/name")


@pytest.mark.parametrize("text", ["name", "/no/such/place", "a/b/c", "../owner", "owner/", "owner/n@"])
def test_what_is_no_hub_id_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint_location, "download", lambda *a, **k: pytest.fail("asked the network"))
    with pytest.raises(CheckpointError, match=r"no checkpoint directory at .*owner/name"):
        find_checkpoint(text)


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        VlaAdapterPolicy.from_pretrained(tmp_path / "x")


def test_long_and_foreign_instructions_with_the_official_tokenizer() -> None:
    policy = open_policy(Golden("pro"))
    frame = ([np.zeros((224, 224, 3), np.uint8)] * 2, np.zeros(8))
    for text in ("nimm den roten Würfel", "赤い立方体を取って 🤖", "Ünïcödé e\u0301"):
        assert policy.tokenizer.unknown_words(text) == ()  # byte-level: every text has ids
        said = policy.tokenizer.raw.decode(policy.tokenizer.ids(text))
        assert unicodedata.normalize("NFC", text.lower()) in said
        assert np.isfinite(policy.predict(frame[0], text, frame[1])).all()
    ids, _ = policy.tokenize(["pick up " * 1250])  # 10,000 characters fit: there are 32,768 positions
    assert 2000 < ids.shape[1] <= policy.config.max_prompt_tokens == 32768 - 512 - 64
    with pytest.raises(ObservationError, match=r"instruction of \d+ tokens: at most 32192 fit"):
        policy.prepare(frame[0], "pick up " * 17000, frame[1])


def test_long_and_foreign_instructions_with_the_word_list(tiny_policy: VlaAdapterPolicy) -> None:
    frame = ([np.zeros((112, 112, 3), np.uint8)] * 2, np.zeros(11))
    with pytest.raises(ObservationError, match=r"instruction of 2500 tokens: at most 410 fit"):
        tiny_policy.predict(frame[0], "red " * 2500, frame[1])
    assert tiny_policy.tokenizer.unknown_words("nimm den Würfel") == ("nimm", "den", "Würfel")
    assert np.isfinite(tiny_policy.predict(frame[0], "nimm den Würfel", frame[1])).all()
    with pytest.raises(ObservationError, match="not text"):
        tiny_policy.predict(frame[0], None, frame[1])  # type: ignore[arg-type]


def test_a_checkpoint_is_called_by_its_name_and_its_weights(tmp_path: Path) -> None:
    first = write_official(tmp_path / "lift")
    name = checkpoint_name(first)
    assert re.fullmatch(r"lift@[0-9a-f]{8}", name)
    assert checkpoint_name(Path(shutil.copytree(first, tmp_path / "copy" / "lift"))) == name
    (first / "README.md").write_text("what it is")
    assert checkpoint_name(first) == name
    head = next(first.glob("action_head*.pt"))
    weights = torch.load(head, weights_only=True)
    torch.save(weights, head)
    name, size = checkpoint_name(first), head.stat().st_size
    weights[list(weights)[len(weights) // 2]].view(-1)[0] += 1
    torch.save(weights, head)
    assert head.stat().st_size == size and checkpoint_name(first) != name
    for place, called in {
        "run7/checkpoints/step_00000500": "run7/step_00000500@",
        "run7/step_00000500": "run7/step_00000500@",
        "models--someone--lifter/snapshots/abc123": "lifter@",
    }.items():
        (tmp_path / place).mkdir(parents=True)
        assert checkpoint_name(tmp_path / place).startswith(called)


def test_a_shipped_checkpoint_is_found_by_its_name_unless_a_folder_here_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("franka_sim_tiny") == checkpoints_folder() / "franka_sim_tiny"
    assert Start("grounded_tiny").is_tiny
    (tmp_path / "franka_sim_tiny").mkdir()
    assert find_checkpoint("franka_sim_tiny") == tmp_path / "franka_sim_tiny"
    for other in ("", "checkpoints/franka_sim_tiny", "franka_sim_huge"):
        with pytest.raises(VlaAdapterError):
            find_checkpoint(other)


def test_the_checkpoint_that_decides_for_later_is_told_what_comes_before():
    policy = VlaAdapterPolicy.from_pretrained("franka_sim_tiny_delayed")
    assert policy.config.max_delay_rows == 4 and policy.config.committed_rows
    assert policy.contract is not None and policy.statistics is not None
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (112, 112, 3), np.uint8) for _ in range(2)]
    state = policy.statistics.proprio.mean
    rest = np.tile(np.append(state[:7], 1.0), (4, 1))
    moving = rest.copy()
    moving[:, 1] += 0.05 * np.arange(4)
    found = [policy.predict(images, "pick up the red cube", state, rows) for rows in (None, rest, moving)]
    assert np.abs(found[0] - found[1]).max() > 1e-3 and np.abs(found[1] - found[2]).max() > 1e-3
