"""Lets the tests of this folder import its sample maker, gives them samples, and keeps them on one core."""

import sys
from pathlib import Path

import pytest
from one_core import one_thread  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent))

from training_samples import make_backbone, make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("set") / "demonstrations")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return make_backbone(tmp_path_factory.mktemp("backbone") / "tiny")
