"""Names, paths, YAML and JSON by strangers: bounded, and refused in one sentence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.resources import robots_folder
from vla_adapter_ros.errors import ContractError, MappingError, ParameterError, VlaAdapterError

NAMES = ("x/../../../../victim/owned", "..", ".", "", ".hidden", "a/b", "a\\b", "a\nb", "a\0b", "-rf", "a b",
         "x" * 101, "/etc")  # fmt: skip
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def shipped() -> dict:
    return yaml.safe_load((robots_folder() / "franka_sim.yaml").read_text())


def refused(path: Path, text: str | bytes, kind: type[VlaAdapterError] = ContractError) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    start = time.process_time()
    with pytest.raises(kind) as caught:
        read_contract(path)
    assert time.process_time() - start < 2
    lines = str(caught.value).split("\n")
    assert len(lines) <= 22 and len(str(caught.value)) < 3000
    assert len(lines) == 1 or lines[0].endswith("errors:")
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_camera_has_a_name(tmp_path, name):
    data = shipped()
    data["cameras"] = {name: dict(data["cameras"]["gripper"]), **data["cameras"]}
    said = refused(tmp_path / "c.yaml", yaml.safe_dump(data))
    assert "letters, digits" in said or "YAML" in said


@pytest.mark.parametrize("name", ["third_view", "wrist.left", "cam-1", "Kamera_ö", "0"])
def test_usual_names_pass(tmp_path, name):
    data = shipped()
    data["cameras"] = {name: dict(data["cameras"]["gripper"]), **data["cameras"]}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(data))
    assert name in read_contract(tmp_path / "c.yaml").cameras


def test_aliases_do_not_multiply(tmp_path):
    for bomb in (LAUGHS, LAUGHS + "name: *i\n"):  # 9^8 entries, if anybody shows them
        assert len(bomb) <= 522 and "alias *a" in refused(tmp_path / "c.yaml", bomb)


@pytest.mark.parametrize("text", [
    "[" * 5000 + "]" * 5000, "{a: " * 3000 + "1" + "}" * 3000, "- " * 2000 + "x", b"\xff\xfe\x00bad", b"\0",
    "a: 2001-13-45", "rate_hz: " + "9" * 5000, "x: !!python/object/apply:os.system [ls]", "? [a]\n: b",
    "just text", "", "{}", "a: b: c", "x: !!int abc",
], ids=lambda text: repr(text[:12]))  # fmt: skip
def test_yaml_that_is_no_contract_is_one_sentence(tmp_path, text):
    refused(tmp_path / "c.yaml", text)


def test_a_huge_file_is_not_read(tmp_path):
    with open(tmp_path / "c.yaml", "wb") as file:
        file.truncate(50 << 30)  # a sparse file of 50 GB
    assert "bytes" in refused_as_it_is(tmp_path / "c.yaml")


def refused_as_it_is(path: Path) -> str:
    with pytest.raises(ContractError) as caught:
        read_contract(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_places_that_hold_no_file(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "file").touch()
    long = "x" * 300
    for path in (tmp_path / "folder.yaml", tmp_path / "file/c.yaml", tmp_path / f"{long}.yaml", long):
        refused_as_it_is(path)


@pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), float("inf"), True, [], {}, None, "x"])
@pytest.mark.parametrize("key", ["rate_hz", "cameras.gripper.width", "limits.fr3_joint1.velocity"])
def test_numbers_that_are_none(tmp_path, key, value):
    data = shipped()
    *folders, name = key.split(".")
    place = data
    for folder in folders:
        place = place[folder]
    place[name] = value
    said = refused(tmp_path / "c.yaml", yaml.safe_dump(data))
    assert name in said or "digits" in said


def test_a_camera_of_terabytes_is_refused(tmp_path):
    data = shipped()
    data["cameras"]["gripper"] |= {"width": 10**6, "height": 10**6}
    assert "16384" in refused(tmp_path / "c.yaml", yaml.safe_dump(data))


def test_mappings_and_settings_are_read_alike(tmp_path):
    from vla_adapter_ros.dataset.mapping import read_mapping
    from vla_adapter_ros.dataset.quality.settings import read_settings

    for text in (LAUGHS, "[" * 5000, "a: 2001-13-45", "1: 2\nb: 3", "idle_range: " + "9" * 400):
        (tmp_path / "m.yaml").write_text(text)
        for read, kind in ((read_mapping, MappingError), (read_settings, ParameterError)):
            with pytest.raises(kind) as caught:
                read(tmp_path / "m.yaml")
            first, *more = str(caught.value).splitlines()
            assert not more or first.endswith(f"{len(more)} errors:")  # one error, or one in each line
    for entry in ("action[²]", "action[" + "9" * 5000 + "]"):
        (tmp_path / "m.yaml").write_text(yaml.safe_dump({"schema": 1, "action": {"j": entry}}))
        assert read_mapping(tmp_path / "m.yaml").action["j"].which == entry[7:-1]


def test_json_is_bounded():
    from vla_adapter_ros.untrusted import UntrustedError, parse_json

    for text in ("[" * 100_000, "[" * 60 + "]" * 60, '{"a":' * 50 + "1" + "}" * 50, "nul", ""):
        with pytest.raises(UntrustedError):
            parse_json(text)
    assert parse_json('{"a": [[1], {"b": []}]}') == {"a": [[1], {"b": []}]}


@pytest.mark.parametrize("template", [
    "{chunk_index:9999999999}", "{chunk_index:0999999999d}", "{chunk_index.__class__}", "{chunk_index!r}",
    "{other}", "{}", "{0}", "{chunk_index", "../{chunk_index}", "/etc/{chunk_index}", "a/./b", "a//b", "a\0",
    "", None, 7, ["a"], "a/{chunk_index:>9}", "a/{chunk_index:{file_index}}", "a\\..\\b", "x" * 400,
])  # fmt: skip
def test_templates_have_known_fields_of_small_width(template):
    from vla_adapter_ros.untrusted import UntrustedError, check_template

    with pytest.raises(UntrustedError):
        check_template(template, ("chunk_index", "file_index"), "data_path")


def test_the_hub_is_not_asked_for_paths():
    from vla_adapter_ros.hub import split_id

    assert split_id("owner/name@../../../x") is None and split_id("owner/name@main") == ("owner/name", "main")
