import numpy as np
import pytest
import tensorflow as tf

from models.retrieval_model import RetrievalModel
from models.tables import Bag
from tests.harnesses.small_model import NUM_USERS, build, retrieval_batch


def _build(**changes) -> RetrievalModel:
    return build(**changes).retrieval


@pytest.fixture(scope="module")
def model() -> RetrievalModel:
    return _build()


class TestLoss:
    def test_is_the_cross_entropy_over_visited_businesses(self, model):
        candidates = model.embed_candidates()
        histories = Bag(np.array([0, 1, 3], np.int32), np.array([0, 1, 3]))
        queries = model.embed_queries(candidates, np.array([0, 2]), histories)
        logits = queries @ candidates[:4].T  # Business 4 has never been visited.
        log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        expected = -(log_softmax[0, 1] + log_softmax[1, 0]) / 2
        assert model.compute_loss(retrieval_batch()).numpy() == pytest.approx(expected, rel=1e-4)

    def test_moves_all_variables(self, model):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(retrieval_batch())
        own = model.shared_variables
        assert all(gradient is not None for gradient in tape.gradient(loss, own))
        every = {id(v) for v in own} | {id(model.candidate_ids), id(model.user_vectors)}
        assert every == {id(v) for v in model.trainable_variables}

    def test_profile_dropout_hides_covariates_of_users(self):
        model = _build(user_profile_dropout=0.5, id_dropout=0.0, dropout=0.0)

        def losses(count):
            batch = retrieval_batch()
            return {round(float(model.compute_loss(batch, training=True)), 3) for _ in range(count)}

        assert len(losses(40)) > 1
        model._user_numeric = tf.zeros_like(model._user_numeric)
        assert len(losses(10)) == 1

    def test_covariates_of_users_that_do_not_count_are_not_kept(self):
        model = _build(query_covariates=0.0)
        assert model._user_numeric.shape == [NUM_USERS, 0]
        assert np.isfinite(model.compute_loss(retrieval_batch(), training=True))

    def test_places_in_a_sample_of_candidates_mean_their_rows(self, model):
        whole = {
            **retrieval_batch(),
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
        expected = model.compute_loss(whole).numpy()
        assert model.compute_loss(sample).numpy() == pytest.approx(expected, rel=1e-5)


class TestUserVectors:
    def test_start_at_nothing_and_then_move_the_direction_of_their_user_only(self):
        model = _build(user_embedding=True)
        model.user_vectors.assign(tf.zeros_like(model.user_vectors))
        plain = _build()
        plain.query, plain.candidate = model.query, model.candidate
        candidates = model.embed_candidates()
        everyone = np.arange(NUM_USERS)
        before = model.embed_queries(candidates, everyone)
        np.testing.assert_allclose(before, plain.embed_queries(candidates, everyone), rtol=1e-6)
        model.user_vectors.scatter_nd_update([[2]], tf.ones([1, 4]))
        moved = np.abs(model.embed_queries(candidates, everyone) - before).max(axis=1) > 1e-4
        assert moved.tolist() == [row == 2 for row in everyone]
