import numpy as np

from models.baselines.global_mean import GlobalMean
from models.tables import Interactions


def test_global_mean_by_hand():
    ratings = Interactions(np.array([0, 1]), np.array([0, 0]), np.array([5.0, 2.0], np.float32))
    assert GlobalMean(ratings).rate(np.arange(3), np.arange(3)).tolist() == [3.5] * 3
