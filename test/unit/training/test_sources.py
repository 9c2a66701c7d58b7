"""Several data sets as one: how they are named, and that they belong to one robot."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from training_samples import CONTRACT, TASKS, make_dataset

from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.errors import ContractMismatch, DatasetError, MappingError, TrainingError
from vla_adapter_ros.training.data.data_sources import Source, open_sources, parse_source
from vla_adapter_ros.training.data.row_weights import RowWeights
from vla_adapter_ros.training.data.samples import compute_statistics, load_samples, read_rows


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return make_dataset(folder / "a", episodes=2), make_dataset(folder / "b", episodes=1, control_source=2)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x", Source("x")),
        ("x=0.3", Source("x", 0.3)),
        ("x,weight=2,mapping=m.yaml", Source("x", 2.0, "m.yaml")),
        ("a=b=0.5", Source("a=b", 0.5)),
    ],
)
def test_how_a_data_set_is_named(text, wanted):
    assert parse_source(text) == wanted
    assert parse_source(str(wanted)) == wanted


def test_a_folder_with_such_a_name_wins(tmp_path):
    folder = tmp_path / "x=0.3,y"
    folder.mkdir()
    assert parse_source(str(folder)) == Source(str(folder))


@pytest.mark.parametrize("text", ["x=often", "x=0", "x=-1", "x=nan", "x,scale=3", "x,weight="])
def test_other_forms_are_refused(text):
    with pytest.raises(TrainingError, match="allowed is"):
        parse_source(text)


def test_rows_of_the_second_follow_those_of_the_first(two):
    a, b = two
    opened, contract = open_sources([str(a), f"{b}=0.5"])
    assert contract == CONTRACT
    samples = load_samples(
        opened, contract, lambda images: images[..., ::2, ::2, :], 56, weights=RowWeights((0.0, 1.0, 0.4))
    )
    assert samples.names == ("a", "b")
    assert samples.dataset.tolist() == [0] * 20 + [1] * 10
    assert samples.episode.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert samples.weight.tolist() == pytest.approx([1.0] * 20 + [0.2] * 10)
    assert samples.tasks == TASKS
    assert samples.first[25] == 20 and samples.last[25] == samples.until[25] == 29
    assert samples.waypoint[21] == 26
    alone = opened[1].data
    np.testing.assert_array_equal(
        samples.images[np.array([23])][0, 1], alone.decode("gripper", 0)[3, ::2, ::2]
    )
    np.testing.assert_array_equal(samples.action[20:], alone.rows(0)["action"])
    statistics = compute_statistics("both", samples, contract, np.arange(15, 30))
    np.testing.assert_allclose(statistics.action.mean, samples.action[15:].mean(axis=0))
    assert (statistics.num_transitions, statistics.num_trajectories) == (15, 2)


def test_a_data_set_on_the_hub_is_fetched(two, tmp_path, monkeypatch):
    hub = pytest.importorskip(
        "huggingface_hub", reason="huggingface_hub is not installed: pip install huggingface_hub"
    )
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        return str(two[0])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    (opened,), contract = open_sources("lab/cups@v3.0=0.5")
    assert (opened.name, opened.weight, contract) == ("cups", 0.5, CONTRACT)
    assert (asked["name"], asked["revision"], asked["repo_type"]) == ("lab/cups", "v3.0", "dataset")
    assert not [pattern for pattern in asked["allow_patterns"] if pattern.endswith(("*", ".py"))]
    with pytest.raises(DatasetError, match=r"no LeRobot|no data set|info\.json"):
        open_sources("cups")  # no name on the hub
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DatasetError, match=r"not installed.*hf download lab/cups --repo-type dataset"):
        open_sources("lab/cups")


def test_data_sets_of_different_robots_are_refused(two, tmp_path):
    other = make_dataset(tmp_path / "other", episodes=1)
    write_contract(replace(CONTRACT, name="twin", rate_hz=20.0), other / "meta/contract.yaml")
    with pytest.raises(ContractMismatch, match=r"(?s)other.*'twin'.*'franka_sim'.*rate_hz: 10.0 here, 20.0"):
        open_sources([two[0], other])


def test_without_a_contract_one_must_be_named(tmp_path):
    bare = make_dataset(tmp_path / "bare", episodes=1)
    (bare / "meta/contract.yaml").unlink()
    with pytest.raises(TrainingError, match="carries no contract"):
        open_sources(bare)
    (opened,), contract = open_sources(bare, CONTRACT)
    assert contract == CONTRACT
    assert len(read_rows([opened], contract).state) == 10
    top = replace(CONTRACT, cameras={"top": CONTRACT.cameras["gripper"]}, reference_camera="top")
    with pytest.raises(
        MappingError, match=r"no camera 'top' for top: allowed are \['third_view', 'gripper'\]"
    ):
        open_sources(bare, top)
    with pytest.raises(TrainingError, match="no data set named"):
        open_sources([])
