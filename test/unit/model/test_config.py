from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from vla_adapter_ros.choices import HeadKind, Preset
from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model import VlaAdapter, config_from_dict, preset
from vla_adapter_ros.model.config_parts import OutputConfig
from vla_adapter_ros.model.language_model import LanguageModel


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", Preset.words())
@pytest.mark.parametrize("head", ["base", "pro", "dit"])
def test_json_round_trip(name: str, head: str) -> None:
    config = preset(name, head=head)
    assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_file_from_before_there_were_several_grippers() -> None:
    config = preset("tiny")
    data = config.to_dict()
    data["output"] = {"gripper_column": 7, "gripper_binarize": True, "gripper_invert": False}
    assert config_from_dict(data).output == OutputConfig((7,), gripper_binarize=True)
    data["output"]["gripper_column"] = "last"
    with pytest.raises(ModelConfigError, match=r"output.gripper_columns\[0\] = 'last'"):
        config_from_dict(data)


@pytest.mark.parametrize(
    ("head", "head_parameters"), [("base", 102_129_695), ("pro", 217_864_223)], ids=["base", "pro"]
)
def test_half_billion_has_the_published_sizes(head: str, head_parameters: int) -> None:
    config = preset("0.5b", action_dim=7, proprio_dim=8, head=head)
    with torch.device("meta"):
        network = VlaAdapter(config)
    assert count(network.vision_backbone.featurizer) == 303_230_976
    assert count(network.vision_backbone.fused_featurizer) == 427_680_704
    assert count(network.projector) == 27_552_000
    assert count(network.language_model) == 494_032_768
    assert count(network.action_queries) == 57_344
    assert count(network.action_head) == head_parameters
    assert count(network.proprio_projector) == 811_776
    assert count(network) == 1_252_553_792 + head_parameters + 811_776


@pytest.mark.parametrize("name", ["llama2-7b", "openvla-7b"])
@pytest.mark.parametrize(
    ("head", "head_parameters"),
    [("base", 2_802_810_919), ("pro", 4_950_818_855), ("dit", 8_795_602_951)],
    ids=["base", "pro", "dit"],
)
def test_seven_billion_sizes(name: str, head: str, head_parameters: int) -> None:
    """The towers are those of the 0.5B model; with its word head, OpenVLA has 7,541,237,184 parameters."""
    config = preset(name, action_dim=7, proprio_dim=8, head=head)
    with torch.device("meta"):
        network = VlaAdapter(config)
    assert count(network.vision_backbone) == 303_230_976 + 427_680_704
    assert count(network.projector) == 71_385_600
    assert count(network.language_model) == 6_607_605_760
    assert count(network.action_queries) == 262_144
    assert count(network.action_head) == head_parameters
    assert count(network.proprio_projector) == 16_818_176
    backbone = (network.vision_backbone, network.projector, network.language_model)
    word_head = config.llm.vocab_size * config.llm.hidden
    assert sum(map(count, backbone)) + word_head == 7_541_237_184
    assert len(network.action_head.model.blocks if head == "dit" else config.head_hidden_layers) == 32


def test_llama_layers_have_no_biases_and_their_own_norm() -> None:
    prismatic, openvla = preset("llama2-7b").llm, preset("openvla-7b").llm
    assert (prismatic.rms_norm_eps, openvla.rms_norm_eps) == (1e-5, 1e-6)
    for llm in (prismatic, openvla):
        with torch.device("meta"):
            model = LanguageModel(dataclasses.replace(llm, layers=1), "sdpa").model
        assert not any(name.endswith("bias") for name, _ in model.named_parameters())
        assert (
            model.norm.variance_epsilon
            == model.layers[0].input_layernorm.variance_epsilon
            == llm.rms_norm_eps
        )
        assert model.rotary_emb.config.rope_parameters["rope_theta"] == 1e4


@pytest.mark.parametrize(
    ("name", "head", "states", "task", "queries"),
    [
        ("tiny", "pro", 4, 98, 4),
        ("small", "pro", 4, 98, 4),
        ("0.5b", "pro", 25, 512, 64),
        pytest.param("0.5b", "dit", 25, 512, 64, marks=pytest.mark.slow),
        pytest.param("llama2-7b", "pro", 33, 512, 64, marks=pytest.mark.slow),
        pytest.param("openvla-7b", "base", 33, 512, 64, marks=pytest.mark.slow),
    ],
)
def test_runs_on_another_device(name: str, head: str, states: int, task: int, queries: int) -> None:
    """On the meta device: shapes at full size without memory, and no tensor left on the CPU by mistake."""
    config = preset(name, action_dim=7, proprio_dim=8, head=head)
    config = dataclasses.replace(config, head=dataclasses.replace(config.head, denoising_steps=1))
    with torch.device("meta"):
        network = VlaAdapter(config).train()
    size, channels, hidden = config.preprocessing.size, config.preprocessing.channels, config.llm.hidden
    ids = torch.zeros(1, 56, dtype=torch.long, device="meta")
    pixels = torch.zeros(1, 2, channels, size, size, device="meta")
    conditions = network.conditions(ids, None, pixels)
    assert conditions.task.shape == (1, states, task, hidden)
    assert conditions.action.shape == (1, states, queries, hidden)
    actions = network.head_actions(conditions, torch.zeros(1, 8, device="meta"))
    assert actions.shape == (1, 8, 7) and actions.device.type == "meta"
    loss = network.head_loss(conditions, torch.zeros(1, 8, device="meta"), actions)
    assert loss.shape == () and loss.dtype == torch.float32 and loss.device.type == "meta"


def test_tiny_is_tiny() -> None:
    config = preset("tiny")
    assert 1.2e6 < count(VlaAdapter(config)) < 1.8e6
    assert config.num_patches == config.num_task_tokens == 98
    assert preset("tiny", num_images=3).num_task_tokens == 147


def test_small_is_small() -> None:
    config = preset("small")
    assert 2.5e6 < count(VlaAdapter(config)) < 3.5e6
    assert config.num_patches == config.num_task_tokens == 98 and config.preprocessing.size == 112


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"token_order": "random"}, "token_order"),
        ({"attention": "flash"}, "attention"),
        ({"chunk": 0}, "chunk"),
        ({"vits": preset("0.5b").vits}, "vits"),
        ({"stem": None}, "vits"),
    ],
)
def test_bad_values_are_named(changes: dict, where: str) -> None:
    with pytest.raises(ModelConfigError, match=where):
        dataclasses.replace(preset("tiny"), **changes)


def test_head_may_not_be_deeper_than_the_language_model() -> None:
    config = preset("tiny")
    with pytest.raises(ModelConfigError, match=r"head\.blocks = 4"):
        dataclasses.replace(config, head=dataclasses.replace(config.head, blocks=4))


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(ModelConfigError, match=r"'7b'.*openvla-7b"):
        preset("7b")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gate": 1.5}, r"head\.gate = 1\.5"),
        ({"gate": -0.1}, r"head\.gate = -0\.1"),
        ({"kind": "mlp"}, r"head\.kind = 'mlp'.*dit"),
        ({"conditions": "none"}, r"head\.conditions = 'none'.*query"),
        ({"hidden_layers": (1, 2)}, r"head\.hidden_layers = \(1, 2\).*3 blocks"),
        ({"hidden_layers": (1, 2, 4)}, r"head\.hidden_layers.*0 to 3"),
        ({"denoising_steps": 0}, r"head\.denoising_steps = 0"),
    ],
)
def test_bad_head_settings_are_named(changes: dict, message: str) -> None:
    tiny = preset("tiny")
    with pytest.raises(ModelConfigError, match=message):
        dataclasses.replace(tiny, head=dataclasses.replace(tiny.head, **changes))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("head", "depth"), 3, "depth"),
        (("llm", "hidden"), "128", "llm.hidden"),
        (("format",), 99, "format"),
        (("stem", "channels"), 5, "channels"),
    ],
)
def test_bad_stored_data_is_refused(path: tuple[str, ...], value: object, message: str) -> None:
    data = json.loads(json.dumps(preset("tiny").to_dict()))
    node = data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(ModelConfigError, match=message):
        config_from_dict(data)


def test_all_errors_of_a_file_are_told_at_once() -> None:
    data = json.loads(json.dumps(preset("tiny").to_dict()))
    data["llm"]["hidden"] = "128"
    data["head"] |= {"blocks": 0, "kind": "mlp", "depth": 3}
    data["normalization"]["clip_proprio"] = 0
    data["preprocessing"]["stds"] = [[0.25, -0.25, float("inf")]]
    del data["num_queries"]
    with pytest.raises(ModelConfigError) as caught:
        config_from_dict(data)
    assert str(caught.value).splitlines()[:-1] == [
        "8 errors:",
        "  configuration = 'missing key': allowed is the key 'num_queries'",
        "  configuration.llm.hidden = '128': allowed is a whole number",
        "  configuration.head.kind = 'mlp': allowed is one of 'base', 'pro' or 'dit'",
        "  configuration.head.blocks = 0: allowed is at least 1",
        "  configuration.preprocessing.stds[0][1] = -0.25: allowed is more than 0",
        "  configuration.preprocessing.stds[0][2] = inf: allowed is a finite number",
        "  configuration.normalization.clip_proprio = 0: allowed is more than 0",
    ]
    assert "configuration.head = ['depth']: allowed is only these keys: kind, blocks" in str(caught.value)


def test_all_rules_that_are_broken_are_told_at_once() -> None:
    tiny = preset("tiny")
    head = dataclasses.replace(tiny.head, blocks=4, heads=5)
    output = OutputConfig((8,))
    with pytest.raises(ModelConfigError) as caught:
        dataclasses.replace(tiny, head=head, output=output)
    assert str(caught.value).splitlines() == [
        "3 errors:",
        "  configuration.head.blocks = 4: allowed is 1 to the number of language model layers, 3",
        "  configuration.head.heads = 5: allowed is a divisor of 128",
        "  configuration.output.gripper_columns = (8,): allowed is columns from -8 to 7",
    ]


def test_a_part_names_what_it_refuses() -> None:
    with pytest.raises(ModelConfigError, match=r"^head\.gate = 2: allowed is at most 1$"):
        dataclasses.replace(preset("tiny").head, gate=2)
    with pytest.raises(
        ModelConfigError, match=r"^output = \['gripper'\]: allowed is only these keys: gripper"
    ):
        OutputConfig(gripper=(7,))
    with pytest.raises(ModelConfigError, match=r"^output\.gripper_columns\[0\] = 'last': allowed is a whole"):
        OutputConfig(("last",))


def test_names_of_version_0_1_are_read() -> None:
    config = preset("tiny")
    config = dataclasses.replace(config, head=dataclasses.replace(config.head, hidden_layers=(2, 2, 2)))
    stored = json.loads(json.dumps(config.to_dict()))
    stored["head"]["levels"] = stored["head"].pop("hidden_layers")
    assert config_from_dict(stored) == config


def test_words_become_members_of_their_sets_and_are_stored_as_words() -> None:
    config = preset("tiny", head="dit")
    assert config.head.kind is HeadKind.DIT and not config.head.kind.is_bridge
    assert f"{config.head.kind} {config.head.kind!r}" == "dit 'dit'"
    stored = json.dumps(config.to_dict())
    assert '"kind": "dit"' in stored
    again = config_from_dict(json.loads(stored))
    assert again == config and again.head.kind is HeadKind.DIT


def test_missing_key_is_refused() -> None:
    data = preset("tiny").to_dict()
    del data["num_queries"]
    with pytest.raises(ModelConfigError, match="num_queries"):
        config_from_dict(data)
