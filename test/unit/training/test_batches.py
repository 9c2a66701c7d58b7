"""Batches: what they hold, that they do not depend on who makes them, and what the loss counts of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from training_samples import CONTRACT, LENGTH, make_backbone, make_dataset

from vla_adapter_ros.errors import DatasetError, TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.loss import mean_of_valid
from vla_adapter_ros.model.preprocessing import center_crop
from vla_adapter_ros.training.cameras import with_cameras
from vla_adapter_ros.training.data.augmentation import prepare_preprocessing
from vla_adapter_ros.training.data.batches import BatchMaker, draws_of, load_batches, worker_count
from vla_adapter_ros.training.data.data_sources import open_sources
from vla_adapter_ros.training.data.image_store import training_images
from vla_adapter_ros.training.data.row_weights import RowWeights
from vla_adapter_ros.training.data.samples import Samples, compute_statistics, read_rows
from vla_adapter_ros.training.data.selection import pick_rows
from vla_adapter_ros.training.delays import with_delays
from vla_adapter_ros.training.relative_rows import with_relative_rows
from vla_adapter_ros.training.settings import FinetuneSettings


def settings(**more) -> FinetuneSettings:
    return FinetuneSettings(**{"steps": 4, "batch_size": 6, **more})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("set") / "data", episodes=3)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return VlaAdapterPolicy.from_pretrained(make_backbone(tmp_path_factory.mktemp("backbone") / "tiny"))


def make_batch(policy, samples, rows, chosen):
    maker = BatchMaker(policy, samples, chosen)
    return maker.make_tensors(maker.prepare_arrays(rows))


def prepare(root, backbone, chosen: FinetuneSettings, limit: int | None = None):
    """Policy with a head, and samples, as a training has them."""
    sources, contract = open_sources(root)
    policy = prepare_preprocessing(backbone, chosen)
    images = training_images(sources, contract, policy, chosen, limit=limit)
    samples = Samples.join(read_rows(sources, contract, RowWeights.of(chosen)), images)
    torch.manual_seed(0)
    statistics = compute_statistics("data", samples, contract)
    policy = policy.with_new_head(
        action_dim=8, proprio_dim=11, chunk=8, statistics=statistics, contract=contract
    )
    return policy, samples


def test_a_batch_holds_what_the_rows_hold(root, backbone):
    chosen = settings(augmentation="none", state_noise=0.0)
    policy, samples = prepare(root, backbone, chosen)
    rows = np.array([2, 15, 29])
    batch = make_batch(policy, samples, rows, chosen)
    images = samples.images[rows]
    torch.testing.assert_close(batch.pixels, policy.pixel_values(images))
    np.testing.assert_allclose(batch.proprio, policy.normalize_proprio(samples.state[rows]), atol=1e-6)
    np.testing.assert_allclose(
        batch.target, policy.normalize_actions(samples.chunks(rows, 8)), atol=1e-5, rtol=1e-5
    )
    ids, mask = policy.tokenize([samples.tasks[n] for n in samples.task[rows]])
    assert torch.equal(batch.ids, ids) and torch.equal(batch.mask, mask)
    assert batch.before.tolist() == [True, True, False]
    assert batch.waypoints == 2 and batch.fraction == 1.0 and batch.valid.all()


@pytest.mark.parametrize("augmentation", ["official", "light"])
def test_a_part_is_drawn_as_in_the_whole_step(root, backbone, augmentation):
    chosen = settings(augmentation=augmentation, padding="mask")
    policy, samples = prepare(root, backbone, chosen)
    maker, rows = BatchMaker(policy, samples, chosen), np.array([0, 9, 17, 22, 29, 3])
    whole = maker.prepare_arrays(rows, generator=draws_of(chosen, 3))
    parts = [maker.prepare_arrays(rows, part, draws_of(chosen, 3)) for part in (slice(0, 2), slice(2, 6))]
    for name in ("images", "ids", "proprio", "target", "valid", "before"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    for name, values in whole.draws.items():
        np.testing.assert_array_equal(np.concatenate([part.draws[name] for part in parts]), values)
    assert sum(part.fraction for part in parts) == pytest.approx(1.0)
    other = maker.prepare_arrays(rows, generator=draws_of(chosen, 4))
    assert (other.proprio != whole.proprio).any()


def test_workers_change_nothing(root, backbone):
    chosen = settings(augmentation="official")
    found = []
    for workers, limit in ((0, None), (2, 0)):  # from memory; decoded by two processes
        policy, samples = prepare(root, backbone, chosen, limit)
        assert samples.images.in_memory == (limit is None)
        pick = partial(pick_rows, np.arange(30), settings=chosen)
        parts = (slice(0, 3), slice(3, 6))
        loaded = load_batches(
            BatchMaker(policy, samples, chosen), pick, parts, range(1, 4), chosen, workers=workers
        )
        found.append(list(loaded))
    here, there = found
    assert len(here) == len(there) == 6  # three steps in two parts each
    for mine, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(mine.rows, theirs.rows)
        assert all(torch.equal(a, b) for a, b in zip(mine.batch[:-2], theirs.batch[:-2], strict=True))
    np.testing.assert_array_equal(here[2].rows, pick_rows(np.arange(30), 2, chosen))


def test_a_damaged_video_ends_the_training_by_name(root, backbone, tmp_path):
    copy = make_dataset(tmp_path / "data", episodes=2)
    policy, samples = prepare(copy, backbone, settings(), limit=0)
    video = next(copy.glob("videos/*third_view/*/file-001.mp4"))
    video.write_bytes(b"nothing")
    maker = BatchMaker(policy, samples, settings())
    pick = partial(pick_rows, np.arange(10, 20), settings=settings())
    with pytest.raises(DatasetError, match=r"file-001.mp4: no readable video"):
        list(load_batches(maker, pick, (slice(0, 6),), range(1), settings(), workers=1))


def test_workers_are_for_what_does_not_fit_memory():
    assert worker_count(settings(), in_memory=True) == 0
    assert worker_count(settings(), in_memory=False) >= 1
    assert worker_count(settings(workers=3), in_memory=True) == 3


@pytest.mark.slow
def test_after_random_crops_the_checkpoint_cuts_out_the_middle(root, backbone, tmp_path):
    chosen = settings(augmentation="official")
    policy, samples = prepare(root, backbone, chosen)
    assert policy.config.preprocessing.center_crop == 0.9
    rows = np.array([4, 14])
    whole = samples.images.uncropped(rows)
    running = samples.images[rows]
    np.testing.assert_array_equal(running[1], center_crop(whole[1], 0.9))
    frame = open_sources(root)[0][0].data.decode("third_view", 1)[4]
    np.testing.assert_array_equal(policy.resize_images(frame), running[1, 0])
    policy.save_pretrained(tmp_path / "policy")
    again = VlaAdapterPolicy.from_pretrained(tmp_path / "policy")
    assert again.config.preprocessing.center_crop == 0.9
    assert backbone.config.preprocessing.center_crop == 1.0  # what it was made from stays as it was
    plain = BatchMaker(policy, samples, chosen).prepare_arrays(rows)
    np.testing.assert_array_equal(plain.images, running)  # a validation sees what runs


def test_masked_rows_do_not_count_in_the_loss(root, backbone):
    chosen = settings(padding="mask", augmentation="none", state_noise=0.0)
    policy, samples = prepare(root, backbone, chosen)
    batch = make_batch(policy, samples, np.array([LENGTH - 3, 0]), chosen)
    assert batch.valid.sum(dim=1).tolist() == [3, 8]
    network = policy.network.eval()
    with torch.no_grad():
        inputs = batch.ids, batch.mask, batch.pixels
        conditions = network.conditions(*inputs)
        loss = network.head_loss(conditions, batch.proprio, batch.target, valid=batch.valid)
        changed = batch.target.clone()
        changed[0, 3:] += 100.0
        same = network.head_loss(conditions, batch.proprio, changed, valid=batch.valid)
        errors = (network(*inputs, batch.proprio) - batch.target).abs()
    assert loss == same
    wanted = torch.cat([errors[0, :3], errors[1]]).mean()
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(mean_of_valid(errors, torch.ones(2, 8, dtype=torch.bool)), errors.mean())


@pytest.mark.parametrize("count", [1, 3])
def test_a_backbone_for_two_cameras_serves_one_or_three(backbone, count):
    policy = with_cameras(backbone, count)
    assert policy.config.num_images == count
    assert policy.config.num_task_tokens == count * policy.config.patches_per_image
    theirs, ours = backbone.network.state_dict(), policy.network.state_dict()
    (name,) = (key for key in ours if key.endswith("stem.pos_embed"))
    assert len(ours[name]) == count
    for view in range(count):
        assert torch.equal(ours[name][view], theirs[name][min(view, 1)])
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key != name)
    images = torch.rand(2, count, 3, 16, 16)
    ids, mask = policy.tokenize(["move left", "move right"])
    with torch.no_grad():
        conditions = policy.network.conditions(ids, mask, images)
    assert conditions.task.shape[2] == policy.config.num_patches
    assert with_cameras(policy, 2).config == backbone.config
    with pytest.raises(TrainingError, match=r"4 cameras: allowed are \[1, 2, 3\]"):
        with_cameras(backbone, 4)


def test_one_camera_of_a_data_set_can_be_trained_on(root, backbone):
    third = {"third_view": CONTRACT.cameras["third_view"]}
    sources, contract = open_sources(root)
    one = with_cameras(backbone, 1)
    images = training_images(sources, replace(contract, cameras=third), one, settings())
    assert images[np.array([0])].shape == (1, 1, 16, 16, 3)


def test_a_delayed_sample_begins_after_its_image(root, backbone):
    """State and chunk are those of one later row of the episode; what else is drawn stays.

    Of the state the gripper stays as it was measured with the image: nobody can foresee it.
    """
    plain = settings(augmentation="light", state_noise=0.01)
    delayed = settings(augmentation="light", state_noise=0.01, max_delay_rows=3)
    policy, samples = prepare(root, backbone, plain)
    late_policy = with_delays(policy, 3, told=False)
    rows = np.arange(len(samples.state))[::3]

    def prepared(chosen: FinetuneSettings, step: int):
        used = late_policy if chosen is delayed else policy
        return BatchMaker(used, samples, chosen).prepare_arrays(rows, generator=draws_of(chosen, step))

    states, seen = policy.normalize_proprio(samples.state), set()
    foreseen = np.array(samples.contract.foreseen_state)
    assert 0 < foreseen.sum() < len(foreseen)
    for step in range(4):
        at_once, late = prepared(plain, step), prepared(delayed, step)
        np.testing.assert_array_equal(late.images, at_once.images)
        for name, values in at_once.draws.items():
            np.testing.assert_array_equal(late.draws[name], values)
        noise = at_once.proprio - states[rows]
        for n, row in enumerate(rows):
            choices = [d for d in range(4) if row + d <= samples.until[row]]
            own = late.proprio[n] - noise[n]
            later = {d: np.where(foreseen, states[row + d], states[row]) for d in choices}
            fits = [d for d in choices if np.allclose(own, later[d], atol=1e-5)]
            wanted = policy.normalize_actions(samples.chunks(np.array([row + fits[0]]), 8))[0]
            np.testing.assert_allclose(late.target[n], wanted, atol=1e-5)
            seen.update(fits)
    assert seen == {0, 1, 2, 3}
    maker = BatchMaker(late_policy, samples, delayed)
    np.testing.assert_allclose(maker.prepare_arrays(rows).proprio, states[rows], atol=1e-6)


def test_a_delayed_sample_is_told_the_rows_before_its_chunk(root, backbone):
    """Those of the demonstration from its image on, or, where the arm rests until then, where it rests."""
    chosen = settings(state_noise=0.0, max_delay_rows=3)
    policy, samples = prepare(root, backbone, chosen)
    policy = with_delays(policy, 3, told=True)
    maker, rows = BatchMaker(policy, samples, chosen), np.arange(len(samples.state))
    state, action = policy.normalize_proprio(samples.state), policy.normalize_actions(samples.action)
    width, counts, rested = state.shape[1], np.zeros(4, int), 0
    foreseen = np.array(samples.contract.foreseen_state)
    for step in range(20):
        batch = maker.prepare_arrays(rows, generator=draws_of(chosen, step))
        told = batch.proprio[:, width:].reshape(len(rows), 3, -1)
        delays = told[..., -1].sum(axis=1).astype(int)
        counts += np.bincount(delays, minlength=4)
        for row, delay, own, slots in zip(rows, delays, batch.proprio[:, :width], told, strict=True):
            np.testing.assert_array_equal(slots[:, -1], np.arange(3) < delay)
            np.testing.assert_array_equal(slots[delay:], 0)
            if row + 3 > samples.until[row] or row == samples.first[row]:
                continue
            given = slots[:delay, :-1][::-1]  # in the order of time
            moving = np.allclose(own, np.where(foreseen, state[row + delay], state[row]), atol=1e-6)
            wanted = action[row : row + delay] if moving else np.tile(action[row - 1], (delay, 1))
            np.testing.assert_allclose(given, wanted, atol=1e-6)
            assert moving or np.allclose(own, state[row], atol=1e-6)
            rested += not moving
    assert 0.45 < counts[0] / counts.sum() < 0.55 and counts[1:].min() > 0.12 * counts.sum()
    assert 0.03 < rested / counts.sum() < 0.12
    plain = maker.prepare_arrays(rows).proprio
    np.testing.assert_array_equal(plain[:, width:], 0)  # validation: at once


def test_relative_targets_count_from_the_later_state_without_its_noise(root, backbone):
    chosen = settings(state_noise=0.05, max_delay_rows=3, relative_rows=True)
    policy, samples = prepare(root, backbone, chosen)
    policy = with_relative_rows(with_delays(policy, 3, told=False), samples.contract, True)
    absolute = policy.replace(config=replace(policy.config, relative_to=()))
    rows = np.arange(len(samples.state))[::3]
    made, plain = (
        BatchMaker(used, samples, chosen).prepare_arrays(rows, generator=draws_of(chosen, 1))
        for used in (policy, absolute)
    )
    origins = policy.row_origin(samples.state)
    assert np.abs(origins).max() > 0.1
    for n, row in enumerate(rows):
        counted = [origins[row + d] for d in range(4) if row + d <= samples.until[row]]
        assert any(np.allclose(plain.target[n] - made.target[n], origin, atol=1e-5) for origin in counted)
    np.testing.assert_array_equal(made.proprio, plain.proprio)
