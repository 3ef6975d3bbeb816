import numpy as np
import pytest

from models import rating_model, retrieval_model
from models.tables import Bag
from models.two_tower import TwoTowerModel
from tests.harnesses.small_model import NUM_BUSINESSES, NUM_USERS, RATINGS, build, entities


@pytest.fixture(scope="module")
def model() -> TwoTowerModel:
    return build()


class TestEmbeddings:
    @pytest.mark.parametrize("block_rows", [1, 2, 5])
    def test_do_not_depend_on_the_block_size(self, model, monkeypatch, block_rows):
        candidates = model.embed_candidates()
        queries = model.embed_queries(candidates, np.arange(NUM_USERS))
        assert candidates.shape == (NUM_BUSINESSES, model.total_dim)
        assert queries.shape == (NUM_USERS, model.total_dim)
        for module in (retrieval_model, rating_model):
            monkeypatch.setattr(module, "_BLOCK_ROWS", block_rows)
        np.testing.assert_allclose(model.embed_candidates(), candidates, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            model.embed_queries(candidates, np.arange(NUM_USERS)), queries, rtol=1e-5, atol=1e-6
        )

    def test_rows_may_come_in_any_order(self, model):
        candidates = model.embed_candidates()
        everyone = model.embed_queries(candidates, np.arange(NUM_USERS))
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

    def test_newentities_get_finite_embeddings_of_the_same_form(self, model):
        query, candidate = model.embed_new_query(), model.embed_new_candidate()
        assert query.shape == candidate.shape == (1, model.total_dim)
        assert np.isfinite(query).all()
        assert np.isfinite(candidate).all()
        assert query[0, -1] == candidate[0, -2] == 1.0
        # A business of which nothing is known has no popularity.
        assert candidate[0, model.retrieval_block_dim - 1] == 0.0

    def test_a_new_query_is_a_user_without_covariates_and_history(self, model):
        users, businesses = entities()
        users.numeric[6] = 0.0
        retrieval, rating = model.retrieval, model.rating
        blank = TwoTowerModel(
            retrieval_model.RetrievalModel(
                model.options,
                users,
                businesses,
                RATINGS.histories(NUM_USERS),
                np.zeros((NUM_BUSINESSES, 4), np.float32),
            ),
            rating_model.RatingModel(model.options, users, businesses, rating.sums),
        )
        blank.retrieval.query, blank.retrieval.candidate = retrieval.query, retrieval.candidate
        blank.rating.query, blank.rating.candidate = rating.query, rating.candidate
        np.testing.assert_allclose(
            blank.embed_queries(blank.embed_candidates(), np.array([6])),
            model.embed_new_query(),
            rtol=1e-5,
            atol=1e-6,
        )

    def test_are_those_of_the_towers(self, model):
        """What is exported is called as a tower."""
        rows = np.arange(NUM_BUSINESSES)
        inputs = {
            **model.retrieval._candidate_inputs(rows),
            **model.rating._candidate_inputs(
                rows, model.rating.sums.businesses, model.rating._business_priors
            ),
        }
        embedded = model.candidate_tower(inputs)
        np.testing.assert_allclose(model.embed_candidates(), embedded, rtol=1e-5, atol=1e-6)
