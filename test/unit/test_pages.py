"""README and docs/: generated parts are those of the code, commands parse, links lead somewhere."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import page_commands
import pytest
import reference
import yaml
from page_commands import ROOT, Command

from vla_adapter_ros.contract.read import parse_contract

PAGES = page_commands.pages()
COMMANDS = sorted({c for c in page_commands.commands()}, key=lambda c: (c.page, c.text, c.whole))
RUN = [block for block in page_commands.blocks() if block.run]
LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\(([^)\s]+)\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", reference.pages(), ids=name)
def test_generated_parts_are_as_the_code_says(page):
    text = page.read_text(encoding="utf-8")
    assert reference.rendered(text) == text, "make reference"


def test_generated_files_are_as_the_code_says():
    for file, make in reference.FILES.items():
        assert file.read_text(encoding="utf-8") == make(), "make reference"


def test_every_region_stands_on_a_page():
    found = {names[1] for page in reference.pages() for names in reference.REGION.findall(page.read_text())}
    assert found == set(reference.REGIONS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.page}: {c.text[:70]}")
def test_commands_on_pages_are_understood(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert page_commands.problem(command) == ""


@pytest.mark.parametrize(
    "text",
    [
        "vla-adapter dataset view x --no-such 1", "vla-adapter evaluate --jobs 2", "vla-adapter finetune",
        "vla-adapter demo --episodes 0", "make no-such-target", "make demo DEMO_ARGS='--no-such'",
        "ros2 launch vla_adapter_ros bringup.launch.py simulated:=true",
        "ros2 launch vla_adapter_ros bringup.launch.py mode:=fast",
        "ros2 service call /instruct vla_adapter_ros/srv/Instruct \"{text: 'x'}\"",
    ],
)  # fmt: skip
def test_commands_that_do_not_exist_are_found(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert page_commands.problem(Command("page", text, True)) != ""


def test_options_that_sentences_name_exist():
    known = page_commands.all_options()
    found = list(page_commands.named_options())
    assert len(found) > 50
    assert [entry for entry in found if entry[1] not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page):
    text = page_commands.BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{target}: no such file"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{target}: no such heading"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", page_commands.BLOCK.sub("", page.read_text(encoding="utf-8")), re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


def test_files_that_pages_name_exist():
    folders = {
        path.name for place in (ROOT, ROOT / "vla_adapter_ros") for path in place.iterdir() if path.is_dir()
    }
    folders -= {"out", "site", "build", "install", "log"}
    gone, found = [], 0
    for page in PAGES:
        text = page_commands.BLOCK.sub("", page.read_text(encoding="utf-8"))
        for path in re.findall(r"`([a-z_]+/[\w./-]*)`", text):
            if path.split("/")[0] in folders:
                found += 1
                if types := re.fullmatch(r"vla_adapter_ros/(msg|srv)/(\w+)", path):
                    path = f"{types[1]}/{types[2]}.{types[1]}"
                if not ((ROOT / path).exists() or (ROOT / "vla_adapter_ros" / path).exists()):
                    gone.append(f"{name(page)}: {path}")
    assert found > 60
    assert gone == []


def test_the_architecture_names_every_package_and_real_things():
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    packages = {path.parent.name for path in (ROOT / "vla_adapter_ros").glob("*/__init__.py")}
    table = text[text.index("## The packages") : text.index("## Where is")]
    rows = re.findall(r"^\| (`.*?) \|", table, re.M)
    assert {word for row in rows for word in re.findall(r"`(\w+)/`", row)} == packages
    named = re.findall(r"`(\w+)` (?:in|of) `(vla_adapter_ros/[\w/]+\.py)`", text)
    assert len(named) > 12
    for thing, path in named:
        defined = rf"^(?:def|class) {thing}\b|^{thing}\b[^=\n]* = "
        assert re.search(defined, (ROOT / path).read_text(encoding="utf-8"), re.M), f"{thing} in {path}"


def test_python_on_pages_compiles_and_imports_what_exists():
    found = [block for block in page_commands.blocks() if block.kind == "python"]
    assert found
    for block in found:
        compile(block.text, block.page, "exec")
        for module, names in re.findall(r"^from (vla_adapter_ros[\w.]*) import (.+)$", block.text, re.M):
            for each in names.split(","):
                assert hasattr(importlib.import_module(module), each.strip()), f"{block.page}: {each}"


def test_the_readme_is_short_and_its_contract_is_one():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    (example,) = (b.text for b in page_commands.blocks() if b.page == "README.md" and b.kind == "yaml")
    assert len(example.splitlines()) <= 15
    assert parse_contract(yaml.safe_load(example)).arm_joints == ("j1",)
    assert (ROOT / "docs" / "demo.gif").stat().st_size < 3e6


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({block.page for block in RUN if not block.slow}))
def test_blocks_marked_to_run_do(page, tmp_path):
    page_commands.run([block for block in RUN if block.page == page], tmp_path)
