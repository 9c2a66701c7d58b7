"""The commands that make data sets of others: arguments, exit status, and what they print."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from foreign_samples import MAPPING, make_foreign, make_ours

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.dataset.reader import DatasetReader


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> DatasetReader:
    return make_ours(tmp_path_factory.mktemp("ours") / "set", lengths=(6, 5, 4))


def test_a_foreign_set_is_imported_split_and_merged(tmp_path, ours, capsys):
    foreign = make_foreign(tmp_path / "foreign", ours, missing=2)
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING))
    made, parts = tmp_path / "made", tmp_path / "parts"
    assert main(["dataset", "import-lerobot", str(foreign), "--output", str(made)]) == 1
    assert "draft-contract" in capsys.readouterr().err
    arguments = [str(foreign), "--mapping", str(tmp_path / "mapping.yaml"), "--output", str(made)]
    assert main(["dataset", "import-lerobot", *arguments]) == 0
    said = capsys.readouterr().out
    assert "1 episodes of its list lack files: 2" in said and "2 of 2 episodes" in said
    assert "ms from row to row" in said and "encoded again: it is turned" in said
    assert main(["dataset", "split", str(made), "a=0", "b=1", "--output", str(parts)]) == 0
    assert main(["dataset", "split", str(made), "a=0-7", "--output", str(tmp_path / "more")]) == 1
    assert "allowed are 0 to 1" in capsys.readouterr().err
    merged = tmp_path / "merged"
    assert main(["dataset", "merge", str(parts / "b"), str(parts / "a"), "--output", str(merged)]) == 0
    assert [e.length for e in DatasetReader(merged).episodes] == [5, 6]
    assert main(["dataset", "trim-idle", str(merged), "--output", str(tmp_path / "trimmed")]) == 0
    assert "2 of 2 episodes" in capsys.readouterr().out


def test_an_episode_that_is_lost_shows_in_the_status(tmp_path, ours, capsys):
    foreign = make_foreign(tmp_path / "foreign", ours)
    (foreign / "data/chunk-000/episode_000001.parquet").write_bytes(b"PAR1")
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING))
    arguments = ["--mapping", str(tmp_path / "mapping.yaml"), "--output", str(tmp_path / "made")]
    assert main(["dataset", "import-lerobot", str(foreign), *arguments]) == 1
    said = capsys.readouterr().out
    assert "not kept: foreign, episode 1" in said and "2 of 3 episodes" in said


def test_a_contract_is_drafted_but_never_overwritten(tmp_path, ours, capsys):
    foreign = make_foreign(tmp_path / "foreign", ours)
    target = tmp_path / "contract.yaml"
    assert main(["dataset", "draft-contract", str(foreign), "--output", str(target)]) == 0
    assert "FILL_IN" in target.read_text()
    assert main(["dataset", "draft-contract", str(foreign), "--output", str(target)]) == 1
    assert main(["dataset", "draft-contract", str(foreign), "--name", "mine"]) == 0
    assert "name: mine" in capsys.readouterr().out


def test_nothing_is_uploaded_without_a_name(ours, capsys):
    with pytest.raises(SystemExit):
        main(["dataset", "export", str(ours.root)])
    assert "--repo-id" in capsys.readouterr().err


def data_files(root: Path) -> int:
    return len(list(root.glob("data/*/*.parquet")))


def test_files_of_episodes_are_joined_by_default_and_on_demand(tmp_path, ours, capsys):
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING))
    foreign = make_foreign(tmp_path / "foreign", ours)
    arguments = [str(foreign), "--mapping", str(tmp_path / "mapping.yaml"), "--output"]
    for flags, files in (([], 1), (["--file-per-episode"], 3)):
        made = tmp_path / f"made{files}"
        assert main(["dataset", "import-lerobot", *arguments, str(made), *flags]) == 0
        assert data_files(made) == files and (made / "README.md").is_file()
        merged = tmp_path / f"merged{files}"
        assert main(["dataset", "merge", str(made), "--output", str(merged), *flags]) == 0
        assert data_files(merged) == files
    assert main(["dataset", "import-lerobot", *arguments, str(tmp_path / "made1"), "--append"]) == 0
    assert data_files(tmp_path / "made1") == 1 and DatasetReader(tmp_path / "made1").num_episodes == 6
    capsys.readouterr()
    assert main(["dataset", "consolidate", str(tmp_path / "made3"), str(tmp_path / "joined")]) == 0
    assert "3 episodes in 1 data files and 2 videos, before in 3 and 6" in capsys.readouterr().out
    assert main(["dataset", "consolidate", str(foreign), str(tmp_path / "other")]) == 1
    assert "format 'v2.1'" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*"))


def test_what_an_import_leaves_behind_is_named(tmp_path, ours, capsys):
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING))
    foreign = make_foreign(tmp_path / "foreign", ours)
    arguments = ["--mapping", str(tmp_path / "mapping.yaml"), "--output", str(tmp_path / "made")]
    assert main(["dataset", "import-lerobot", str(foreign), *arguments]) == 0
    assert "not carried over, since the contract has no place for it: next.note\n" in capsys.readouterr().out
