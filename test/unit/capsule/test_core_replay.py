"""A core that is given a state in motion does what the first one did, to the last bit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "control"))
import fuzz

from vla_adapter_ros.capsule.core_replay import CoreSettings, replay_core
from vla_adapter_ros.capsule.recorded_core import RecordedCore
from vla_adapter_ros.capsule.values import from_plain, to_plain


def settings_of(core: RecordedCore) -> CoreSettings:
    return CoreSettings(core.period_s, True, core._sources.timeline.splice, 1.0)


def through_json(value):
    return from_plain(json.loads(json.dumps(to_plain(value))))


@pytest.mark.parametrize("seed", range(40))
def test_a_random_life_is_replayed_from_a_snapshot_in_motion(seed, monkeypatch):
    monkeypatch.setattr(fuzz, "MotionCore", RecordedCore)
    monkeypatch.setattr("vla_adapter_ros.capsule.recorded_core.SEGMENT_S", 0.7)
    monkeypatch.setattr("vla_adapter_ros.capsule.recorded_core.KEPT_S", 2.8)
    life = fuzz.Life(seed)
    moved = 0
    for _ in range(4):
        life.live(2)
        core = life.arm.core
        snapshot, calls = core.recorded()
        plane = isinstance(snapshot.kinematics, fuzz.Plane)
        state = snapshot.state if plane else through_json(snapshot.state)
        result = replay_core(life.contract, settings_of(core), snapshot._replace(state=state), calls)
        assert not result.text, str(result)
        assert result.identical == result.ticks > 50
        moved += any(call.name == "trajectory" and call.outcome is not None for call in calls)
