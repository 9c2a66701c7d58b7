"""A changed scene is told before the arm moves: by the policy node's answer, and by `vla-adapter scene`."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from bench import CONTRACT, HOME
from scene_pictures import room, seen

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.contract.enums import SceneCheck
from vla_adapter_ros.contract.safety import SceneLimits
from vla_adapter_ros.dataset.start_pose import start_pose, write_start_pose
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.live_frame import take_frame
from vla_adapter_ros.scene_check.reference import make_reference
from vla_adapter_ros.scene_check.store import write_references
from vla_adapter_ros.srv import Instruct

ROOM = room(2, (112, 112))
STATE = np.array([*HOME, 0.04, 0.5, 0.0, 0.2])  # of the bench's arm


@pytest.fixture(scope="module")
def checkpoint(random_checkpoint, tmp_path_factory):
    """A checkpoint whose demonstrations began in a room, with the bench's arm a little elsewhere."""
    folder = tmp_path_factory.mktemp("scene") / "policy"
    shutil.copytree(random_checkpoint, folder)
    views = [seen(ROOM, np.random.default_rng(i)) for i in range(8)]
    write_references(folder, dict.fromkeys(CONTRACT.camera_names, make_reference(views)))
    write_start_pose(folder, start_pose(np.stack([STATE - 0.05, STATE + 0.05]), CONTRACT.state_names))
    return folder


def see(bench, **shifts):
    for name in CONTRACT.camera_names:
        bench.pictures[name] = seen(ROOM, np.random.default_rng(30), shift=shifts.get(name, (0, 0)))


def instruct(bench, text):
    bench.run(0.3, "policy")
    return bench.call(Instruct, "instruct", Instruct.Request(instruction=text))


@pytest.mark.slow
@pytest.mark.parametrize("check", [SceneCheck.WARN, SceneCheck.REFUSE])
def test_an_instruction_in_a_changed_scene_is_told_so_or_refused(bench, graph, checkpoint, tmp_path, check):
    safety = dataclasses.replace(CONTRACT.safety, scene=SceneLimits(check=check))
    write_contract(dataclasses.replace(CONTRACT, safety=safety), tmp_path / "arm.yaml")
    parameters = {"use_sim_time": True, "lock_step": True, "require_controller": False}
    files = {"checkpoint": str(checkpoint), "contract": str(tmp_path / "arm.yaml")}
    graph([NodeSpec("policy", parameters | files)])
    bench.wait_for("policy")
    see(bench)
    same = instruct(bench, "pick up the red cube")
    assert same.accepted and "Warning" not in same.message
    assert instruct(bench, "").accepted

    see(bench, gripper=(7.0, -4.0))
    bench.joint_override = {"fr3_joint2": 0.3}
    changed = instruct(bench, "pick up the red cube")
    assert changed.accepted is (check is SceneCheck.WARN)
    assert (
        "this is not the scene of the demonstrations: camera gripper has moved: its image lies"
        in changed.message
    )
    assert "fr3_joint2 is at 0.300 rad; demonstrations began at -0.250 to -0.150 rad" in changed.message
    assert "third_view" not in changed.message and "`vla-adapter scene`" in changed.message
    if check is SceneCheck.WARN:  # at work: the arm has left its start
        assert "Warning" not in instruct(bench, "pick up the blue cube").message
    see(bench)
    bench.joint_override = {}
    assert instruct(bench, "").accepted
    assert "demonstrations" not in instruct(bench, "pick up the red cube").message


def test_the_command_looks_at_the_running_robot_once(bench, checkpoint, tmp_path, capsys):
    see(bench, third_view=(5.0, 0.0))
    ended: Future[int] = Future()
    words = ["scene", "--checkpoint", str(checkpoint), "--contract", "franka_sim", "--wait", "30", "--json"]
    words += ["--output", str(tmp_path / "scene.png")]

    def look() -> None:
        ended.set_result(int(main(words)))

    # Signals are for the main thread alone, where the command sets what SIGTERM does.
    thread = threading.Thread(target=look, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("signal.signal", lambda *_: None)
        thread.start()
        assert bench.run_until(ended.done)
    said = capsys.readouterr()
    assert ended.result() == 1 and said.out, said.err
    found = json.loads(said.out)
    assert found["cameras"]["third_view"]["verdict"] == "changed"
    assert found["cameras"]["third_view"]["shift_px"] == pytest.approx([5.0, 0.0], abs=1.0)
    assert found["cameras"]["gripper"]["verdict"] == found["start_pose"]["verdict"] == "same"
    assert (tmp_path / "scene.png").stat().st_size > 10_000


def test_a_silent_robot_is_told_by_its_streams():
    with pytest.raises(ObservationError, match=r"no frame within 2 s: .*third_view"):
        take_frame(CONTRACT, patience_s=2.0)
