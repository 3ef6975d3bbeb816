"""Every baseline that can be served answers from its embeddings, and its SavedModel, as it does."""

import numpy as np
import pytest
import tensorflow as tf

from models import export, metrics
from models.baselines import fallback, registry
from models.baselines.choosing import clip
from models.tables import Bag
from serving.loader import ServedModel
from serving.warmup import warm_up

NUM_USERS, NUM_BUSINESSES = 40, 30
RATING = ["global_mean", "bias", "ridge", "svd", "svdpp", "coclustering"]
RETRIEVAL = ["popularity", "als", "bpr", "low_pass"]
PAIRS = np.divmod(np.arange(NUM_USERS * NUM_BUSINESSES), NUM_BUSINESSES)


@pytest.fixture(scope="module")
def data(make_data):
    # User 0 and business 0 have no interactions.
    rng = np.random.default_rng(0)
    cells = rng.permutation((NUM_USERS - 1) * (NUM_BUSINESSES - 1))[:700]
    users, businesses = 1 + cells // (NUM_BUSINESSES - 1), 1 + cells % (NUM_BUSINESSES - 1)
    stars = 3 + rng.normal(size=NUM_USERS)[users] + 0.3 * rng.normal(size=700)
    triples = np.stack([users, businesses, np.clip(np.round(stars), 1, 5)], axis=1)
    return make_data(triples[:550], triples[550:], NUM_USERS, NUM_BUSINESSES, tuning_seconds=0.0)


@pytest.mark.parametrize("name", RATING)
def test_ratings_are_inner_products(name, data):
    model = registry.load(registry.RATING[name]).fit(data).model
    assert fallback.can_be_served(model)
    queries, candidates = model.embeddings(NUM_USERS, NUM_BUSINESSES)
    assert (len(queries), len(candidates)) == (NUM_USERS + 1, NUM_BUSINESSES + 1)
    found = clip((queries[PAIRS[0]] * candidates[PAIRS[1]]).sum(axis=1))
    np.testing.assert_allclose(found, model.rate(*PAIRS), atol=1e-5)
    # A new user at an unknown business gets about what everybody gives.
    assert queries[-1] @ candidates[-1] == pytest.approx(data.fitted.stars.mean(), abs=0.5)


@pytest.mark.parametrize("name", RETRIEVAL)
def test_lists_are_those_of_inner_products(name, data):
    model = registry.load(registry.RETRIEVAL[name]).fit(data).model
    assert fallback.can_be_served(model)
    queries, candidates = model.embeddings(NUM_USERS, NUM_BUSINESSES)
    assert (len(queries), len(candidates)) == (NUM_USERS + 1, NUM_BUSINESSES + 1)
    seen = data.fitted.histories(NUM_USERS)
    ranked = metrics.top_k(queries[:-1], candidates[:-1], 5, seen)
    np.testing.assert_array_equal(ranked, model.recommend(np.arange(NUM_USERS), 5, seen))
    nobody = metrics.top_k(queries[-1:], candidates[:-1], 5)
    np.testing.assert_array_equal(nobody[0], ranked[0])  # User 0 has no history either.


def test_the_export_answers_both_tasks(data, tmp_path):
    places = registry.RATING["lightgbm"], registry.RETRIEVAL["als"]
    models = [registry.load(place).fit(data).model for place in places]
    assert all(fallback.can_be_served(model) for model in models)
    fallback.save(data, *models, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).signatures
    assert {"recommend", "rate", "serving_default"} <= set(loaded)
    assert "recommend_features" not in loaded
    stars = loaded["rate"](
        user_id=tf.constant(data.users.ids[PAIRS[0]]),
        business_id=tf.constant(data.businesses.ids[PAIRS[1]]),
    )["rating"]
    expected = models[0].rate(*PAIRS)
    assert np.ptp(expected) > 1  # The trees have something to say.
    np.testing.assert_allclose(stars, expected, atol=2e-5)
    unset = export.optional_inputs(str(tmp_path), "recommend")
    inputs = {name: tf.constant(value) for name, value in unset.items()}
    found = loaded["recommend"](user_id=tf.constant(data.users.ids[3:4]), **inputs)
    empty = Bag(np.zeros(0, np.int32), np.zeros(2, np.int64))
    (listed,) = models[1].recommend(np.array([3]), 10, empty)
    np.testing.assert_array_equal(found["business_id"][0], data.businesses.ids[listed])
    # The predicted stars beside a list are those of the rating baseline.
    of_list = models[0].rate(np.full(10, 3), listed)
    np.testing.assert_allclose(found["rating"][0], of_list, atol=2e-5)
    nobody = loaded["rate"](user_id=tf.constant(["nobody"]), business_id=tf.constant(["nowhere"]))[
        "rating"
    ]
    assert 1.0 <= nobody[0] <= 5.0
    # Its requests for warming up are of the signatures and inputs that it has.
    assert warm_up(ServedModel(str(tmp_path)), batch_rows=2) > 10


@pytest.mark.parametrize("place", [registry.RATING["knn_user"], registry.RETRIEVAL["ease"]])
def test_what_has_no_embeddings_can_not_be_served(place, data):
    assert not fallback.can_be_served(registry.load(place).fit(data).model)
