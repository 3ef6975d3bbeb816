import math

import numpy as np
import pytest

from models import metrics
from models.baselines.popularity import Popularity
from models.bias import choose_shrinkages, fit_bias
from models.errors import InputError
from models.options import ModelOptions, Objective, TrainingOptions
from models.tables import Bag
from models.training import split_histories, train

_TINY = TrainingOptions(
    rating_batch_size=128,
    retrieval_batch_size=16,
    epochs=1,
    min_steps=1,
    num_evaluations=3,
    num_folds=2,
    seed=5,
)


def _train(planted, model_options=None, options=_TINY, refit=False, num_ratings=600):
    return train(
        planted.users,
        planted.businesses,
        planted.train[:num_ratings],
        planted.eval[:100],
        model_options
        or ModelOptions(
            embedding_dim=3, rating_dim=2, tower_widths=(4,), taste_dim=2, temperature=0.12
        ),
        options,
        refit,
    )


def _embed(result, num_users):
    candidates = result.model.embed_candidates()
    return result.model.embed_queries(candidates, np.arange(num_users)), candidates


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


class TestPlantedData:
    def test_ratings_beat_the_bias_model(self, planted, trained):
        queries, candidates = _embed(trained, planted.users.num_rows)
        block, test = -trained.model.options.rating_block_dim, planted.test
        stars = (queries[test.user_rows, block:] * candidates[test.business_rows, block:]).sum(1)
        error = np.sqrt(np.mean((np.clip(stars, 1, 5) - test.stars) ** 2))
        shrinkages = choose_shrinkages(planted.train, planted.eval, 200, 100)
        bias = fit_bias(planted.train + planted.eval, 200, 100, *shrinkages)
        predicted = bias.rate(test.user_rows, test.business_rows)
        bias_error = np.sqrt(np.mean((predicted - test.stars) ** 2))
        # Taste is worth ±.8 stars; the noise is .4, and .29 from rounding.
        assert error < bias_error - 0.05
        assert error < 0.7

    def test_lists_beat_popularity(self, planted, trained):
        queries, candidates = _embed(trained, planted.users.num_rows)
        relevant = planted.test.histories(200)
        users = np.flatnonzero(relevant.lengths())
        relevant, seen = relevant.take(users), trained.fitted.histories(200).take(users)
        block = trained.model.options.retrieval_block_dim
        ranked = {
            "model": metrics.top_k(queries[users, :block], candidates[:, :block], 20, seen),
            "popularity": Popularity(trained.fitted, 100).recommend(users, 20, seen),
        }
        recall = {
            name: metrics.recall_at(metrics.hits(lists, relevant), relevant.lengths(), 20).mean()
            for name, lists in ranked.items()
        }
        assert recall["model"] > 1.3 * recall["popularity"]

    def test_refit_learns_from_both_splits_for_the_chosen_steps(self, planted, trained):
        both = planted.train + planted.eval
        np.testing.assert_array_equal(trained.fitted.user_rows, both.user_rows)
        np.testing.assert_array_equal(trained.fitted.stars, both.stars)
        counts = np.bincount(both.business_rows, minlength=100)
        np.testing.assert_array_equal(trained.model.counts, counts)
        looks = {look.step: look for look in trained.trials[0].evaluations}
        assert len(looks) == 4
        best = trained.best_steps
        assert looks[best["rating"]].rmse == min(look.rmse for look in looks.values())
        assert looks[best["retrieval"]].recall_at_20 == max(
            look.recall_at_20 for look in looks.values()
        )

    def test_shrinkages_are_those_that_train_and_eval_choose(self, planted, trained):
        assert trained.shrinkages == choose_shrinkages(planted.train, planted.eval, 200, 100)
        bias = trained.model.sums.bias
        assert (bias.user_shrinkage, bias.business_shrinkage) == trained.shrinkages


@pytest.fixture(scope="module")
def tiny_run(planted):
    return _train(planted)


class TestRuns:
    def test_the_same_seed_gives_the_same_model(self, planted, tiny_run):
        again = _train(planted)
        assert again.trials[0].evaluations == tiny_run.trials[0].evaluations
        for one, other in zip(_embed(again, 200), _embed(tiny_run, 200), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

    def test_without_a_refit_the_best_look_is_what_is_returned(self, planted, tiny_run):
        np.testing.assert_array_equal(tiny_run.fitted.stars, planted.train.stars[:600])
        queries, candidates = _embed(tiny_run, 200)
        eval_set = planted.eval[:100]
        block = -tiny_run.model.options.rating_block_dim
        stars = (
            queries[eval_set.user_rows, block:] * candidates[eval_set.business_rows, block:]
        ).sum(axis=1)
        error = np.sqrt(np.mean((np.clip(stars, 1, 5) - eval_set.stars) ** 2))
        assert error == pytest.approx(
            min(look.rmse for look in tiny_run.trials[0].evaluations), rel=1e-4
        )

    @pytest.mark.parametrize("task", ["rating", "retrieval"])
    def test_weight_0_switches_a_task_off(self, planted, task):
        other = {"rating": "retrieval", "retrieval": "rating"}[task]
        options = ModelOptions(
            embedding_dim=3,
            rating_dim=2,
            tower_widths=(4,),
            objective=Objective(**{task: 0.0, other: 1.0}),
        )
        result = _train(planted, options, refit=True)
        assert set(result.best_steps) == {other}
        measured = {
            "rating": [look.rmse for look in result.trials[0].evaluations],
            "retrieval": [look.recall_at_20 for look in result.trials[0].evaluations],
        }
        assert all(math.isnan(value) for value in measured[task])
        assert all(math.isfinite(value) for value in measured[other])
        # The whole model can be exported none the less.
        queries, candidates = _embed(result, 200)
        assert np.isfinite(queries).all()
        assert np.isfinite(candidates).all()
        assert queries.shape[1] == candidates.shape[1] == options.total_dim

    def test_a_loss_that_is_not_a_number_is_an_error_with_a_remedy(self, planted):
        options = _TINY.model_copy(update={"rating_learning_rate": 1e30})
        with pytest.raises(InputError, match="finite training loss; got .* at step .* Lower"):
            _train(planted, options=options)

    def test_fewer_ratings_than_a_batch(self, planted):
        result = _train(planted, num_ratings=5)
        assert len(result.fitted) == 5
        assert np.isfinite(_embed(result, 200)[0]).all()
