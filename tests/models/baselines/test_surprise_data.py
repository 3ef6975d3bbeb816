import numpy as np

from models.baselines.surprise_data import SurpriseData, spread


def test_only_what_was_rated_is_numbered(make_ratings):
    data = SurpriseData(make_ratings([(7, 2, 4), (3, 2, 1.5), (7, 9, 5)]), scale=2.0)
    assert data.users.tolist() == [3, 7]
    assert data.businesses.tolist() == [2, 9]
    trainset = data.trainset
    assert (trainset.n_users, trainset.n_items, trainset.n_ratings) == (2, 2, 3)
    assert sorted(trainset.all_ratings()) == [(0, 0, 3.0), (1, 0, 8.0), (1, 1, 10.0)]
    assert trainset.global_mean == 7.0
    assert trainset.ir[0] == [(1, 8.0), (0, 3.0)]


def test_values_go_back_to_their_rows():
    assert spread(np.array([[1.0], [2.0]]), np.array([3, 0]), 5)[:, 0].tolist() == [2, 0, 0, 1, 0]
