"""Data that is odd or broken, through real training: a sane model, or a message in words."""

import dataclasses

import numpy as np
import pytest

from models import training
from models.errors import InputError
from models.options import ModelOptions, Objective, TrainingOptions
from models.preprocessing import ATTRIBUTES, CATEGORIES, CITY
from models.recipes import RETRIEVAL, SPACES, Space
from models.tables import Bag, EntityTable, Interactions

_OPTIONS = TrainingOptions(
    rating_batch_size=64,
    retrieval_batch_size=16,
    rating_epochs=1,
    retrieval_epochs=1,
    min_steps=6,
    retrieval_learning_rate=6e-3,
    num_evaluations=1,
    num_folds=2,
)
_SETTLED = ModelOptions(
    embedding_dim=4,
    rating_dim=2,
    tower_widths=(4,),
    taste_dim=2,
    factor_dim=2,
    temperature=0.2,
    history_power=0.5,
    user_embedding=False,
    query_covariates=0.3,
    candidate_covariates=0.3,
)


@dataclasses.dataclass(frozen=True)
class Data:
    """What is trained on."""

    users: EntityTable
    businesses: EntityTable
    train: Interactions
    eval: Interactions


def _businesses(count: int, tokens: int = 2, num_numeric: int = 2) -> EntityTable:
    every = np.arange(count, dtype=np.int32)
    rng = np.random.default_rng(0)
    return EntityTable(
        ids=np.array([b"place-%03d" % row for row in every], object),
        numeric=rng.normal(size=(count, num_numeric)).astype(np.float32),
        categorical={CITY: every % max(tokens, 1)},
        bags={
            CATEGORIES: Bag(every % max(tokens, 1), np.arange(count + 1))
            if tokens
            else Bag(np.zeros(0, np.int32), np.zeros(count + 1, np.int64)),
            ATTRIBUTES: Bag(np.zeros(0, np.int32), np.zeros(count + 1, np.int64)),
        },
        vocabulary_sizes={CITY: tokens + 1, CATEGORIES: tokens + 1, ATTRIBUTES: 1},
    )


def _users(count: int, num_numeric: int = 3) -> EntityTable:
    rng = np.random.default_rng(1)
    return EntityTable(
        ids=np.array([b"user-%03d" % row for row in range(count)], object),
        numeric=rng.normal(size=(count, num_numeric)).astype(np.float32),
    )


def _ratings(pairs: np.ndarray, num_businesses: int, stars=None) -> Interactions:
    users, businesses = np.divmod(pairs, num_businesses)
    drawn = np.random.default_rng(2).integers(1, 6, len(pairs)) if stars is None else stars
    return Interactions(
        users.astype(np.int32),
        businesses.astype(np.int32),
        np.broadcast_to(drawn, len(pairs)).astype(np.float32),
    )


def _data(num_users=30, num_businesses=20, stars=None, **kwargs) -> Data:
    cells = num_users * num_businesses
    pairs = np.random.default_rng(3).permutation(cells)[: min(cells, 200)]
    cut = max(1, len(pairs) // 5)
    return Data(
        _users(num_users),
        _businesses(num_businesses, **kwargs),
        _ratings(pairs[cut:], num_businesses, stars),
        _ratings(pairs[:cut], num_businesses, stars),
    )


def _only(task: str) -> ModelOptions:
    weights = {name: float(name == task) for name in ("rating", "retrieval")}
    return _SETTLED.model_copy(update={"objective": Objective(**weights)})


def _train(data: Data, options=_OPTIONS, model_options=_SETTLED):
    return training.train(
        data.users, data.businesses, data.train, data.eval, model_options, options, refit=False
    )


def _predict(result, data: Data) -> np.ndarray:
    """Predicts the stars of all pairs."""
    candidates = result.model.embed_candidates()
    queries = result.model.embed_queries(candidates, np.arange(data.users.num_rows))
    assert np.isfinite(queries).all()
    assert np.isfinite(candidates).all()
    block = -result.model.rating_block_dim
    return queries[:, block:] @ candidates[:, block:].T


class TestOddData:
    @pytest.mark.parametrize(
        ("shape", "tables"),
        [
            ((1, 20), {"tokens": 1}),  # One user; a vocabulary of one token.
            ((20, 1), {"tokens": 0, "num_numeric": 0}),  # One business; ids are all there is.
        ],
    )
    def test_a_single_user_or_business(self, shape, tables):
        data = _data(*shape, **tables)
        if not tables["tokens"]:
            data = dataclasses.replace(data, users=_users(shape[0], num_numeric=0))
        # Nobody rates far beyond the range of stars.
        assert (np.abs(_predict(_train(data), data) - 3) < 4).all()

    def test_all_stars_equal(self):
        data = _data(stars=4.0)
        options = _OPTIONS.model_copy(update={"min_steps": 80, "rating_learning_rate": 1e-2})
        result = _train(data, options, _only("rating"))
        np.testing.assert_allclose(_predict(result, data), 4.0, atol=0.1)

    def test_all_stars_equal_leave_nothing_to_choose(self):
        """Implicit feedback: the time goes to the lists."""
        open_ = {"taste_dim": "auto", "factor_dim": 4}
        options = _OPTIONS.model_copy(update={"rating_learning_rate": "auto", "rating_epochs": 90})
        result = _train(_data(stars=4.0), options, _only("rating").model_copy(update=open_))
        (trial,) = result.choices["rating"].trials
        assert trial["recipe"] == {"taste_dim": 0, "rating_learning_rate": 2e-3}
        assert result.choices["rating"].num_steps == options.min_steps
        assert result.model.rating.factors.factor_dim == 0

    def test_nobody_of_eval_is_known_from_train(self):
        data = _data()
        known = (data.train.user_rows < 15) & (data.train.business_rows < 10)
        new = (data.eval.user_rows >= 15) & (data.eval.business_rows >= 10)
        data = dataclasses.replace(data, train=data.train[known], eval=data.eval[new])
        result = _train(data)
        assert result.choices["retrieval"].best_step
        assert (np.abs(_predict(result, data) - 3) < 4).all()


class TestMessages:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize("table", ["users", "businesses"])
    def test_a_covariate_that_is_not_finite(self, table, value):
        data = _data()
        getattr(data, table).numeric[7, 1] = value
        name = {"users": "user-007", "businesses": "place-007"}[table]
        message = rf"finite covariates of the {table}; got {value} in numeric column 1 of '{name}'"
        with pytest.raises(InputError, match=message):
            _train(data)

    @pytest.mark.parametrize("split", ["train", "eval"])
    def test_an_empty_split(self, split):
        data = _data()
        data = dataclasses.replace(data, **{split: getattr(data, split)[:0]})
        with pytest.raises(InputError, match=f"at least one interaction in the {split} split"):
            _train(data)

    @pytest.mark.parametrize("split", ["train", "eval"])
    def test_stars_that_are_not_finite(self, split):
        data = _data()
        getattr(data, split).stars[3] = np.nan
        with pytest.raises(InputError, match=f"finite stars in the {split} split; got nan for"):
            _train(data)


class TestDivergence:
    @pytest.mark.parametrize(
        ("task", "rate"), [("rating", 1e3), ("retrieval", 1e5), ("rating", float("nan"))]
    )
    def test_stops_the_run_early_with_a_remedy(self, task, rate, caplog):
        options = _OPTIONS.model_copy(update={f"{task}_learning_rate": rate, "min_steps": 5_000})
        message = rf"training loss .*of the {task} task; got .* at step \d{{1,2}}\. Lower training"
        with pytest.raises(InputError, match=message):
            _train(_data(), options, _only(task))

    def test_of_one_recipe_leaves_the_others(self, monkeypatch, caplog):
        rates = ({"retrieval_learning_rate": 1e5}, {"retrieval_learning_rate": 6e-3})
        monkeypatch.setitem(SPACES, RETRIEVAL, Space(rates))
        options = _OPTIONS.model_copy(update={"retrieval_learning_rate": "auto"})
        options = options.model_copy(update={"min_steps": 40})
        result = _train(_data(), options, _only("retrieval"))
        choice = result.choices["retrieval"]
        assert choice.recipe == rates[1]
        failed, best = choice.trials
        assert failed["recipe"] == rates[0]
        assert "Lower training.retrieval_learning_rate" in failed["error"]
        assert best["looks"]
        assert "retrieval_learning_rate=100000.0 failed: Expected" in caplog.text

    def test_of_all_recipes_is_an_error(self, monkeypatch):
        rates = tuple({"retrieval_learning_rate": rate} for rate in (1e5, 1e6))
        monkeypatch.setitem(SPACES, RETRIEVAL, Space(rates))
        options = _OPTIONS.model_copy(update={"retrieval_learning_rate": "auto"})
        options = options.model_copy(update={"min_steps": 40})
        with pytest.raises(InputError, match="The 2 recipes tried all diverged"):
            _train(_data(), options, _only("retrieval"))
