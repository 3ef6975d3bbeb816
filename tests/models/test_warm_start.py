import dataclasses
import logging

import numpy as np
import pytest

from models.content import content_coordinates
from models.fit import Fit, Records, Shared
from models.options import ModelOptions, TrainingOptions
from models.preprocessing import ATTRIBUTES, CATEGORIES, CITY
from models.recipes import RATING, RETRIEVAL
from models.tables import Bag, EntityTable, Interactions
from models.taste import Taste
from models.training import train
from models.warm_start import Learnt, WarmStart

_OPTIONS = TrainingOptions(
    rating_batch_size=128,
    retrieval_batch_size=32,
    rating_epochs=1,
    retrieval_epochs=1,
    min_steps=60,
    rating_learning_rate=2e-3,
    retrieval_learning_rate=6e-3,
    num_evaluations=2,
    num_folds=2,
    warm_start=True,
)
_SETTLED = ModelOptions(
    embedding_dim=4,
    rating_dim=2,
    tower_widths=(4,),
    taste_dim=2,
    factor_dim=0,
    temperature=0.2,
    history_power=0.5,
    user_embedding=True,
    query_covariates=0.3,
    candidate_covariates=0.3,
)
# What an earlier run had not seen: the first 20 users, the first 10 places.
_NEW_USERS, _NEW_PLACES = 20, 10


@dataclasses.dataclass(frozen=True)
class Day:
    """The tables of one run, and its train split."""

    users: EntityTable
    businesses: EntityTable
    train: Interactions


@pytest.fixture(scope="module")
def today(planted) -> Day:
    vocabularies = {
        CITY: np.array([b"Reno", b"Tampa", b"Boise"], object),
        CATEGORIES: np.array([b"Bars", b"Tea"], object),
        ATTRIBUTES: np.zeros(0, object),
    }
    businesses = dataclasses.replace(planted.businesses, vocabularies=vocabularies)
    return Day(planted.users, businesses, planted.train)


@pytest.fixture(scope="module")
def yesterday(today) -> Day:
    """Fewer users and places; the cities in another order, one of them not there yet."""
    users, places, train_set = today.users, today.businesses, today.train
    kept = (train_set.user_rows >= _NEW_USERS) & (train_set.business_rows >= _NEW_PLACES)
    renamed = np.array([1, 3, 0, 3], np.int32)  # Reno, Tampa (not there), Boise, others.
    tokens = places.bags[CATEGORIES].values[_NEW_PLACES:]
    count = places.num_rows - _NEW_PLACES
    return Day(
        EntityTable(users.ids[_NEW_USERS:], users.numeric[_NEW_USERS:]),
        EntityTable(
            places.ids[_NEW_PLACES:],
            places.numeric[_NEW_PLACES:],
            {CITY: np.minimum(renamed[places.categorical[CITY]], 2)[_NEW_PLACES:]},
            {
                CATEGORIES: Bag(tokens, np.arange(count + 1)),
                ATTRIBUTES: Bag(np.zeros(0, np.int32), np.zeros(count + 1, np.int64)),
            },
            {CITY: 3, CATEGORIES: 3, ATTRIBUTES: 1},
            {**places.vocabularies, CITY: np.array([b"Boise", b"Reno"], object)},
        ),
        Interactions(
            train_set.user_rows[kept] - _NEW_USERS,
            train_set.business_rows[kept] - _NEW_PLACES,
            train_set.stars[kept],
        ),
    )


def _train(day, eval_set, model_options=_SETTLED, base=None, options=_OPTIONS):
    return train(
        day.users, day.businesses, day.train, eval_set, model_options, options, True, base=base
    )


@pytest.fixture(scope="module")
def learnt(yesterday, planted) -> Learnt:
    known = (planted.eval.user_rows >= _NEW_USERS) & (planted.eval.business_rows >= _NEW_PLACES)
    eval_set = planted.eval[known]
    moved = Interactions(
        eval_set.user_rows - _NEW_USERS, eval_set.business_rows - _NEW_PLACES, eval_set.stars
    )
    return _train(yesterday, moved).learnt


@pytest.fixture(scope="module")
def fitted(today):
    """The two loops over today's train split, created but not trained."""
    content, _ = content_coordinates(today.businesses, 64, _OPTIONS.seed)
    businesses = dataclasses.replace(today.businesses, content=content)
    shared = Shared(today.users, businesses, (4.0, 4.0), 10.0, _OPTIONS, Records())
    fit = Fit(shared, today.train, _SETTLED)
    loops = {task: fit.loop(task, _SETTLED, _OPTIONS) for task in (RATING, RETRIEVAL)}
    for loop in loops.values():
        loop.create(next(loop.batches()))
    return loops


class TestRecord:
    def test_comes_back_as_it_was(self, learnt, tmp_path):
        learnt.write(str(tmp_path / "learnt"))
        found = Learnt.read(str(tmp_path / "learnt"))
        for field in dataclasses.fields(Learnt):
            value, other = getattr(learnt, field.name), getattr(found, field.name)
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(other, value)
        np.testing.assert_array_equal(found.taste.businesses, learnt.taste.businesses)
        assert found.options == learnt.options
        for task, weights in learnt.weights.items():
            for one, other in zip(found.weights[task], weights, strict=True):
                np.testing.assert_array_equal(one, other)

    def test_of_nothing_is_none(self, tmp_path):
        assert Learnt.read(str(tmp_path)) is None

    def test_holds_the_train_split_alone(self, learnt, yesterday):
        """Not eval, which the model that is pushed has learnt from."""
        np.testing.assert_array_equal(learnt.user_rows, yesterday.train.user_rows)


class TestRows:
    def test_of_ids_are_matched_and_new_ones_start_as_usual(self, learnt, today, fitted):
        loop = fitted[RETRIEVAL]
        model = loop.model
        usual = model.candidate_ids.numpy()
        warm = WarmStart(learnt, today.users, today.businesses, today.train)
        assert warm.assign(RETRIEVAL, model, loop.variables()) == ""
        *shared, ids, vectors = learnt.weights[RETRIEVAL]
        np.testing.assert_array_equal(model.candidate_ids.numpy()[_NEW_PLACES:], ids)
        np.testing.assert_array_equal(model.user_vectors.numpy()[_NEW_USERS:], vectors)
        assert np.abs(vectors).max() > 0
        np.testing.assert_array_equal(model.user_vectors.numpy()[:_NEW_USERS], 0.0)
        # Directions of new places, turned with the others: as long, and as far from one another.
        new = model.candidate_ids.numpy()[:_NEW_PLACES]
        usual = usual[:_NEW_PLACES]
        np.testing.assert_allclose(new @ new.T, usual @ usual.T, atol=1e-5)
        for variable, value in zip(loop.variables(), shared, strict=False):
            np.testing.assert_array_equal(variable.numpy(), value)

    def test_of_tokens_are_matched(self, learnt, today, fitted):
        variables = fitted[RATING].variables()
        usual = [variable.numpy() for variable in variables]
        warm = WarmStart(learnt, today.users, today.businesses, today.train)
        assert warm.assign(RATING, fitted[RATING].model, variables) == ""
        places = [n for n, v in enumerate(variables) if v.shape[0] == 4 and "city" in v.name]
        (place,) = places
        earlier, now = learnt.weights[RATING][place], variables[place].numpy()
        # Earlier: Boise, Reno, others. Now: Reno, Tampa, Boise, others.
        np.testing.assert_array_equal(now[[0, 2, 3]], earlier[[1, 0, 2]])
        np.testing.assert_array_equal(now[1], usual[place][1])

    def test_of_a_rating_that_is_no_longer_in_train_start_anew(self, learnt, today, fitted):
        loop = fitted[RETRIEVAL]
        model, ratings = loop.model, today.train
        known = (ratings.user_rows >= _NEW_USERS) & (ratings.business_rows >= _NEW_PLACES)
        gone = np.flatnonzero(known)[0]
        user, place = ratings.user_rows[gone], ratings.business_rows[gone]
        left = ratings[np.arange(len(ratings)) != gone]
        warm = WarmStart(learnt, today.users, today.businesses, left)
        assert warm.unknown_share == pytest.approx(1 / len(learnt.user_rows))
        assert warm.obstacle(_SETTLED) == ""
        model.user_vectors.assign(np.full(model.user_vectors.shape, 7.0))
        warm.assign(RETRIEVAL, model, loop.variables())
        anew = np.flatnonzero((model.user_vectors.numpy() == 7.0).all(axis=1))
        assert list(anew) == [*range(_NEW_USERS), user]
        *_, ids, _ = learnt.weights[RETRIEVAL]
        same = (model.candidate_ids.numpy()[_NEW_PLACES:] == ids).all(axis=1)
        assert list(np.flatnonzero(~same)) == [place - _NEW_PLACES]


class TestCoordinates:
    def test_that_came_out_turned_are_turned_back(self, learnt, today):
        rng = np.random.default_rng(0)
        width = learnt.content.shape[1]
        turn, _ = np.linalg.qr(rng.normal(size=(width, width)))
        warm = WarmStart(learnt, today.users, today.businesses, today.train)
        turned = np.concatenate([np.zeros((_NEW_PLACES, width)), learnt.content @ turn])
        tokens = learnt.content[:5]
        found, tokens_found = warm.align_content(turned.astype(np.float32), tokens @ turn)
        np.testing.assert_allclose(found[_NEW_PLACES:], learnt.content, atol=1e-4)
        np.testing.assert_allclose(tokens_found, tokens, atol=1e-4)

    def test_of_taste_turn_alike_on_both_sides(self, learnt, today):
        turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))
        warm = WarmStart(learnt, today.users, today.businesses, today.train)
        taste = learnt.taste
        grown = Taste(
            np.concatenate([np.zeros((_NEW_USERS, 2)), taste.users @ turn]),
            np.concatenate([
                np.zeros((_NEW_PLACES, 6)),
                np.concatenate([taste.businesses[:, :2] @ turn, taste.businesses[:, 2:]], axis=1),
            ]),
            taste.tags,
        )
        found = warm.align_taste(grown)
        np.testing.assert_allclose(found.users[_NEW_USERS:], taste.users, atol=1e-4)
        np.testing.assert_allclose(found.businesses[_NEW_PLACES:], taste.businesses, atol=1e-4)
        np.testing.assert_allclose(found.tags, taste.tags, atol=1e-4)


class TestTraining:
    def test_tries_a_start_where_the_earlier_one_ended(self, learnt, today, planted, caplog):
        """What is open takes the earlier values; eval compares with a cold start."""
        caplog.set_level(logging.INFO, "t2rec")
        options = _OPTIONS.model_copy(update={"min_steps": 4, "num_evaluations": 1})
        open_options = _SETTLED.model_copy(update={"temperature": "auto", "taste_dim": "auto"})
        result = _train(today, planted.eval, open_options, learnt, options)
        assert "trying a start from the latest blessed model" in caplog.text
        assert "starts cold" not in caplog.text
        assert result.model.options == _SETTLED
        for choice in result.choices.values():
            assert {trial["recipe"]["warm_start"] for trial in choice.trials} == {True, False}
            assert choice.trials[-1]["score"] == max(trial["score"] for trial in choice.trials)
        # So few steps do for the towers only if they have learnt before.
        rmse = {t["recipe"]["warm_start"]: -t["score"] for t in result.choices[RATING].trials}
        assert rmse[True] < rmse[False] - 0.05
        assert result.choices[RATING].recipe == {"warm_start": True}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"temperature": 0.3}, "other settings: temperature was 0.2, is 0.3"),
            ({"embedding_dim": 5}, "other settings: embedding_dim was 4, is 5"),
        ],
    )
    def test_with_other_settings_starts_cold(self, learnt, today, change, message):
        warm = WarmStart(learnt, today.users, today.businesses, today.train)
        assert warm.obstacle(_SETTLED.model_copy(update=change)) == message

    def test_starts_cold_where_the_earlier_model_has_seen_answers(
        self, learnt, today, planted, caplog
    ):
        """Eval and train have changed places, as with another seed of the split."""
        swapped = dataclasses.replace(today, train=planted.eval)
        options = _OPTIONS.model_copy(update={"min_steps": 2, "num_evaluations": 1})
        found = _train(swapped, today.train[:300], base=learnt, options=options)
        assert "is not in the train split now, and might be in eval or test" in caplog.text
        for choice in found.choices.values():
            assert [trial["recipe"] for trial in choice.trials] == [{}]

    def test_without_some_covariates_starts_cold(self, learnt, today, fitted):
        loop = fitted[RETRIEVAL]
        shorter = dataclasses.replace(
            learnt, weights={RETRIEVAL: learnt.weights[RETRIEVAL][1:], RATING: []}
        )
        warm = WarmStart(shorter, today.users, today.businesses, today.train)
        before = loop.weights_now()
        assert "earlier variables" in warm.assign(RETRIEVAL, loop.model, loop.variables())
        for one, other in zip(loop.weights_now(), before, strict=True):
            np.testing.assert_array_equal(one, other)
