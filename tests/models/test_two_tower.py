import numpy as np
import pytest
import tensorflow as tf

from models import two_tower
from models.aggregates import sum_ratings
from models.bias import fit_bias
from models.factors import Factors
from models.options import ModelOptions, Objective
from models.preprocessing import ATTRIBUTES, CATEGORIES, CITY
from models.ridge import Priors
from models.tables import Bag, EntityTable, Interactions
from models.taste import taste_coordinates
from models.two_tower import TwoTowerModel

_NUM_USERS, _NUM_BUSINESSES = 7, 5
# Business 4 has no ratings, user 6 neither.
_RATINGS = Interactions(
    np.array([0, 0, 1, 2, 2, 2, 3, 4, 5], np.int32),
    np.array([0, 1, 2, 0, 1, 3, 3, 2, 0], np.int32),
    np.array([5, 3, 4, 1, 2, 5, 4, 4, 3], np.float32),
)


def _entities():
    rng = np.random.default_rng(0)
    users = EntityTable(
        ids=np.array([b"u%d" % row for row in range(_NUM_USERS)], object),
        numeric=rng.normal(size=(_NUM_USERS, 3)).astype(np.float32),
    )
    bags = {
        key: Bag.from_pairs(np.array([0, 0, 2, 3]), np.array([1, 0, 2, 1], np.int32), 5)
        for key in (CATEGORIES, ATTRIBUTES)
    }
    businesses = EntityTable(
        ids=np.array([b"b%d" % row for row in range(_NUM_BUSINESSES)], object),
        numeric=rng.normal(size=(_NUM_BUSINESSES, 4)).astype(np.float32),
        categorical={CITY: np.array([0, 1, 0, 1, 1], np.int32)},
        bags=bags,
        vocabulary_sizes={CITY: 3, CATEGORIES: 4, ATTRIBUTES: 4},
        content=rng.normal(size=(_NUM_BUSINESSES, 2)).astype(np.float32),
    )
    return users, businesses


def _build(**changes) -> TwoTowerModel:
    users, businesses = _entities()
    options = ModelOptions(
        embedding_dim=4,
        rating_dim=3,
        tower_widths=(5,),
        taste_dim=1,
        temperature=0.12,
        history_power=0.5,
        **{
            "user_embedding": False,
            "query_covariates": 0.3,
            "candidate_covariates": 0.3,
            "user_profile_dropout": 0.0,
            **changes,
        },
    )
    rng = np.random.default_rng(4)
    priors = Priors(
        rng.normal(size=_NUM_USERS),
        rng.normal(size=_NUM_BUSINESSES),
        rng.normal(size=users.numeric.shape[1]),
        0.2,
        -0.3,
        np.zeros(0),
    )
    bias = fit_bias(_RATINGS, _NUM_USERS, _NUM_BUSINESSES, 2.0, 2.0, priors=priors)
    taste = taste_coordinates(_RATINGS, _NUM_USERS, businesses, 1, seed=0)
    directions = np.random.default_rng(1).normal(size=(_NUM_BUSINESSES, 4)).astype(np.float32)
    model = TwoTowerModel(
        options,
        users,
        businesses,
        sum_ratings(_RATINGS, bias, taste=taste),
        _RATINGS.histories(_NUM_USERS),
        directions,
    )
    model.rating_loss(_rating_batch(model))
    model.retrieval_loss(_retrieval_batch())
    # Weights that start at zero would hide what they do.
    rng = np.random.default_rng(2)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(scale=0.5, size=variable.shape))
    return model


def _rating_batch(model):
    return {
        "user_rows": tf.constant(_RATINGS.user_rows),
        "business_rows": tf.constant(_RATINGS.business_rows),
        "stars": tf.constant(_RATINGS.stars),
        "user_sums": tf.constant(model.sums.users[_RATINGS.user_rows]),
        "business_sums": tf.constant(model.sums.businesses[_RATINGS.business_rows]),
        "business_priors": tf.gather(model._business_priors, _RATINGS.business_rows),
    }


def _retrieval_batch():
    return {
        "query_rows": tf.constant([0, 2]),
        "candidate_rows": tf.range(_NUM_BUSINESSES),
        "candidate_offsets": tf.constant([0.0, 0.0, 0.0, 0.0, -np.inf], tf.float32),
        "histories": tf.ragged.constant([[0], [1, 3]], tf.int32),
        "positives": tf.ragged.constant([[1], [0]], tf.int32),
    }


@pytest.fixture(scope="module")
def model():
    return _build()


class TestEmbeddings:
    @pytest.mark.parametrize("block_rows", [1, 2, 5])
    def test_do_not_depend_on_the_block_size(self, model, monkeypatch, block_rows):
        candidates = model.embed_candidates()
        queries = model.embed_queries(candidates, np.arange(_NUM_USERS))
        assert candidates.shape == (_NUM_BUSINESSES, model.total_dim)
        assert queries.shape == (_NUM_USERS, model.total_dim)
        monkeypatch.setattr(two_tower, "_BLOCK_ROWS", block_rows)
        np.testing.assert_allclose(model.embed_candidates(), candidates, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            model.embed_queries(candidates, np.arange(_NUM_USERS)), queries, rtol=1e-5, atol=1e-6
        )

    def test_rows_may_come_in_any_order(self, model):
        candidates = model.embed_candidates()
        everyone = model.embed_queries(candidates, np.arange(_NUM_USERS))
        some = np.array([5, 0, 5, 6])
        np.testing.assert_allclose(
            model.embed_queries(candidates, some), everyone[some], rtol=1e-5, atol=1e-6
        )

    def test_nobody(self, model):
        candidates = model.embed_candidates()
        nobody = model.embed_queries(candidates, np.zeros(0, np.int64))
        assert nobody.shape == (0, model.total_dim)

    def test_a_user_given_by_history_equals_the_same_user_by_row(self, model):
        candidates = model.embed_candidates()
        by_row = model.embed_queries(candidates, np.array([2]))
        # User 2 rated businesses 0, 1 and 3.
        history = Bag(np.array([3, 0, 1], np.int32), np.array([0, 3]))
        by_history = model.embed_queries(candidates, np.array([2]), history)
        np.testing.assert_allclose(by_history, by_row, rtol=1e-5, atol=1e-6)
        empty = Bag(np.zeros(0, np.int32), np.array([0, 0]))
        other = model.embed_queries(candidates, np.array([2]), empty)
        block = model.retrieval_block_dim
        assert np.abs(other - by_row)[:, :block].max() > 1e-3
        np.testing.assert_allclose(other[:, block:], by_row[:, block:], rtol=1e-5, atol=1e-6)

    def test_new_entities_get_finite_embeddings_of_the_same_form(self, model):
        query, candidate = model.embed_new_query(), model.embed_new_candidate()
        assert query.shape == candidate.shape == (1, model.total_dim)
        assert np.isfinite(query).all()
        assert np.isfinite(candidate).all()
        assert query[0, -1] == candidate[0, -2] == 1.0
        # A business of which nothing is known has no popularity.
        assert candidate[0, model.retrieval_block_dim - 1] == 0.0

    def test_a_new_query_is_a_user_without_covariates_and_history(self, model):
        users, businesses = _entities()
        users.numeric[6] = 0.0
        blank = TwoTowerModel(
            model.options,
            users,
            businesses,
            model.sums,
            _RATINGS.histories(_NUM_USERS),
            np.zeros((_NUM_BUSINESSES, 4), np.float32),
        )
        blank.query_tower, blank.candidate_tower = model.query_tower, model.candidate_tower
        np.testing.assert_allclose(
            blank.embed_queries(blank.embed_candidates(), np.array([6])),
            model.embed_new_query(),
            rtol=1e-5,
            atol=1e-6,
        )


class TestLosses:
    def test_rating_loss_is_the_squared_error_of_the_inner_products(self, model):
        candidates = model.embed_candidates()
        queries = model.embed_queries(candidates, _RATINGS.user_rows)
        block = -model.rating_block_dim
        predicted = (queries * candidates[_RATINGS.business_rows])[:, block:].sum(axis=1)
        expected = np.mean((predicted - _RATINGS.stars) ** 2)
        # Given the sums of everything, as at serving time.
        loss = model.rating_loss(_rating_batch(model)).numpy()
        assert loss == pytest.approx(expected, rel=1e-4)

    def test_retrieval_loss_is_the_cross_entropy_over_visited_businesses(self, model):
        block = model.retrieval_block_dim
        candidates = model.embed_candidates()
        histories = Bag(np.array([0, 1, 3], np.int32), np.array([0, 1, 3]))
        queries = model.embed_queries(candidates, np.array([0, 2]), histories)[:, :block]
        logits = queries @ candidates[:4, :block].T  # Business 4 has never been visited.
        log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        expected = -(log_softmax[0, 1] + log_softmax[1, 0]) / 2
        assert model.retrieval_loss(_retrieval_batch()).numpy() == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize(("retrieval", "rating"), [(2.0, 0.5), (0.0, 3.0), (1.5, 0.0)])
    def test_loss_is_the_weighted_sum_and_weight_0_needs_no_inputs(self, retrieval, rating):
        model = _build(objective=Objective(retrieval=retrieval, rating=rating))
        inputs: dict = {}
        expected = 0.0
        if rating:
            inputs |= _rating_batch(model)
            expected += rating * model.rating_loss(inputs)
        if retrieval:
            inputs |= _retrieval_batch()
            expected += retrieval * model.retrieval_loss(inputs)
        assert model.compute_loss(inputs).numpy() == pytest.approx(float(expected), rel=1e-6)

    @pytest.mark.parametrize("task", ["rating", "retrieval"])
    def test_a_task_moves_all_of_its_own_variables_and_no_others(self, model, task):
        batch = {**_rating_batch(model), **_retrieval_batch()}
        own = getattr(model, f"{task}_variables")
        others = model.retrieval_variables if task == "rating" else model.rating_variables
        with tf.GradientTape() as tape:
            loss = getattr(model, f"{task}_loss")(batch)
        gradients = tape.gradient(loss, [own, others])
        assert all(gradient is not None for gradient in gradients[0])
        assert all(gradient is None for gradient in gradients[1])
        every = {id(v) for v in own} | {id(v) for v in others}
        every |= {id(model.candidate_ids), id(model.user_vectors)}
        assert every == {id(v) for v in model.trainable_variables}

    def test_cold_dropout_hides_the_sums(self):
        model = _build(user_cold_dropout=0.999, business_cold_dropout=0.999, dropout=0.0)
        batch = _rating_batch(model)
        blank = {
            **batch,
            "user_sums": tf.zeros_like(batch["user_sums"]),
            "business_sums": tf.zeros_like(batch["business_sums"]),
        }
        tf.keras.utils.set_random_seed(0)
        hidden = model.rating_loss(batch, training=True).numpy()
        assert hidden != pytest.approx(model.rating_loss(batch).numpy(), rel=1e-3)
        # Taste coordinates from visits are hidden as well; those from tags are not.
        visits = model.sums.taste.taste_dim
        model._taste = tf.pad(model._taste[:, visits:], [[0, 0], [visits, 0]])
        assert hidden == pytest.approx(model.rating_loss(blank).numpy(), rel=1e-5)

    @pytest.mark.parametrize("task", ["rating", "retrieval"])
    def test_profile_dropout_hides_covariates_of_users(self, task):
        nothing_else = {"user_cold_dropout": 0.0, "business_cold_dropout": 0.0, "dropout": 0.0}
        model = _build(user_profile_dropout=0.5, id_dropout=0.0, **nothing_else)
        batch = _rating_batch(model) if task == "rating" else _retrieval_batch()

        def losses(count):
            loss = getattr(model, f"{task}_loss")
            return {round(float(loss(batch, training=True)), 3) for _ in range(count)}

        assert len(losses(40)) > 1
        model._user_numeric = tf.zeros_like(model._user_numeric)
        assert len(losses(10)) == 1

    @pytest.mark.parametrize("side", ["user", "business"])
    def test_cold_dropout_of_one_side_leaves_the_other(self, side):
        model = _build(**{
            "dropout": 0.0,
            "user_cold_dropout": 0.0,
            "business_cold_dropout": 0.0,
            f"{side}_cold_dropout": 0.999,
        })
        # No taste: that of businesses is hidden with their sums.
        model._taste = tf.zeros_like(model._taste)
        batch = _rating_batch(model)
        blank = {**batch, f"{side}_sums": tf.zeros_like(batch[f"{side}_sums"])}
        tf.keras.utils.set_random_seed(0)
        hidden = model.rating_loss(batch, training=True).numpy()
        assert hidden != pytest.approx(model.rating_loss(batch).numpy(), rel=1e-3)
        assert hidden == pytest.approx(model.rating_loss(blank).numpy(), rel=1e-5)

    def test_places_in_a_sample_of_candidates_mean_their_rows(self, model):
        whole = {
            **_retrieval_batch(),
            "candidate_offsets": tf.constant([0.0, 0.0, -np.inf, 0.0, -np.inf], tf.float32),
        }
        # Businesses 0, 1 and 3, in another order: what is left out above is not there at all.
        sample = {
            **whole,
            "candidate_rows": tf.constant([3, 0, 1]),
            "candidate_offsets": tf.zeros([3]),
            "histories": tf.ragged.constant([[1], [2, 0]], tf.int32),
            "positives": tf.ragged.constant([[2], [1]], tf.int32),
        }
        expected = model.retrieval_loss(whole).numpy()
        assert model.retrieval_loss(sample).numpy() == pytest.approx(expected, rel=1e-5)


class TestUserVectors:
    def test_start_at_nothing_and_then_move_the_direction_of_their_user_only(self):
        model = _build(user_embedding=True)
        model.user_vectors.assign(tf.zeros_like(model.user_vectors))
        plain = _build()
        plain.query_tower, plain.candidate_tower = model.query_tower, model.candidate_tower
        candidates = model.embed_candidates()
        everyone = np.arange(_NUM_USERS)
        before = model.embed_queries(candidates, everyone)
        np.testing.assert_allclose(before, plain.embed_queries(candidates, everyone), rtol=1e-6)
        model.user_vectors.scatter_nd_update([[2]], tf.ones([1, 4]))
        moved = np.abs(model.embed_queries(candidates, everyone) - before).max(axis=1) > 1e-4
        assert moved.tolist() == [row == 2 for row in everyone]


class TestFactors:
    factors = Factors(
        users=np.arange(14, dtype=np.float32).reshape(7, 2),
        businesses=np.arange(10, dtype=np.float32).reshape(5, 2) + 0.5,
        ridge=np.ones(2, np.float32),
        weight=1.0,
    )

    def test_are_coordinates_of_the_rating_block(self):
        model = _build()
        before = (
            model.embed_candidates(),
            model.embed_queries(model.embed_candidates(), np.arange(_NUM_USERS)),
        )
        model.factors = self.factors
        candidates = model.embed_candidates()
        queries = model.embed_queries(candidates, np.arange(_NUM_USERS))
        assert queries.shape[1] == candidates.shape[1] == before[0].shape[1] + 2
        # The product gains that of the factors; retrieval is as it was.
        block = model.rating_block_dim
        np.testing.assert_allclose(
            queries[:, -block:] @ candidates[:, -block:].T,
            before[1][:, -block + 2 :] @ before[0][:, -block + 2 :].T
            + self.factors.users @ self.factors.businesses.T,
            rtol=1e-4,
        )
        np.testing.assert_array_equal(queries[:, :-block], before[1][:, :5])

    def test_a_new_user_or_business_has_none(self):
        model = _build()
        model.factors = self.factors
        for embedding in (model.embed_new_query(), model.embed_new_candidate()):
            assert embedding.shape == (1, model.total_dim)
            assert not embedding[0, 5:7].any()
