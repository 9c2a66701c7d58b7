"""Imports point one way, and what is light stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "vla_adapter_ros"
ALLOWED = {  # room -> our rooms that it may import
    "contract": set(),
    "console": {"contract", "control", "dataset", "trials"},
    "control": {"contract"},
    "capsule": {"contract", "control", "observation"},
    "commissioning": {"contract", "control", "dataset", "observation", "recorder", "simulation"},
    "observation": {"contract"},
    "dataset": {"contract", "observation"},
    "recorder": {"capsule", "contract", "dataset", "observation"},
    "scene_check": {"contract", "dataset"},
    "trials": {"dataset"},
    "simulation": {"contract"},
    "teleop": {"commissioning", "contract", "control", "dataset"},
    "model": {"contract", "dataset"},
    "training": {"contract", "dataset", "model", "scene_check", "simulation"},
    "evaluation": {
        "contract",
        "control",
        "dataset",
        "model",
        "observation",
        "simulation",
        "training",
        "trials",
    },
    "harnesses": {"contract", "evaluation", "model"},
    "nodes": {
        "capsule",
        "commissioning",
        "console",
        "contract",
        "control",
        "dataset",
        "model",
        "observation",
        "recorder",
        "scene_check",
        "simulation",
        "teleop",
        "action",
        "msg",
        "srv",
    },
}
ALLOWED["benchmarks"] = {*ALLOWED, "action", "msg", "srv"}
ALLOWED["cli"] = {*ALLOWED, "action", "msg", "srv"}
# Files that every room may import.
SHARED = (
    "choices",
    "errors",
    "files",
    "html",
    "hub",
    "paths",
    "settings",
    "system_info",
    "texts",
    "untrusted",
)
FORBIDDEN = {  # room -> outside packages that it must not import
    "contract": {"torch", "rclpy"},
    "commissioning": {"torch", "rclpy"},
    "console": {"torch", "rclpy"},
    "control": {"torch", "rclpy"},
    "capsule": {"torch", "rclpy"},
    "dataset": {"torch", "rclpy"},
    "observation": {"torch", "rclpy"},
    "recorder": {"torch", "rclpy"},
    "scene_check": {"torch", "rclpy"},
    "simulation": {"torch", "rclpy"},
    "teleop": {"torch", "rclpy"},
    "trials": {"torch", "rclpy"},
    "model": {"rclpy"},
    "training": {"rclpy"},
    "evaluation": {"rclpy"},
    "harnesses": {"rclpy", "torch"},
    "nodes": set(),
    "benchmarks": set(),
    "cli": {"torch"},
}


TORCH = ("model", "training", "evaluation", "benchmarks")  # rooms that may import torch


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return names


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room):
    for path in (PACKAGE / room).rglob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "vla_adapter_ros" and len(parts) > 1 and parts[1] not in (*SHARED, room):
                assert parts[1] in ALLOWED[room], f"{path.name} imports {name}"
            assert parts[0] not in FORBIDDEN[room], f"{path.name} imports {name}"
            if parts[0] == "torch":
                assert room in TORCH or path.name == "policy_loading.py", f"{path.name} imports torch"


def test_the_data_of_a_training_does_not_know_its_loop():
    for path in (PACKAGE / "training" / "data").glob("*.py"):
        used = {name for name in imported(path) if name.startswith("vla_adapter_ros.training.")}
        others = {n for n in used if not n.startswith("vla_adapter_ros.training.data.")}
        known = {"vla_adapter_ros.training.settings", "vla_adapter_ros.training.setting_words"}
        assert others <= known, f"{path.name} imports {others}"


def test_every_folder_is_a_known_room():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(ALLOWED)


@pytest.mark.parametrize(
    ("rooms", "blocked"),
    [
        (
            (
                "capsule",
                "commissioning",
                "console",
                "contract",
                "control",
                "dataset",
                "observation",
                "recorder",
                "scene_check",
                "simulation",
                "teleop",
                "trials",
            ),
            ("rclpy", "torch"),
        ),
        (("model", "training", "evaluation"), ("rclpy",)),
    ],
)
def test_rooms_load_without(rooms, blocked):
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for room in rooms
        for path in sorted((PACKAGE / room).rglob("*.py"))
    ]
    code = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in blocked)
    code += "".join(f"import {module}\n" for module in modules)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("node", ["console", "controller", "recorder", "simulator", "teleop"])
def test_nodes_start_without_torch(node):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")
    code = f"import sys\nsys.modules['torch'] = None\nimport vla_adapter_ros.nodes.{node}\n"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert ended.returncode == 0, ended.stderr
