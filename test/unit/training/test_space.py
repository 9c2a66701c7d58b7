"""One training per output, and a disk that cannot be written to."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError
from training_samples import make_backbone, make_dataset

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.errors import CheckpointError, TrainingError
from vla_adapter_ros.evaluation.finetuning import finetune_and_evaluate
from vla_adapter_ros.model import checkpoint_writer
from vla_adapter_ros.training import state
from vla_adapter_ros.training.finetune import finetune
from vla_adapter_ros.training.starting import Start

SHORT = {"steps": 4, "batch_size": 4, "warmup_steps": 2, "progress": False, "save_every": 2, "pages": False}


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("start")
    return {"dataset": make_dataset(folder / "set", 4), "start": Start(make_backbone(folder / "tiny"))}


def test_a_run_that_has_finished_says_so_and_gives_its_result(start, tmp_path, capsys):
    settings = {**SHORT, "progress": True}
    made, _ = finetune_and_evaluate(output=tmp_path / "policy", **start, **settings)
    told = " ".join(capsys.readouterr().out.split())
    assert "starts from tiny, " in told and " million parameters, on " in told
    before = (tmp_path / "policy/training.json").read_bytes()
    again, _ = finetune_and_evaluate(output=tmp_path / "policy", resume=True, **start, **settings)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(
        f"{tmp_path / 'policy'} is finished: nothing is left to resume. To train on, take"
    )
    assert "instructions" in last and again.losses == pytest.approx(made.losses, rel=1e-4)
    with pytest.raises(TrainingError, match=r"differs from this one:\n  steps: 4 then, 6 now$"):
        finetune(output=tmp_path / "policy", resume=True, **start, **{**settings, "steps": 6})
    with pytest.raises(TrainingError, match="is there already: choose another output"):
        finetune(output=tmp_path / "policy", **start, **settings)
    assert (tmp_path / "policy/training.json").read_bytes() == before


HOLD = """
import sys, time
from pathlib import Path
from vla_adapter_ros.training.space import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_two_trainings_of_one_output_are_refused_until_the_first_is_gone(start, tmp_path, capsys):
    folder = tmp_path / "policy.training"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])})  # fmt: skip
    try:
        assert process.stdout.readline() == "held\n"
        for resume in (True, False):
            with pytest.raises(TrainingError, match="another training"):
                finetune(output=tmp_path / "policy", resume=resume, **start, **SHORT)
        arguments = ["--dataset", str(start["dataset"]), "--output", str(tmp_path / "policy"), "--resume"]
        assert main(["finetune", *arguments]) == 1
        assert "another training" in capsys.readouterr().err
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(finetune(output=tmp_path / "policy", resume=True, **start, **SHORT).losses) == 4


@pytest.mark.parametrize("error", [
    OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device"),
])  # fmt: skip
@pytest.mark.parametrize("module", [state, checkpoint_writer])
def test_a_full_disk_is_one_sentence_and_keeps_what_was_saved(start, tmp_path, monkeypatch, module, error):
    def full(tensors, path, metadata=None):
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises((TrainingError, CheckpointError), match="No space left") as caught:
        finetune(output=tmp_path / "policy", **start, **SHORT)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"half"]
    monkeypatch.undo()
    assert len(finetune(output=tmp_path / "policy", resume=True, **start, **SHORT).losses) == 4


def test_lists_and_results_that_are_none(start, tmp_path):
    folder = tmp_path / "policy.training"
    (folder / "checkpoints").mkdir(parents=True)
    for text in ("[" * 100_000, "[]", '{"held_out_loss": {"a": 1}}', '{"held_out_loss": {"1": "x"}}'):
        (folder / "checkpoints/checkpoints.json").write_text(text)
        with pytest.raises(TrainingError, match=r"checkpoints\.json"):
            finetune(output=tmp_path / "policy", **start, **SHORT)
    (tmp_path / "done").mkdir()
    for text in ("[" * 100_000, "[]", "{}", '{"report": []}'):
        (tmp_path / "done/training.json").write_text(text)
        with pytest.raises(TrainingError, match="no result"):
            finetune(output=tmp_path / "done", resume=True, **start, **SHORT)
