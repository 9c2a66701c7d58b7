"""Official checkpoints as they come: what is read, what must be said, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.errors import CheckpointError, ModelConfigError, StatisticsError
from vla_adapter_ros.model import Statistics, VlaAdapter, VlaAdapterPolicy
from vla_adapter_ros.model.config_presets import preset
from vla_adapter_ros.model.official import PLATFORMS
from vla_adapter_ros.model.official_conversion import convert
from vla_adapter_ros.model.official_files import fitting_platforms, official_differences

from .official_sample import official_config, official_policy, two_arm_contract, write_official

IMAGES = [np.random.default_rng(i).integers(0, 256, (224, 224, 3), dtype=np.uint8) for i in range(2)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official(tmp_path_factory.mktemp("written") / "official")


@pytest.fixture
def folder(tmp_path: Path, written: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "official"))


def load(folder: Path, **options: Any) -> VlaAdapterPolicy:
    return VlaAdapterPolicy.from_pretrained(folder, **{"platform": "libero", **options})


def edit(path: Path, change: Any) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def reshape_head(folder: Path, change: Any, name: str = "action_head--checkpoint.pt") -> None:
    state = torch.load(folder / name, weights_only=True)
    change(state)
    torch.save(state, folder / name)


@pytest.mark.parametrize("head", ["base", "pro"])
def test_everything_comes_from_files_weights_and_platform(tmp_path: Path, head: str) -> None:
    config = load(write_official(tmp_path, head)).config
    expected = official_config(head)
    assert config.head == expected.head and config.vits == expected.vits and config.llm == expected.llm
    assert (config.chunk, config.num_images, config.num_queries, config.num_task_tokens) == (8, 2, 64, 512)
    assert config.preprocessing.rotate_180 and config.preprocessing.jpeg_round_trip
    assert config.preprocessing.center_crop == 0.9
    assert not config.output.gripper_binarize and not config.output.gripper_invert


def test_the_platform_is_never_guessed(folder: Path) -> None:
    named = folder.rename(folder.with_name("libero_spatial"))
    edit(named / "dataset_statistics.json", lambda d: d.update(libero_spatial=d.pop("drawer")))
    with pytest.raises(CheckpointError, match=r"'libero', 'calvin', 'aloha', 'bridge'.*convert --platform"):
        VlaAdapterPolicy.from_pretrained(named)
    with pytest.raises(CheckpointError, match="'libero_spatial' is unknown"):
        load(named, platform="libero_spatial")


def test_platforms_differ_in_what_is_not_stored(folder: Path) -> None:
    calvin = load(folder, platform="calvin").config
    assert not calvin.preprocessing.rotate_180 and calvin.chunk == 8
    with pytest.raises(CheckpointError, match=r"action is 7 wide, that of platform 'aloha' is 14"):
        load(folder, platform="aloha")
    with pytest.raises(CheckpointError, match=r"proprioception is 8 wide, that of platform 'bridge' is 7"):
        load(folder, platform="bridge")
    assert {name: p.chunk for name, p in PLATFORMS.items()} == {
        "libero": 8, "calvin": 8, "aloha": 25, "bridge": 5,
    }  # fmt: skip


def test_aloha_has_two_grippers(tmp_path: Path) -> None:
    pytest.importorskip(
        "simplejpeg", reason="the official JPEG step needs simplejpeg: pip install simplejpeg"
    )
    folder = write_official(tmp_path / "official", "base", "aloha")
    images, state = [IMAGES[0]] * 3, np.zeros(14)
    plain = load(folder, platform="aloha")
    before = plain.predict(images, "lift it?", state)
    assert before.shape == (25, 14) and plain.config.output.gripper_columns == (6, 13)
    binary = load(folder, platform="aloha", preprocessing={"gripper_binarize": True})
    after = binary.predict(images, "lift it?", state)
    grippers, arms = [6, 13], [n for n in range(14) if n not in (6, 13)]
    np.testing.assert_array_equal(after[:, grippers], np.sign(2 * before[:, grippers] - 1))
    np.testing.assert_array_equal(after[:, arms], before[:, arms])
    robot = two_arm_contract()
    convert(
        folder, tmp_path / "ours", platform="aloha", contract=robot, preprocessing={"gripper_binarize": True}
    )
    ours = VlaAdapterPolicy.from_pretrained(tmp_path / "ours")
    assert ours.contract == robot and ours.config == binary.config
    swapped = replace(robot, grippers=robot.grippers[:1])
    with pytest.raises(
        CheckpointError, match=r"grippers in the columns \[6\], gripper_columns are \[6, 13\]"
    ):
        convert(
            folder,
            tmp_path / "no",
            platform="aloha",
            contract=swapped,
            preprocessing={"gripper_binarize": True},
        )


def test_a_checkpoint_of_ours_takes_no_platform(tmp_path: Path) -> None:
    official_policy().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="'libero' is only for official ones"):
        load(tmp_path)


def test_libero_images_are_turned_first(folder: Path) -> None:
    turned = [np.ascontiguousarray(image[::-1, ::-1]) for image in IMAGES]
    plain = load(folder, preprocessing={"rotate_180": False})
    expected = plain.predict(turned, "lift it?", np.zeros(8))
    np.testing.assert_array_equal(load(folder).predict(IMAGES, "lift it?", np.zeros(8)), expected)
    assert np.abs(plain.predict(IMAGES, "lift it?", np.zeros(8)) - expected).max() > 1e-6


def test_the_turn_comes_before_jpeg_and_resize(folder: Path) -> None:
    pytest.importorskip(
        "simplejpeg", reason="the official JPEG step needs simplejpeg: pip install simplejpeg"
    )
    image = np.random.default_rng(5).integers(0, 256, (96, 130, 3), dtype=np.uint8)
    plain, turned = load(folder, preprocessing={"rotate_180": False}), load(folder)
    np.testing.assert_array_equal(
        turned.resize_images(image), plain.resize_images(np.ascontiguousarray(image[::-1, ::-1]))
    )


def test_single_settings_can_be_changed_and_are_saved(folder: Path, tmp_path: Path) -> None:
    changes = {
        "center_crop": False, "jpeg_round_trip": False, "rotate_180": False, "resize": "area",
        "gripper_binarize": True, "gripper_invert": True, "gripper_columns": [6], "num_images": 1,
    }  # fmt: skip
    policy = load(folder, preprocessing=changes)
    pre, output = policy.config.preprocessing, policy.config.output
    assert (pre.center_crop, pre.jpeg_round_trip, pre.rotate_180, pre.resize) == (1.0, False, False, "area")
    assert output.gripper_binarize and output.gripper_invert and output.gripper_columns == (6,)
    actions = policy.predict(IMAGES[:1], "lift it?", np.zeros(8))
    assert set(np.abs(actions[:, 6])) == {1.0}
    policy.save_pretrained(tmp_path / "ours", dtype=torch.float32)
    again = VlaAdapterPolicy.from_pretrained(tmp_path / "ours")
    assert again.config == policy.config
    np.testing.assert_array_equal(again.predict(IMAGES[:1], "lift it?", np.zeros(8)), actions)
    back = VlaAdapterPolicy.from_pretrained(
        tmp_path / "ours", preprocessing={"gripper_binarize": False, "gripper_invert": False}
    )
    plain = back.predict(IMAGES[:1], "lift it?", np.zeros(8))
    np.testing.assert_array_equal(np.where(plain[:, 6] > 0.5, -1.0, 1.0), actions[:, 6])
    np.testing.assert_array_equal(plain[:, :6], actions[:, :6])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_center": True}, "'crop_center' is unknown: allowed are .*'center_crop'"),
        ({"center_crop": 1.5}, "allowed is at most 1"),
        ({"center_crop": "yes"}, "center_crop = 'yes'"),
        ({"rotate_180": 1}, "rotate_180 = 1: allowed is true or false"),
        ({"resize": "nearest"}, "lanczos3"),
        ({"num_images": 4}, r"one of \[1, 2, 3\]"),
        ({"num_images": True}, r"one of \[1, 2, 3\]"),
        ({"gripper_columns": [7]}, "-7 to 6"),
        ({"gripper_columns": "last"}, "list of whole numbers"),
        ({"gripper_column": 6}, "'gripper_column' is unknown: allowed are .*'gripper_columns'"),
        (["rotate_180"], "a mapping"),
    ],
)
def test_overrides_that_are_not_allowed(folder: Path, changes: Any, message: str) -> None:
    with pytest.raises(ModelConfigError, match=message):
        load(folder, preprocessing=changes)


def test_the_number_of_images_is_fixed_in_ours(tmp_path: Path) -> None:
    official_policy().save_pretrained(tmp_path)
    with pytest.raises(ModelConfigError, match="official checkpoint only"):
        VlaAdapterPolicy.from_pretrained(tmp_path, preprocessing={"num_images": 1})


@pytest.mark.parametrize("images", [1, 2, 3])
def test_one_to_three_images(folder: Path, images: int) -> None:
    policy = load(folder, preprocessing={"num_images": images})
    assert policy.config.num_task_tokens == 512  # whatever the number of images
    actions = policy.predict((IMAGES * 2)[:images], "lift it?", np.zeros(8))
    assert actions.shape == (8, 7) and np.isfinite(actions).all()


def same(folder: Path, **options: Any) -> bool:
    ours, theirs = load(folder, **options).network.state_dict(), official_policy().network.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_names_with_and_without_prefix_step_and_word_head(folder: Path) -> None:
    for name in ("action_head", "proprio_projector"):
        reshape_head(
            folder,
            lambda s: s.update({k.removeprefix("module."): s.pop(k) for k in list(s)}),
            f"{name}--checkpoint.pt",
        )
        (folder / f"{name}--checkpoint.pt").rename(folder / f"{name}--5000_checkpoint.pt")
    weights = load_file(folder / "model.safetensors")
    weights["language_model.lm_head.weight"] = weights["language_model.model.embed_tokens.weight"].clone()
    save_file(weights, folder / "model.safetensors")
    assert same(folder)


def shard(folder: Path) -> Path:
    """Spread the weights over two files with an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    placed = {key: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, key in enumerate(sorted(weights))}
    for name in set(placed.values()):
        save_file({key: weights[key] for key in weights if placed[key] == name}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return index


def test_shards(folder: Path, tmp_path: Path) -> None:
    shard(folder)
    assert same(folder)
    load(folder).save_pretrained(folder)  # over the shards, which must not stay behind
    assert not list(folder.glob("model-*")) and not list(folder.glob("*.index.json"))
    VlaAdapterPolicy.from_pretrained(folder)


def move_key(data: dict) -> None:
    data["weight_map"]["projector.fc1.weight"] = data["weight_map"]["projector.fc1.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["weight_map"].update(more="model-00003-of-00003.safetensors"), "00003.* is missing"),
        (lambda d: d["weight_map"].update(more="model-00001-of-00002.safetensors"), r"lacks \['more'\]"),
        (move_key, "projector.fc1.weight"),
        (lambda d: d["weight_map"].update(more="../model-00001-of-00002.safetensors"), "same folder"),
        (lambda d: d["weight_map"].update(more="/etc/passwd"), "same folder"),
        (lambda d: d.pop("weight_map"), "no index"),
        (lambda d: d["weight_map"].clear(), "names no tensor"),
    ],
)
def test_bad_shards_are_refused(folder: Path, change: Any, message: str) -> None:
    edit(shard(folder), change)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_a_single_file_beside_shards_is_refused(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    shard(folder)
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="both"):
        load(folder)


def test_code_backups_and_adapters_are_not_looked_at(folder: Path, tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\nraise RuntimeError\n"
    for name in ("modeling_prismatic.py", "configuration_prismatic.py", "__init__.py"):
        (folder / name).write_text(trap)
    (folder / "config.json.back.20251013_120000").write_text("{")
    (folder / "lora_adapter").mkdir()
    (folder / "lora_adapter" / "adapter_model.safetensors").write_bytes(b"no weights")
    assert same(folder) and not (tmp_path / "ran").exists()


def test_processor_file_without_the_rounded_numbers(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    edit(path, lambda d: (d.pop("tvf_normalize_params"), d.update(means=[[0.485, 0.456, 0.406], [0.5] * 3])))
    assert load(folder).config.preprocessing.means[0] == (0.485, 0.456, 0.406)
    edit(path, lambda d: [d.pop(key) for key in list(d) if key not in ("means", "stds")])
    assert load(folder).config.preprocessing.stds[1] == (0.5, 0.5, 0.5)
    for change, message in (
        (lambda d: d.update(stds=[[0.0] * 3] * 2), "above 0"),
        (lambda d: d.update(means=[[0.5] * 3], stds=[[0.5] * 3]), "per tower"),
        (lambda d: d.update(means=[["a"] * 3] * 2), "mean and standard deviation"),
        (lambda d: d.pop("means"), "means"),
    ):
        edit(path, change)
        with pytest.raises(CheckpointError, match=message):
            load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["text_config"].update(num_hidden_layers=23),
            "config.json has 23 layers, the weights 24",
        ),
        (lambda d: d["text_config"].update(model_type="llama"), "only 'qwen2'"),
        (lambda d: d.pop("text_config"), "text_config"),
        (lambda d: d.update(timm_model_ids=["vit_large_patch14_clip_224"] * 2), "supported are"),
        (lambda d: d.update(image_sizes=[384, 384]), "image size 384"),
        (lambda d: d.update(timm_model_kwargs=[{"patch_size": 16}, {}]), "unknown settings"),
        (lambda d: d.update(timm_model_kwargs=[{}]), "timm_model_kwargs"),
        (lambda d: d["text_config"].update(hidden_size=32), "of another shape"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder: Path, change: Any, message: str) -> None:
    edit(folder / "config.json", change)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_number_of_queries_and_blocks_come_from_the_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["action_queries.weight"] = weights["action_queries.weight"][:16].clone()
    save_file(weights, folder / "model.safetensors")
    last = "module.model.mlp_resnet_blocks.23."
    reshape_head(folder, lambda s: [s.pop(key) for key in list(s) if key.startswith(last)])
    config = load(folder).config
    assert (config.num_queries, config.head.blocks) == (16, 23)
    middle = "module.model.mlp_resnet_blocks.7."
    reshape_head(folder, lambda s: [s.pop(key) for key in list(s) if key.startswith(middle)])
    with pytest.raises(CheckpointError, match="blocks of the policy head are numbered"):
        load(folder)


def test_a_head_of_neither_kind_is_refused(folder: Path) -> None:
    reshape_head(folder, lambda s: [s.pop(key) for key in list(s) if ".k_" in key])
    with pytest.raises(CheckpointError, match="base or pro"):
        load(folder)


def test_one_of_several_statistics(folder: Path) -> None:
    edit(folder / "dataset_statistics.json", lambda d: d.update(other=d["drawer"]))
    with pytest.raises(StatisticsError, match=r"\['drawer', 'other'\]"):
        load(folder)
    assert load(folder, statistics_name="other").statistics.name == "other"


def test_what_the_published_code_could_run() -> None:
    config = official_config()
    assert official_differences(config) == [] and fitting_platforms(config) == ["libero", "calvin"]
    assert official_differences(preset("0.5b", head="base")) == []
    three = official_differences(preset("0.5b", num_images=3, head="base"))
    assert three == ["num_task_tokens = 768, not 512"]
    pro = preset("0.5b")
    assert official_differences(pro) == [
        "head.rope_tables = 'fp32', not 'bf16', in which the published code runs"
    ]
    assert official_differences(replace(pro, head=replace(pro.head, rope_tables="bf16"))) == []
    assert len(official_differences(preset("tiny"))) > 5


def write_edited(folder: Path, head: str = "pro") -> Path:
    """A checkpoint of the published code with other constants: one arm in the form of ALOHA's."""
    policy = official_policy(head)
    config = replace(policy.config, name="edited", action_dim=7, proprio_dim=14, chunk=10)
    torch.manual_seed(1)
    network = VlaAdapter(config).bfloat16().float().eval()
    ranges = {"min": -2.0, "max": 3.0, "q01": -1.0, "q99": 1.0, "mean": 0.0, "std": 0.5}
    entry = {
        part: {name: [value] * width for name, value in ranges.items()}
        for part, width in (("action", 7), ("proprio", 14))
    }
    statistics = Statistics.from_dict("drawer", entry)
    VlaAdapterPolicy(network, config, policy.tokenizer, statistics).save_pretrained(folder)
    (folder / "vla_adapter.json").unlink()
    return folder


EDITED = {"action_dim": 7, "proprio_dim": 14, "chunk": 10, "normalization": "min_max"}


@pytest.mark.parametrize("platform", list(PLATFORMS))
def test_edited_constants_are_given_one_by_one(tmp_path: Path, platform: str) -> None:
    folder = write_edited(tmp_path / "edited")
    policy = load(folder, platform=platform, preprocessing={**EDITED, "num_images": 2})
    config = policy.config
    assert (config.chunk, config.action_dim, config.proprio_dim, config.num_images) == (10, 7, 14, 2)
    assert config.normalization.action == config.normalization.proprio == "min_max"
    assert all(-1 <= column < 7 for column in config.output.gripper_columns)
    images, state = [IMAGES[0]] * 2, np.linspace(-2, 3, 14)
    actions = policy.predict(images, "lift it?", state)
    assert actions.shape == (10, 7)
    np.testing.assert_allclose(policy.normalize_proprio(state), np.linspace(-1, 1, 14), atol=1e-6)
    quantiles = load(
        folder, platform=platform, preprocessing={**EDITED, "num_images": 2, "normalization": "q01_q99"}
    )
    middle = np.zeros(14)
    assert (
        np.abs(
            quantiles.predict(images, "lift it?", middle) - policy.predict(images, "lift it?", middle)
        ).max()
        > 0.1
    )
    policy.save_pretrained(tmp_path / "ours", dtype=torch.float32)
    again = VlaAdapterPolicy.from_pretrained(tmp_path / "ours")
    assert again.config == config
    np.testing.assert_array_equal(again.predict(images, "lift it?", state), actions)


def test_without_them_the_message_says_what_to_set(tmp_path: Path) -> None:
    folder = write_edited(tmp_path / "edited")
    with pytest.raises(CheckpointError, match=r"proprioception is 14 wide.*edited.*set proprio_dim=14"):
        load(folder)
    with pytest.raises(CheckpointError, match=r"action is 7 wide.*edited.*set action_dim=7"):
        load(folder, platform="aloha")
    with pytest.raises(
        CheckpointError, match="the weights' action is 7 wide, that of platform 'libero' is 9"
    ):
        load(folder, preprocessing={**EDITED, "action_dim": 9})


@pytest.mark.parametrize(
    ("key", "value"),
    [("chunk", 0), ("chunk", 2.5), ("chunk", True), ("action_dim", "7"), ("normalization", "mean_std")],
)
def test_constants_that_make_no_sense_are_refused(folder: Path, key: str, value: object) -> None:
    with pytest.raises(ModelConfigError, match=rf"preprocessing.{key} = .*: allowed is "):
        load(folder, preprocessing={key: value})


def test_a_checkpoint_of_ours_has_its_own_constants(tmp_path: Path) -> None:
    official_policy().save_pretrained(tmp_path)
    with pytest.raises(ModelConfigError, match=r"chunk = 10: .*official checkpoint only"):
        VlaAdapterPolicy.from_pretrained(tmp_path, preprocessing={"chunk": 10})


def test_edited_constants_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write_edited(tmp_path / "edited")
    given = [word for key, value in EDITED.items() for word in ("--set", f"{key}={value}")]
    words = [str(folder), "--platform", "libero"]
    assert main(["checkpoint", "verify", *words, *given]) == 0
    assert "10 x 7 actions" in capsys.readouterr().out
    assert main(["checkpoint", "info", *words, *given]) == 0
    assert "min_max" in capsys.readouterr().out
    assert main(["checkpoint", "info", str(folder), "--set", "chunk=3"]) == 2
