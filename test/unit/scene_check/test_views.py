"""A moved camera is measured, a changed light told; moved objects do not disturb; the unknown is said."""

from __future__ import annotations

import numpy as np
import pytest
from scene_pictures import SIZE, room, seen

from vla_adapter_ros.contract.safety import SceneLimits
from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.scene_check.motion import ImageMotion
from vla_adapter_ros.scene_check.reference import LONGEST_SIDE, make_reference
from vla_adapter_ros.scene_check.views import Verdict, compare_view

LIMITS = SceneLimits()
ROOM = room()
REFERENCE = make_reference(
    [seen(ROOM, np.random.default_rng(i), gain=(1 + (i - 6) / 100,) * 3) for i in range(12)]
)


def compare(image, reference=REFERENCE, limits=LIMITS):
    return compare_view("front", reference, image, limits)


def test_the_reference_holds_what_stands_still():
    error = np.abs(REFERENCE.image.astype(int) - seen(ROOM)).max(axis=2)
    assert np.quantile(error, 0.97) < 12
    assert REFERENCE.share.max() == 1.0


@pytest.mark.parametrize(
    ("shift", "turn"),
    [((3, 0), 0), ((0, -5.5), 0), ((-9, 6), 0), ((1.5, 1), 2), ((20, 4), -3)],
)
def test_shift_and_turn_are_recovered(shift, turn):
    found = compare(seen(ROOM, np.random.default_rng(50), shift=shift, turn_deg=turn))
    assert found.verdict is Verdict.CHANGED
    np.testing.assert_allclose(found.motion.shift, shift, atol=1.0)
    assert np.degrees(found.motion.turn) == pytest.approx(turn, abs=0.5)
    assert found.motion.scale == pytest.approx(1.0, abs=0.02)
    truth = ImageMotion(shift, float(np.radians(turn))).displacement(SIZE)
    assert found.score == pytest.approx(truth, abs=1.0)
    side = "right" if found.motion.shift[0] >= 0 else "left"
    assert f"its image lies {abs(found.motion.shift[0]):.1f} px {side}" in found.text


def test_the_score_grows_with_the_displacement():
    scores = [
        compare(seen(ROOM, np.random.default_rng(60), shift=(d, 0.4 * d))).score for d in (0, 1, 2, 4, 8, 16)
    ]
    assert scores == sorted(scores) and scores[0] < 0.5 < scores[1]


def test_what_lies_elsewhere_does_not_disturb():
    found = [compare(seen(ROOM, np.random.default_rng(100 + i))) for i in range(6)]
    assert {f.verdict for f in found} == {Verdict.SAME}
    assert max(f.score for f in found) < 0.5


def test_a_far_displacement_shows_something_else():
    found = compare(seen(room(seed=9), np.random.default_rng(1)))
    assert found.verdict is Verdict.CHANGED and "shows something else" in found.text
    assert found.score >= 0.3 * SIZE[1]


def test_brightness_is_told_beyond_that_of_the_demonstrations():
    bright = compare(seen(ROOM, np.random.default_rng(2), gain=(1.4, 1.4, 1.4)))
    assert bright.verdict is Verdict.CHANGED and "brighter than all demonstrations" in bright.text
    assert bright.brightness == pytest.approx(1.4 / 1.05 - 1, abs=0.05)
    assert bright.score < 0.5  # light is no motion
    dark = compare(seen(ROOM, np.random.default_rng(2), gain=(0.6, 0.6, 0.6)))
    assert "darker" in dark.text and dark.brightness < -0.25


def test_color_is_told():
    found = compare(seen(ROOM, np.random.default_rng(2), gain=(1.15, 1.0, 0.75)))
    assert "other colors" in found.text
    assert found.color == pytest.approx(0.22, abs=0.06)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.full((120, 160, 3), 90, np.uint8), "blank"),
        (np.zeros((120, 120, 3), np.uint8), "the image is 120x120, the demonstrations' were 160x120"),
    ],
)
def test_what_cannot_be_compared_is_unknown(image, why):
    found = compare(image)
    assert found.verdict is Verdict.UNKNOWN and why in found.text
    assert np.isnan(found.score)


def test_without_a_reference_all_is_unknown():
    found = compare(seen(ROOM), reference=None)
    assert found.verdict is Verdict.UNKNOWN and "holds no view" in found.text


def test_a_plain_background_is_unknown():
    plain = np.full_like(ROOM, 128)
    rng = [np.random.default_rng(i) for i in range(14)]
    reference = make_reference([seen(plain, r) for r in rng[:12]])
    found = compare(seen(plain, rng[13]), reference)
    assert found.verdict is Verdict.UNKNOWN and "too little that stands still" in found.text


def test_a_line_alone_does_not_say_where_along_it():
    edge = np.full_like(ROOM, 128)
    edge[: len(edge) // 2] = 60
    reference = make_reference([seen(edge) for _ in range(3)])
    assert compare(seen(edge, shift=(0, 4)), reference).motion.shift[1] == pytest.approx(4, abs=1)
    found = compare(seen(edge), reference)
    assert found.verdict is Verdict.UNKNOWN and "too little of what stands still" in found.text


def test_larger_images_are_compared_at_the_size_of_the_reference():
    size = (400, 300)
    large = room(3, size)
    reference = make_reference([seen(large, np.random.default_rng(i)) for i in range(4)])
    assert reference.stored_size == (LONGEST_SIDE, 240) and reference.size == size
    found = compare(seen(large, np.random.default_rng(9), shift=(9.0, -6.0)), reference)
    np.testing.assert_allclose(found.motion.shift, (9.0, -6.0), atol=1.0)


def test_a_reference_needs_images_of_one_size():
    with pytest.raises(ImageError, match="one size"):
        make_reference([])
    with pytest.raises(ImageError, match=r"120, 160, 3.*150, 150, 3"):
        make_reference([seen(ROOM), np.zeros((150, 150, 3), np.uint8)])
