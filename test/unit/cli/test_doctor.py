"""`vla-adapter doctor` on this computer, and on one without torch and ROS: it says so, and goes on."""

from __future__ import annotations

import json
import subprocess
import sys

BARE = """
import sys
sys.modules["torch"] = sys.modules["rclpy"] = None  # neither can be imported
from vla_adapter_ros.cli.main import main
raise SystemExit(main(sys.argv[1:]))
"""


def doctor(code: str, *arguments: str) -> tuple[int, dict[str, dict], str]:
    command = [sys.executable, "-c", code, "doctor", "--json", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = json.loads(ended.stdout)
    return ended.returncode, {result["subject"]: result for result in found}, ended.stderr


def test_a_bare_computer_with_a_broken_contract_and_no_checkpoint_is_described_to_the_end(tmp_path):
    (tmp_path / "arm.yaml").write_text("name: arm\n")
    contract, checkpoint = str(tmp_path / "arm.yaml"), str(tmp_path / "nowhere")
    status, found, said = doctor(BARE, "--contract", contract, "--checkpoint", checkpoint)
    assert status == 2 and "Traceback" not in said
    for subject, words in (
        ("contract", "arm.yaml"),
        ("torch", "cannot be used"),
        ("checkpoint", "cannot be timed"),
        ("ROS 2", "rclpy cannot be used"),
    ):
        assert found[subject]["level"] == "fail" and words in found[subject]["text"], found[subject]
        assert found[subject]["advice"]
    assert {"Python", "processor", "memory", "clock", "real time"} <= set(found)


def test_a_checkpoint_that_is_none_is_a_line(monkeypatch, tmp_path):
    from vla_adapter_ros.cli.doctor import measure_speed

    assert "no checkpoint directory" in measure_speed(str(tmp_path / "nowhere"), "cpu", 4, None)
    (tmp_path / "model.safetensors").write_bytes(b"12345678")
    assert isinstance(measure_speed(str(tmp_path), "cpu", 4, None), str)
    assert "device" in measure_speed("", "cuda:77", 4, None)
