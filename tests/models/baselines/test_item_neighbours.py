import numpy as np
import scipy.sparse

from models.baselines.item_neighbours import ITEM_KNN, ItemNeighbours, cosines
from models.tables import Bag


def test_cosines_by_hand(make_ratings):
    # Visitors: business 0 has 0, 1, 2; business 1 has 0, 1; business 2 has 2.
    visits = make_ratings([(0, 0, 5), (0, 1, 5), (1, 0, 5), (1, 1, 5), (2, 0, 5), (2, 2, 5)])
    similarity = cosines(visits, 3, 3, damping=0.0, num_neighbours=2).toarray()
    one, two = 2 / np.sqrt(3 * 2), 1 / np.sqrt(3 * 1)
    np.testing.assert_allclose(similarity, [[0, one, two], [one, 0, 0], [two, 0, 0]])
    damped = cosines(visits, 3, 3, damping=1.0, num_neighbours=1).toarray()
    one, two = 2 / np.sqrt(4 * 3), 1 / np.sqrt(4 * 2)
    np.testing.assert_allclose(damped, [[0, one, 0], [one, 0, 0], [two, 0, 0]])


def test_scores_add_up_over_what_was_visited(make_ratings):
    visits = make_ratings([(0, 0, 5), (0, 1, 5), (1, 2, 5)])
    similarity = np.zeros([4, 4])
    similarity[0, 2], similarity[0, 3], similarity[1, 3] = 0.5, 0.3, 0.3
    model = ItemNeighbours(visits, 2, scipy.sparse.csr_matrix(similarity))
    nothing = Bag(np.zeros(0, np.int32), np.zeros(2, np.int64))
    # 0.3 + 0.3 for business 3, 0.5 for business 2, then popular ones.
    assert model.recommend(np.array([0]), 3, nothing).tolist() == [[3, 2, 0]]


def test_finds_what_is_missing_in_a_clique(cliques, finds_what_is_missing):
    finds_what_is_missing(ITEM_KNN.fit(cliques).model)
