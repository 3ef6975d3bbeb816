import functools
import gc
import weakref

import numpy as np
import pytest

from models import metrics, rating_data, training
from models.baselines.popularity import Popularity
from models.bias import choose_shrinkages, fit_bias
from models.errors import InputError
from models.fit import Fit
from models.looks import EvalSplit
from models.options import ModelOptions, Objective, TrainingOptions
from models.recipes import RETRIEVAL, SPACES
from models.training import train

_TINY = TrainingOptions(
    rating_batch_size=128,
    retrieval_batch_size=16,
    rating_epochs=1,
    retrieval_epochs=1,
    min_steps=1,
    retrieval_learning_rate=6e-3,
    num_evaluations=3,
    num_folds=2,
    seed=5,
)
# Nothing is left to eval but the steps and the factors' weight.
_SETTLED = ModelOptions(
    embedding_dim=3,
    rating_dim=2,
    tower_widths=(4,),
    taste_dim=2,
    factor_dim=2,
    temperature=0.12,
    history_power=0.5,
    user_embedding=False,
    query_covariates=0.3,
    candidate_covariates=0.3,
)


def _train(planted, model_options=None, options=_TINY, refit=False, num_ratings=600):
    return train(
        planted.users,
        planted.businesses,
        planted.train[:num_ratings],
        planted.eval[:100],
        model_options or _SETTLED,
        options,
        refit,
    )


def _recorded(function, names):
    """The function, which adds its name to a list at each call."""

    @functools.wraps(function)
    def wrapped(*arguments, **options):
        names.append(function.__name__)
        return function(*arguments, **options)

    return wrapped


def _embed(result, num_users):
    candidates = result.model.embed_candidates()
    return result.model.embed_queries(candidates, np.arange(num_users)), candidates


class TestPlantedData:
    def test_ratings_beat_the_bias_model(self, planted, trained):
        queries, candidates = _embed(trained, planted.users.num_rows)
        block, test = -trained.model.rating_block_dim, planted.test
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
        block = trained.model.retrieval_block_dim
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
        np.testing.assert_array_equal(trained.model.retrieval.counts, counts)
        for choice in trained.choices.values():
            (trial,) = choice.trials
            looks = {look["step"]: look["score"] for look in trial["looks"]}
            assert len(looks) == 4
            assert max(looks) == choice.num_steps
            assert looks[choice.best_step] == max(looks.values())

    def test_a_history_alone_serves_nearly_as_well_as_training(self, planted, trained):
        """Users withheld from training are embedded from their history."""
        withheld = np.arange(0, 200, 4)
        inside = ~np.isin(planted.train.user_rows, withheld)
        inside_eval = ~np.isin(planted.eval.user_rows, withheld)
        result = train(
            planted.users,
            planted.businesses,
            planted.train[inside],
            planted.eval[inside_eval],
            trained.model.options,
            TrainingOptions(
                rating_batch_size=512,
                retrieval_batch_size=64,
                min_steps=240,
                retrieval_learning_rate=6e-3,
                num_folds=5,
                num_evaluations=4,
            ),
            refit=True,
        )
        everything = planted.train + planted.eval
        relevant = planted.test.histories(200)
        users = withheld[relevant.lengths()[withheld] > 0]
        relevant, seen = relevant.take(users), everything.histories(200).take(users)
        recall = {}
        for name, model in (("withheld", result.model), ("trained in", trained.model)):
            candidates = model.embed_candidates()
            block = model.retrieval_block_dim
            queries = model.embed_queries(candidates, users, seen)[:, :block]
            hit = metrics.hits(metrics.top_k(queries, candidates[:, :block], 20, seen), relevant)
            recall[name] = metrics.recall_at(hit, relevant.lengths(), 20).mean()
        assert recall["withheld"] > 0.94 * recall["trained in"]

    def test_shrinkages_are_those_that_train_and_eval_choose(self, planted, trained):
        assert trained.shrinkages == choose_shrinkages(planted.train, planted.eval, 200, 100)
        bias = trained.model.rating.sums.bias
        assert (bias.user_shrinkage, bias.business_shrinkage) == trained.shrinkages


@pytest.fixture(scope="module")
def tiny_run(planted):
    return _train(planted)


class TestRuns:
    def test_the_same_seed_gives_the_same_model(self, planted, tiny_run):
        again = _train(planted)
        assert again.choices == tiny_run.choices
        for one, other in zip(_embed(again, 200), _embed(tiny_run, 200), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

    def test_without_a_refit_the_best_look_is_what_is_returned(self, planted, tiny_run):
        np.testing.assert_array_equal(tiny_run.fitted.stars, planted.train.stars[:600])
        queries, candidates = _embed(tiny_run, 200)
        eval_set = planted.eval[:100]
        block = -tiny_run.model.rating_block_dim
        stars = (
            queries[eval_set.user_rows, block:] * candidates[eval_set.business_rows, block:]
        ).sum(axis=1)
        error = np.sqrt(np.mean((np.clip(stars, 1, 5) - eval_set.stars) ** 2))
        trial = tiny_run.choices["rating"].trials[-1]
        if tiny_run.choices["rating"].factors.dim:
            assert error < -trial["score"] + 1e-6
        else:
            assert error == pytest.approx(-trial["score"], rel=1e-4)

    @pytest.mark.parametrize("task", ["rating", "retrieval"])
    def test_weight_0_switches_a_task_off(self, planted, monkeypatch, task):
        other = {"rating": "retrieval", "retrieval": "rating"}[task]
        options = _SETTLED.model_copy(
            update={"objective": Objective(**{task: 0.0, other: 1.0}), "temperature": "auto"}
        )
        looked, cross_fitted = [], []
        for name in ("rate", "rank"):
            monkeypatch.setattr(EvalSplit, name, _recorded(getattr(EvalSplit, name), looked))
        cross_fit = _recorded(rating_data.cross_fit, cross_fitted)
        monkeypatch.setattr(rating_data, "cross_fit", cross_fit)
        result = _train(planted, options, refit=True)
        assert set(result.choices) == {other}
        # Nor does anything prepare or look at it.
        assert set(looked) == {{"rating": "rate", "retrieval": "rank"}[other]}
        assert bool(cross_fitted) == (other == "rating")
        # The whole model can be exported none the less.
        queries, candidates = _embed(result, 200)
        assert np.isfinite(queries).all()
        assert np.isfinite(candidates).all()
        assert queries.shape[1] == candidates.shape[1] == result.model.total_dim

    @pytest.mark.parametrize("task", ["rating", "retrieval"])
    def test_joint_training_loses_nothing_against_each_task_alone(self, planted, tiny_run, task):
        """The blocks share ids, covariates and one geometry, and no weight."""
        other = {"rating": "retrieval", "retrieval": "rating"}[task]
        objective = Objective(**{task: 1.0, other: 0.0})
        alone = _train(planted, _SETTLED.model_copy(update={"objective": objective}))
        assert alone.choices[task] == tiny_run.choices[task]
        start = 0 if task == "retrieval" else -tiny_run.model.rating_block_dim
        stop = tiny_run.model.retrieval_block_dim if task == "retrieval" else None
        for one, joint in zip(_embed(alone, 200), _embed(tiny_run, 200), strict=True):
            np.testing.assert_allclose(one[:, start:stop], joint[:, start:stop], atol=1e-6)

    def test_what_is_open_is_tried_and_settled(self, planted):
        options = _SETTLED.model_copy(update={"temperature": "auto", "taste_dim": "auto"})
        result = _train(planted, options, refit=True)
        for task, key in (("rating", "taste_dim"), ("retrieval", "temperature")):
            choice = result.choices[task]
            assert len({trial["recipe"][key] for trial in choice.trials}) > 1
            assert getattr(result.model.options, key) == choice.recipe[key]
            space = SPACES[task].narrowed(options, _TINY)
            whole = [trial for trial in choice.trials if trial["share"] == 1.0]
            judged = [space.judge(trial["recipe"], trial["score"]) for trial in whole]
            best = choice.trials[-1]
            assert space.judge(best["recipe"], best["score"]) == max(judged)

    def test_what_was_learnt_to_choose_is_freed_before_the_refit(self, planted, monkeypatch):
        """On large data the first fit, and what rating rows are shown, take gigabytes."""
        fits, rows_while_lists_are_learnt = [], []

        class Watched(Fit):
            def __init__(self, *arguments):
                gc.collect()
                fits.append([weakref.ref(self), [fit() for fit, _ in fits]])
                super().__init__(*arguments)

            def loop(self, task, *arguments):
                if task == RETRIEVAL:
                    rows_while_lists_are_learnt.append(len(self.ratings._rows))
                return super().loop(task, *arguments)

        monkeypatch.setattr(training, "Fit", Watched)
        _train(planted, refit=True)
        assert [left for _, left in fits] == [[], [None]]
        assert set(rows_while_lists_are_learnt) == {0}

    def test_a_large_catalogue_is_sampled(self, planted):
        options = _TINY.model_copy(update={"max_full_softmax": 50, "num_negatives": 30})
        result = _train(planted, options=options, num_ratings=3_000)
        assert all(np.isfinite(embedded).all() for embedded in _embed(result, 200))

    @pytest.mark.parametrize("task", ["rating", "retrieval"])
    def test_a_loss_that_is_not_a_number_is_an_error_with_a_remedy(self, planted, task):
        options = _TINY.model_copy(update={f"{task}_learning_rate": float("nan")})
        message = (
            f"finite training loss of the {task} task; got nan at step .* Lower training.{task}"
        )
        with pytest.raises(InputError, match=message):
            _train(planted, options=options)

    def test_fewer_ratings_than_a_batch(self, planted):
        result = _train(planted, num_ratings=5)
        assert len(result.fitted) == 5
        assert np.isfinite(_embed(result, 200)[0]).all()
