import numpy as np
import pytest
import tensorflow as tf

from models.factors import Factors
from models.rating_model import RatingModel
from tests.harnesses.small_model import NUM_USERS, RATINGS, build, rating_batch


def _build(**changes) -> RatingModel:
    return build(**changes).rating


@pytest.fixture(scope="module")
def model() -> RatingModel:
    return _build()


class TestLoss:
    def test_is_the_squared_error_of_the_inner_products(self, model):
        candidates = model.embed_candidates()
        queries = model.embed_queries(RATINGS.user_rows)
        predicted = (queries * candidates[RATINGS.business_rows]).sum(axis=1)
        expected = np.mean((predicted - RATINGS.stars) ** 2)
        # Given the sums of everything, as at serving time.
        assert model.compute_loss(rating_batch(model)).numpy() == pytest.approx(expected, rel=1e-4)

    def test_moves_all_variables(self, model):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(rating_batch(model))
        gradients = tape.gradient(loss, model.trainable_variables)
        assert gradients
        assert all(gradient is not None for gradient in gradients)

    def test_cold_dropout_hides_the_sums(self):
        tf.keras.utils.set_random_seed(0)  # A row in 256 is shown.
        model = _build(user_cold_dropout=0.999, business_cold_dropout=0.999, dropout=0.0)
        batch = rating_batch(model)
        blank = {
            **batch,
            "user_sums": tf.zeros_like(batch["user_sums"]),
            "business_sums": tf.zeros_like(batch["business_sums"]),
        }
        hidden = model.compute_loss(batch, training=True).numpy()
        assert hidden != pytest.approx(model.compute_loss(batch).numpy(), rel=1e-3)
        # Taste coordinates from visits are hidden as well; those from tags are not.
        visits = model.sums.taste.taste_dim
        model._taste = tf.pad(model._taste[:, visits:], [[0, 0], [visits, 0]])
        assert hidden == pytest.approx(model.compute_loss(blank).numpy(), rel=1e-5)

    def test_profile_dropout_hides_covariates_of_users(self):
        nothing_else = {"user_cold_dropout": 0.0, "business_cold_dropout": 0.0, "dropout": 0.0}
        model = _build(user_profile_dropout=0.5, **nothing_else)
        batch = rating_batch(model)

        def losses(count):
            return {round(float(model.compute_loss(batch, training=True)), 3) for _ in range(count)}

        assert len(losses(40)) > 1
        model._user_numeric = tf.zeros_like(model._user_numeric)
        assert len(losses(10)) == 1

    @pytest.mark.parametrize("side", ["user", "business"])
    def test_cold_dropout_of_one_side_leaves_the_other(self, side):
        tf.keras.utils.set_random_seed(0)  # A row in 256 is shown.
        model = _build(**{
            "dropout": 0.0,
            "user_cold_dropout": 0.0,
            "business_cold_dropout": 0.0,
            f"{side}_cold_dropout": 0.999,
        })
        # No taste: that of businesses is hidden with their sums.
        model._taste = tf.zeros_like(model._taste)
        batch = rating_batch(model)
        blank = {**batch, f"{side}_sums": tf.zeros_like(batch[f"{side}_sums"])}
        hidden = model.compute_loss(batch, training=True).numpy()
        assert hidden != pytest.approx(model.compute_loss(batch).numpy(), rel=1e-3)
        assert hidden == pytest.approx(model.compute_loss(blank).numpy(), rel=1e-5)


class TestFactors:
    factors = Factors(
        users=np.arange(14, dtype=np.float32).reshape(7, 2),
        businesses=np.arange(10, dtype=np.float32).reshape(5, 2) + 0.5,
        ridge=np.ones(2, np.float32),
        weight=1.0,
    )

    def test_are_the_first_coordinates(self):
        model = _build()
        everyone = np.arange(NUM_USERS)
        queries, candidates = model.embed_queries(everyone), model.embed_candidates()
        model.factors = self.factors
        of_users, of_businesses = model.embed_queries(everyone), model.embed_candidates()
        np.testing.assert_array_equal(of_users[:, 2:], queries)
        np.testing.assert_array_equal(of_businesses[:, 2:], candidates)
        np.testing.assert_array_equal(of_users[:, :2], self.factors.users)
        np.testing.assert_array_equal(of_businesses[:, :2], self.factors.businesses)
        assert of_users.shape[1] == of_businesses.shape[1] == model.block_dim

    def test_a_new_user_or_business_has_none(self):
        model = _build()
        model.factors = self.factors
        for embedding in (model.embed_new_query(), model.embed_new_candidate()):
            assert embedding.shape == (1, model.block_dim)
            assert not embedding[0, :2].any()
