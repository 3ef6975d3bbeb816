import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from models.options import TrainingOptions
from models.retrieval_training import CandidateSampler, RetrievalLoop, split_histories
from models.tables import Bag


def sampler_of(counts, num_negatives):
    return CandidateSampler(np.array(counts), num_negatives)


def skewed_counts(num_candidates, seed=0):
    """Visits as of a catalogue: some have none, a few have thousands."""
    rng = np.random.default_rng(seed)
    return rng.permutation((3_000 / np.arange(1, num_candidates + 1) ** 0.9).astype(np.int64))


class TestCandidateSampler:
    def test_chances_go_by_the_root_of_visits(self):
        # Roots 3, 2, 1, 1 and 0 of a sum of 7, for two to draw.
        found = sampler_of([9, 4, 1, 1, 0], 2)
        np.testing.assert_allclose(found.chances, [6 / 7, 4 / 7, 2 / 7, 2 / 7, 0.0])

    def test_what_is_over_certainty_goes_to_the_others(self):
        # Roots 10 and 1, 1, 1, 1: the first would be drawn 2 · 10/14 times. It is certain, and the
        # one that is left to draw is any of the others.
        found = sampler_of([100, 1, 1, 1, 1], 2)
        np.testing.assert_allclose(found.chances, [1.0, 0.25, 0.25, 0.25, 0.25])

    @pytest.mark.parametrize("num_negatives", [1, 50, 400, 5_000])
    def test_chances_are_chances(self, num_negatives):
        counts = skewed_counts(2_000)
        chances = sampler_of(counts, num_negatives).chances
        assert (chances <= 1.0).all()
        np.testing.assert_array_equal(chances > 0, counts > 0)
        # The more visited the likelier.
        assert (np.diff(chances[np.argsort(counts, kind="stable")]) >= 0).all()

    @pytest.mark.parametrize("num_negatives", [50, 400, 1_000])
    def test_about_as_many_are_drawn_as_are_wanted(self, num_negatives):
        found = sampler_of(skewed_counts(5_000), num_negatives)
        assert found.chances.sum() == pytest.approx(num_negatives, rel=0.01)
        rng = np.random.default_rng(0)
        none = np.zeros(0, np.int32)
        drawn = [len(found.draw(none, rng)[0]) for _ in range(100)]
        assert np.mean(drawn) == pytest.approx(num_negatives, rel=0.05)

    def test_importance_weights_make_the_softmax_s_sum_unbiased(self):
        rng = np.random.default_rng(1)
        counts = skewed_counts(300)
        found = sampler_of(counts, 60)
        masses = np.exp(rng.normal(size=300))
        visited = counts > 0
        expected = masses[visited].sum()
        sums = []
        for _ in range(4_000):
            rows, offsets = found.draw(rng.integers(300, size=5), rng)
            sums.append((masses[rows] * np.exp(offsets)).sum())
        # Each candidate on its own adds mass² (1 - π) / π to the variance of one draw.
        chances = found.chances[visited]
        deviation = np.sqrt((masses[visited] ** 2 * (1 - chances) / chances).sum() / len(sums))
        assert deviation < 0.01 * expected
        assert abs(np.mean(sums) - expected) < 4 * deviation

    def test_offsets_are_minus_the_logarithm_of_the_chance(self):
        found = sampler_of(skewed_counts(500), 50)
        rows, offsets = found.draw(np.zeros(0, np.int32), np.random.default_rng(0))
        np.testing.assert_allclose(offsets, -np.log(found.chances[rows]), rtol=1e-6, atol=1e-7)
        assert rows.dtype == np.int32
        assert offsets.dtype == np.float32

    def test_unvisited_candidates_are_never_drawn(self):
        counts = np.arange(200) % 2
        found = sampler_of(counts, 60)
        rng = np.random.default_rng(0)
        drawn = [found.draw(np.zeros(0, np.int32), rng)[0] for _ in range(50)]
        assert set(np.concatenate(drawn)) == set(range(1, 200, 2))

    def test_needed_candidates_are_there_but_do_not_count(self):
        found = sampler_of(np.ones(1_000, np.int64), 20)
        needed = np.array([700, 3, 3, 500])
        # The same draw without them.
        drawn, _ = found.draw(np.zeros(0, np.int32), np.random.default_rng(0))
        rows, offsets = found.draw(needed, np.random.default_rng(0))
        assert rows.tolist() == sorted({*drawn, 3, 500, 700})
        np.testing.assert_array_equal(np.isneginf(offsets), ~np.isin(rows, drawn))
        assert np.isneginf(offsets).any()

    def test_needed_candidates_that_are_drawn_keep_their_offset(self):
        found = sampler_of(np.ones(100, np.int64), 50)
        everything = np.arange(100)
        rows, offsets = found.draw(everything, np.random.default_rng(0))
        assert rows.tolist() == everything.tolist()
        assert set(np.round(offsets, 4)) == {np.float32(0.6931), -np.inf}

    @pytest.mark.parametrize("num_negatives", [40, 41, 1_000])
    def test_all_of_a_small_catalogue_are_drawn_with_certainty(self, num_negatives):
        counts = skewed_counts(40) + 1
        counts[[7, 20]] = 0
        found = sampler_of(counts, num_negatives)
        rows, offsets = found.draw(np.array([5]), np.random.default_rng(0))
        assert rows.tolist() == np.flatnonzero(counts).tolist()
        assert not offsets.any()

    def test_a_catalogue_without_visits_has_nothing_to_draw(self):
        rows, offsets = sampler_of([0, 0, 0], 2).draw(np.array([1]), np.random.default_rng(0))
        assert rows.tolist() == [1]
        assert offsets.tolist() == [-np.inf]


class TestSplitHistories:
    histories = Bag.from_pairs(
        np.repeat([0, 1, 2], [1, 5, 40]),
        np.concatenate([[9], np.arange(5), np.arange(40)]).astype(np.int32),
        3,
    )

    @pytest.mark.parametrize("seed", range(20))
    def test_each_history_is_divided_with_a_positive_left(self, seed):
        kept, positives = split_histories(self.histories, np.random.default_rng(seed))
        assert (positives.lengths() >= 1).all()
        for row in range(3):
            both = sorted([*kept.row(row), *positives.row(row)])
            assert both == self.histories.row(row).tolist()

    def test_short_histories_have_a_positive_left_too(self):
        # 300 users with two businesses each: without the rule a third would keep both.
        pairs = Bag(np.arange(600, dtype=np.int32), np.arange(0, 601, 2))
        kept, positives = split_histories(pairs, np.random.default_rng(0))
        assert set(positives.lengths()) == {1, 2}
        assert 0 < kept.lengths().sum() < 300

    def test_a_business_that_was_visited_twice_is_not_lost(self):
        twice = Bag(np.array([4, 4, 4], np.int32), np.array([0, 3]))
        kept, positives = split_histories(twice, np.random.default_rng(0))
        assert [*kept.values, *positives.values] == [4, 4, 4]

    def test_shares_range_from_nothing_to_all_but_one(self):
        rng = np.random.default_rng(0)
        lengths = [split_histories(self.histories, rng)[0].lengths() for _ in range(400)]
        lengths = np.stack(lengths)
        assert not lengths[:, 0].any()  # A single business is always a positive.
        assert lengths[:, 2].min() == 0
        assert lengths[:, 2].max() >= 37
        # A uniform share of 39 businesses: 19.5 on average.
        assert abs(lengths[:, 2].mean() - 19.5) < 2


_NUM_USERS, _NUM_BUSINESSES = 30, 50


def visits():
    """Users with up to eight businesses, every fifth with none; the last ten are never visited."""
    rng = np.random.default_rng(0)
    rows = [
        rng.choice(_NUM_BUSINESSES - 10, rng.integers(1, 9) if user % 5 else 0, replace=False)
        for user in range(_NUM_USERS)
    ]
    users = np.repeat(np.arange(_NUM_USERS), [len(row) for row in rows])
    return Bag.from_pairs(users, np.concatenate(rows).astype(np.int32), _NUM_USERS)


def loop_of(sampled, user_embedding=False, kind=RetrievalLoop, **changes):
    # All that batches need of a model.
    model = SimpleNamespace(
        counts=np.zeros(_NUM_BUSINESSES), options=SimpleNamespace(user_embedding=user_embedding)
    )
    settings = {
        "retrieval_batch_size": 8,
        "num_negatives": 12,
        "max_full_softmax": _NUM_BUSINESSES - 1 if sampled else _NUM_BUSINESSES,
        "seed": 3,
        **changes,
    }
    return kind(model, visits(), TrainingOptions().model_copy(update=settings))


def batches_of(*args, count=6, **changes):
    return list(itertools.islice(loop_of(*args, **changes).batches(), count))


def businesses(batch, key):
    """A batch's histories or positives, as rows of the businesses table."""
    rows = batch["candidate_rows"].numpy()
    return [rows[places].tolist() for places in batch[key].to_list()]


def lists(bag):
    return [bag.row(row).tolist() for row in range(bag.num_rows)]


class TestBatches:
    def test_a_small_catalogue_is_whole_without_what_nobody_visited(self):
        visited = np.bincount(visits().values, minlength=_NUM_BUSINESSES) > 0
        for batch in batches_of(False):
            assert batch["candidate_rows"].numpy().tolist() == list(range(_NUM_BUSINESSES))
            offsets = batch["candidate_offsets"].numpy()
            np.testing.assert_array_equal(offsets, np.where(visited, 0.0, -np.inf))

    @pytest.mark.parametrize("sampled", [False, True])
    def test_histories_and_positives_are_what_split_histories_gives(self, sampled):
        rng = np.random.default_rng(3)
        given = visits()
        active = np.flatnonzero(given.lengths())
        order = rng.permutation(len(active))
        sampler = CandidateSampler(np.bincount(given.values, minlength=_NUM_BUSINESSES), 12)
        # 24 active users are three batches of 8: one epoch.
        for place, batch in enumerate(batches_of(sampled, count=3)):
            users = active[order[8 * place : 8 * place + 8]]
            histories, positives = split_histories(given.take(users), rng)
            if sampled:
                rows, offsets = sampler.draw(given.take(users).values, rng)
                np.testing.assert_array_equal(batch["candidate_rows"], rows)
                np.testing.assert_array_equal(batch["candidate_offsets"], offsets)
            assert batch["query_rows"].numpy().tolist() == users.tolist()
            assert businesses(batch, "histories") == lists(histories)
            assert businesses(batch, "positives") == lists(positives)

    def test_samples_are_drawn_anew_and_hold_what_the_batch_needs(self):
        batches = batches_of(True)
        for batch in batches:
            rows = batch["candidate_rows"].numpy()
            assert (np.diff(rows) > 0).all()
            offsets = batch["candidate_offsets"].numpy()
            assert (offsets[np.isfinite(offsets)] >= 0).all()
            needed = visits().take(batch["query_rows"].numpy()).values
            assert set(needed) <= set(rows)
            # What was not drawn is there for no other reason.
            assert set(rows[np.isneginf(offsets)]) <= set(needed)
        samples = {tuple(batch["candidate_rows"].numpy()) for batch in batches}
        assert len(samples) == len(batches)

    @pytest.mark.parametrize("sampled", [False, True])
    def test_histories_are_whole_where_users_are_embedded(self, sampled):
        for batch in batches_of(sampled, True):
            whole = lists(visits().take(batch["query_rows"].numpy()))
            assert businesses(batch, "histories") == whole
            assert businesses(batch, "positives") == whole

    @pytest.mark.parametrize("sampled", [False, True])
    def test_an_epoch_has_every_user_with_a_history_once(self, sampled):
        batches = batches_of(sampled)
        active = np.flatnonzero(visits().lengths()).tolist()
        for epoch in (batches[:3], batches[3:]):
            users = np.concatenate([batch["query_rows"].numpy() for batch in epoch])
            assert sorted(users) == active

    def test_fewer_users_than_a_batch_are_one_batch(self):
        (batch,) = batches_of(False, retrieval_batch_size=1_000, count=1)
        assert batch["query_rows"].shape == [24]

    @pytest.mark.parametrize("sampled", [False, True])
    def test_the_same_seed_gives_the_same_batches(self, sampled):
        def told(seed):
            return [
                [
                    batch["query_rows"].numpy().tolist(),
                    batch["candidate_rows"].numpy().tolist(),
                    batch["candidate_offsets"].numpy().tolist(),
                    batch["histories"].to_list(),
                    batch["positives"].to_list(),
                ]
                for batch in batches_of(sampled, seed=seed)
            ]

        assert told(1) == told(1)
        assert told(1) != told(2)


class _Recorded(RetrievalLoop):
    """Keeps what it is given to train on."""

    max_loss = 1.0

    def create(self, batch):
        del batch
        self.trained = []

    def prepare(self, schedule_steps):
        del schedule_steps

    def step(self, batch):
        self.trained.append(batch["query_rows"].numpy().tolist())
        return tf.constant(0.0)

    def variables(self):
        return []

    def optimizers(self):
        return []

    def state(self):
        return []

    def weights(self):
        return []


def test_every_batch_is_trained_on_from_the_first():
    loop = loop_of(False, kind=_Recorded)
    loop.fit(6, 6)
    assert loop.trained == [batch["query_rows"].numpy().tolist() for batch in batches_of(False)]


class TestNumSteps:
    # 24 users have a history: three batches of eight an epoch.
    def test_goes_by_epochs(self):
        assert loop_of(False, retrieval_epochs=5, min_steps=1).num_steps == 15
        assert loop_of(False, retrieval_epochs=5, min_steps=100).num_steps == 100

    def test_is_bound_by_cells(self):
        # An epoch scores 24 users on 50 candidates, or on the 12 of a sample, which count twice.
        limit = {"retrieval_epochs": 20, "min_steps": 1, "max_retrieval_cells": 2 * 24 * 50}
        assert loop_of(False, **limit).num_steps == 6
        # 2 · 50/24 = 4 1/6 epochs.
        assert loop_of(True, **limit).num_steps == 13

    def test_everybody_who_has_a_vector_is_seen_once(self):
        # Half an epoch.
        limit = {"retrieval_epochs": 20, "min_steps": 1, "max_retrieval_cells": 12 * 50}
        assert loop_of(False, **limit).num_steps == 2
        assert loop_of(False, user_embedding=True, **limit).num_steps == 3
