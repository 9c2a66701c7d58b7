"""Values that make no sense are refused before anything starts: every numeric option of every command."""

from __future__ import annotations

import argparse
import os
import re
from types import SimpleNamespace

import pytest
from command_parsers import COMMANDS, needed

from vla_adapter_ros.cli.arguments import UsageError, number, whole
from vla_adapter_ros.cli.finetune_command import chosen_settings
from vla_adapter_ros.cli.main import STATUSES, _parser, main
from vla_adapter_ros.training.settings import make_settings, setting_fields


def is_number(action: argparse.Action) -> bool:
    try:
        return isinstance(action.type("10"), int | float)
    except (TypeError, argparse.ArgumentTypeError):
        return False


NUMBERS = [
    (words, action.option_strings[0])
    for words, parser in COMMANDS.items()
    for action in parser._actions
    if action.option_strings and is_number(action)
]


def parse(words, *more: str) -> argparse.Namespace:
    options = _parser().parse_args([*words, *needed(COMMANDS[words]), *more])
    if options.command == "finetune":
        chosen_settings(options)
    return options


def test_all_commands_are_looked_at():
    assert len(COMMANDS) >= 25 and len(NUMBERS) >= 60
    for words in COMMANDS:
        parse(words)


@pytest.mark.parametrize(
    ("words", "option"),
    NUMBERS,
    ids=lambda value: "-".join([value] if isinstance(value, str) else value).strip("-"),
)
def test_numbers_that_make_no_sense(words, option, capsys):
    for value in ("nan", "-5", "inf", "many", ""):
        with pytest.raises((SystemExit, UsageError)) as caught:
            parse(words, option, value)
        if isinstance(caught.value, SystemExit):
            assert caught.value.code == 2
            assert f"argument {option}" in capsys.readouterr().err
        else:
            assert "allowed is" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "option", "value"),
    [
        (("demo",), "--episodes", "0"),
        (("collect-demos",), "--episodes", "0"),
        (("demo",), "--seed", str(2**32)),
        (("finetune",), "--steps", "0"),
        (("finetune",), "--lr", "0"),
        (("finetune",), "--holdout", "1"),
        (("finetune",), "--ema-decay", "1.5"),
        (("finetune",), "--batch-size", "0"),
        (("finetune",), "--gradient-accumulation-steps", "3"),
        (("finetune",), "--memory", "24"),
        (("evaluate", "closed-loop"), "--longest", "0"),
        (("benchmark", "jitter"), "--busy", "3"),
        (("dataset", "replay"), "--speed", "0"),
        (("evaluate", "closed-loop"), "--speed", "0.05"),
        (("bringup",), "--speed", "2"),
        (("dataset", "import-bag"), "--crf", "64"),
    ],
)
def test_zeros_and_numbers_that_are_too_large(words, option, value):
    with pytest.raises((SystemExit, UsageError)):
        parse(words, option, value)


def test_what_is_allowed_is_said():
    assert whole(1)("3") == 3 and number(0, 20)("0.5") == 0.5 and number()("0") == 0.0
    for kind, text, allowed in (
        (whole(1), "0", "a whole number from 1"),
        (whole(0, 63), "64", "a whole number from 0 to 63"),
        (number(0.05, 20), "0", "a number from 0.05 to 20"),
        (number(above=True), "0", "a number above 0"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}': allowed is {allowed}$"):
            kind(text)


def test_arguments_that_do_not_fit_together_end_with_status_2(tmp_path, capsys):
    words = ["finetune", "--dataset", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main([*words, "--batch-size", "32", "--gradient-accumulation-steps", "3"]) == 2
    assert (
        "vla-adapter finetune: error: batch_size = 32: allowed is a multiple of 3" in capsys.readouterr().err
    )
    for start in ([], ["--preset", "tiny"], ["--init", "vla_adapter_ros/checkpoints/grounded_tiny"]):
        assert main([*words, "--memory", "24", *start]) == 2
        assert "the published model, and this trains the tiny one" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_moving_the_leader_means_nothing_without_the_robot(capsys):
    assert main(["contract", "check", "franka_sim", "--move-leader"]) == 2
    assert "--move-leader: allowed is with --live" in capsys.readouterr().err


def test_every_setting_of_fine_tuning_has_an_option_with_a_text(capsys):
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    shown = capsys.readouterr().out
    options = {name: f"--{name.replace('_', '-')}" for name in setting_fields()}
    for name, field in setting_fields().items():
        assert f"{options[name]} " in shown or f"{options[name]}," in shown
        assert field.description.split()[0] in shown
    given = {name: value for name, value in OTHER_SETTINGS.items() if value is not None}
    words = [word for name, value in given.items() for word in (options[name], *value.split())]
    fields = setting_fields()
    flags = {name: options[name] for name in set(OTHER_SETTINGS) - set(given)}
    other = [flag.replace("--", "--no-" if fields[name].default else "--", 1) for name, flag in flags.items()]
    parsed = parse(("finetune",), *words, *other)
    chosen = make_settings(seed=parsed.seed, **chosen_settings(parsed))
    plain = make_settings(**chosen_settings(parse(("finetune",))))
    assert [name for name in options if getattr(chosen, name) == getattr(plain, name)] == ["master_weights"]
    # An average of the weights, which is asked for above, needs them.
    assert not chosen_settings(parse(("finetune",), "--no-master-weights"))["master_weights"]


OTHER_SETTINGS = {  # another value than the default for each setting; None: a flag
    "steps": "7", "batch_size": "6", "gradient_accumulation_steps": "2", "lr": "0.5",
    "backbone_lr_factor": "0.5", "lora_rank": "2", "lora_alpha": "3", "lora_dropout": "0.1",
    "lora_targets": "used-linear", "freeze": "action_head", "warmup_steps": "1", "schedule": "constant",
    "final_lr": "0.1", "weight_decay": "0.1", "grad_clip_norm": "2", "ema_decay": "0.5",
    "precision": "bf16", "frozen_bf16": None, "gradient_checkpointing": None, "compile": None,
    "waypoint_weight": "0.1", "state_noise": "0.1", "augmentation": "none", "gain": "0.1",
    "head": "base", "chunk": "5", "queries": "2", "conditions": "raw", "condition_layers": "last",
    "bridge": "all_query", "rope_tables": "bf16", "decay_matrices_only": None, "adam_beta2": "0.9",
    "scale_grippers": None,
    "gate": "per-head", "max_delay_rows": "2", "committed_rows": None, "relative_rows": None,
    "image_cache": "decoded", "offset": "0.1", "padding": "drop", "idle_threshold": "0.1",
    "source_weights": "policy=1",
    "intervention_weight": "5", "outcome": "success", "workers": "1",
    "holdout": "0.1", "seed": "3", "save_every": "3", "save_total_limit": "1",
    "evaluate_every": "3", "load_best": None,
}  # fmt: skip


def test_options_that_mean_nothing_are_not_there(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["collect-demos", "--checkpoint", "nope"])
    assert caught.value.code == 2 and "--checkpoint" in capsys.readouterr().err


def test_the_help_lists_every_status(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert STATUSES in capsys.readouterr().out
    assert [line.split()[0] for line in STATUSES.splitlines()[1:]] == ["0", "1", "2", "3", "130"]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (words, action.option_strings[0])
        for words, parser in COMMANDS.items()
        for action in parser._actions
        if {"--json", "--html", "--plot", "--pictures"} & {*action.option_strings} and action.nargs != 0
    ],
    ids=lambda value: "-".join([value] if isinstance(value, str) else value).strip("-"),
)
def test_outputs_that_cannot_be_written_are_refused_before_the_work(words, option, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    wrong = [tmp_path / "file" / "out", tmp_path / "file" if option == "--pictures" else tmp_path]
    for path in wrong:
        with pytest.raises(SystemExit) as caught:
            parse(words, option, str(path))
        assert caught.value.code == 2
        told = capsys.readouterr().err
        assert f"argument {option}: " in told and re.search("allowed is a (file|folder)", told)
    parse(words, option, str(tmp_path / "new" / "out"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, capsys):
    tmp_path.chmod(0o500)
    with pytest.raises(SystemExit):
        parse(("pretrain-grounding",), "--output", str(tmp_path / "out"))
    assert "cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize(("processes", "status"), [("1", 3), ("2", 0)])
def test_a_language_blind_policy_is_status_3_but_never_a_crash_of_a_launcher(monkeypatch, processes, status):
    from vla_adapter_ros.evaluation import finetuning

    report = SimpleNamespace(exit_status=3)
    monkeypatch.setattr(finetuning, "finetune_and_evaluate", lambda *_, **__: (None, report))
    monkeypatch.setenv("WORLD_SIZE", processes)
    assert main(["finetune", "--dataset", "x", "--output", "y"]) == status


def test_memory_without_a_gpu_is_refused_unless_the_cpu_is_named(monkeypatch, capsys):
    from vla_adapter_ros.evaluation import finetuning

    begun = []
    result = (None, SimpleNamespace(exit_status=0))
    monkeypatch.setattr(
        finetuning, "finetune_and_evaluate", lambda *_, **given: begun.append(given) or result
    )
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    words = ["finetune", "--dataset", "x", "--output", "y", "--memory", "24", "--init", "prismatic"]
    assert main(words) == 1 and not begun
    assert "--memory 24 is for a GPU, and torch sees none" in capsys.readouterr().err
    assert main([*words, "--device", "cpu"]) == 0
    assert (begun[0]["lora_rank"], begun[0]["batch_size"], begun[0]["device"]) == (64, 16, "cpu")


def test_every_command_with_a_device_takes_the_gpu_where_there_is_one():
    found = {words: parse(words).device for words in COMMANDS if "device" in vars(parse(words))}
    assert set(found.values()) == {"auto"} and len(found) >= 6, found


@pytest.mark.parametrize(
    ("option", "text", "read"),
    [
        ("--lora-targets", "q_proj,v_proj", ("q_proj", "v_proj")),
        ("--lora-targets", "q_proj, v_proj", ("q_proj", "v_proj")),
        ("--lora-targets", "q_proj", ("q_proj",)),
        ("--lora-targets", "used-linear", "used-linear"),
        ("--source-weights", "human=1, policy = 0.2", (0.0, 1.0, 0.2)),
    ],
)
def test_blanks_beside_commas_mean_nothing(option, text, read):
    assert chosen_settings(parse(("finetune",), option, text))[option[2:].replace("-", "_")] == read


def test_episodes_may_have_blanks_beside_commas():
    from vla_adapter_ros.evaluation.open_loop import pick_episodes

    assert pick_episodes("0:2, 5", 9) == pick_episodes("0:2,5", 9) == [0, 1, 5]


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if "device" in vars(parse(words)) and words != ("bringup",)],
    ids="-".join,
)  # fmt: skip
def test_a_gpu_that_is_not_there_is_one_sentence(words, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for device in ("cuda", "cuda:0", "gpu", ""):
        assert main([*words, *needed(COMMANDS[words]), "--device", device]) == 2
        assert f"device = {device!r}: allowed is auto or cpu" in capsys.readouterr().err
