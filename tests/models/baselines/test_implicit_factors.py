import dataclasses

import numpy as np

from models.baselines import implicit_factors
from models.baselines.implicit_factors import ALS, BPR, BPR_OPTIONS, BprOptions, fit_bpr


def test_als_finds_what_is_missing_in_a_clique(cliques, finds_what_is_missing):
    finds_what_is_missing(ALS.fit(cliques).model)


def test_bpr_tells_cliques_apart(cliques):
    users = np.arange(60)
    lists = BPR.fit(cliques).model.recommend(users, 1, cliques.fitted.histories(60))
    np.testing.assert_array_equal(lists[:, 0] // 30, users // 30)


def test_bpr_begins_with_what_is_cheap_where_the_likeliest_takes_too_long(cliques):
    tried = []

    def fit(interactions, num_users, num_businesses, options, seed):
        tried.append(options)
        cheap = BprOptions(2, 0.05, 0.01, 1)
        return fit_bpr(interactions, num_users, num_businesses, cheap, seed)

    bpr = implicit_factors._baseline(fit, implicit_factors._bpr_choices, BPR.cost)
    bpr.fit(dataclasses.replace(cliques, tuning_seconds=60.0))
    assert tried[:3] == list(BPR_OPTIONS)
    tried.clear()
    bpr.fit(dataclasses.replace(cliques, tuning_seconds=0.0))
    cheapest = min(BPR_OPTIONS, key=lambda options: options.num_epochs)
    assert tried == [cheapest, cheapest]


def test_another_seed_gives_other_embeddings(cliques):
    options = BprOptions(4, 0.05, 0.01, 5)
    fits = [fit_bpr(cliques.train, 60, 60, options, seed) for seed in (0, 1, 0)]
    first, second, again = (fitted._candidates for fitted in fits)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, second)


def test_threads_of_als_change_nothing(cliques):
    data = dataclasses.replace(cliques, tuning_seconds=0.0)
    seen = data.fitted.histories(60)
    lists = [ALS.fit(data).model.recommend(np.arange(60), 5, seen) for _ in range(3)]
    np.testing.assert_array_equal(lists[0], lists[1])
    np.testing.assert_array_equal(lists[0], lists[2])
