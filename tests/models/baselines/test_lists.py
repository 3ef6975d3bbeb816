import numpy as np
import scipy.sparse

from models.baselines.lists import FactorModel, WithPopularity, rank_dense, rank_sparse, visits
from models.baselines.popularity import Popularity
from models.tables import Bag

NOTHING = Bag(np.zeros(0, np.int32), np.zeros(3, np.int64))


def test_visits_are_ones_however_often(make_ratings):
    matrix = visits(make_ratings([(0, 1, 5), (0, 1, 2), (1, 0, 3)]), 2, 3)
    assert matrix.toarray().tolist() == [[0, 1, 0], [1, 0, 0]]
    assert matrix.dtype == np.float32


def test_dense_scores_by_hand():
    scores = np.array([[0.1, 0.3, 0.2], [5.0, 1.0, 9.0]])
    seen = Bag.from_pairs(np.array([1, 1]), np.array([2, 1]), 2)
    assert rank_dense(scores.copy(), 2, NOTHING).tolist() == [[1, 2], [2, 0]]
    assert rank_dense(scores.copy(), 9, seen).tolist() == [[1, 2, 0], [0, -1, -1]]


def test_sparse_scores_are_filled_up_with_what_is_popular(make_ratings):
    # Visits: business 3 has three, 1 two, 0 one, 2 none.
    popularity = Popularity(make_ratings([(u, b, 5) for u, b in enumerate([3, 3, 3, 1, 1, 0])]), 4)
    scores = scipy.sparse.csr_matrix(np.array([[0.0, 0.0, 0.5, 0.0], [0.2, 0.4, 0.0, 0.0]]))
    assert rank_sparse(scores, 3, NOTHING, popularity).tolist() == [[2, 3, 1], [1, 0, 3]]
    seen = Bag.from_pairs(np.array([0, 1, 1]), np.array([3, 1, 2]), 2)
    assert rank_sparse(scores, 4, seen, popularity).tolist() == [[2, 1, 0, -1], [0, 3, -1, -1]]


def test_more_scores_than_the_list_is_long(make_ratings):
    popularity = Popularity(make_ratings([(0, 0, 5)]), 4)
    scores = scipy.sparse.csr_matrix(np.array([[0.1, 0.4, 0.3, 0.2]]))
    nothing = Bag(np.zeros(0, np.int32), np.zeros(2, np.int64))
    assert rank_sparse(scores, 2, nothing, popularity).tolist() == [[1, 2]]


def test_only_users_without_interactions_get_what_is_popular(make_data):
    data = make_data([(0, 0, 5), (0, 1, 5), (1, 1, 5)], [], 3, 3)
    candidates = np.array([[1.0], [2.0], [3.0]], np.float32)
    model = FactorModel(lambda rows: np.ones([len(rows), 1], np.float32), candidates)
    lists = WithPopularity(model, data.fitted, data).recommend(
        np.array([2, 0]), 3, Bag.from_pairs(np.array([1]), np.array([1]), 2)
    )
    assert lists.tolist() == [[1, 0, 2], [2, 0, -1]]
